package statuspage

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/whynot"
)

// answered knows mara, whose password is wrong, and whom a code was misspelt for.
func answered(_ context.Context, asked string, names bool) (Why, error) {
	switch {
	case asked == "mara":
		return Why{Verdict: whynot.Cannot, Line: "mara: wrong password 3 times, last at 14:03.", Next: "Have the guest type the password again; capitals count. Set a new one if it is forgotten.",
			Command: "iwas-agent account password mara", LastAt: time.Now().Add(-2 * time.Minute), LastTimes: 3, LastNAS: "cafe1", LastMAC: "DE:AD:00:··:··:··", LastText: "the password does not match"}, nil
	case asked == "broken":
		return Why{}, fault.New(fault.Unavailable, "store: read rejects", errors.New("the disk is gone")).WithCode("", "Look at the disk.")
	case names:
		return Why{Verdict: whynot.Unknown, Line: "There is no guest called " + asked + " here.", Next: "The closest: K7QM-PDXW."}, nil
	}
	return Why{Verdict: whynot.Unknown, Line: "There is no guest called " + asked + " here.", Next: "Look at the spelling."}, nil
}

func TestTheQuestionOnThePage(t *testing.T) {
	h, err := (&Server{Snapshot: func(context.Context) Snapshot { return busy() }, Why: answered}).Handler()
	if err != nil {
		t.Fatal(err)
	}
	get := func(path string) (int, string) {
		r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1"+path, nil)
		r.RemoteAddr = "127.0.0.1:4000"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code, w.Body.String()
	}
	for path, want := range map[string]struct {
		status int
		text   string
	}{
		"/":                                  {200, `action="/why"`},
		"/why":                               {200, `name="q"`},
		"/why?q=mara":                        {200, "mara: wrong password 3 times"},
		"/why?q=+mara+":                      {200, "iwas-agent account password mara"},
		"/why?q=%3Cscript%3E":                {200, "no guest called &lt;script&gt; here"},
		"/why?q=K7QM":                        {200, "Look at the spelling."}, // nobody signed in: no other guest's code
		"/why?q=broken":                      {503, "Look at the disk."},
		"/why?q=" + strings.Repeat("x", 300): {400, "longer than any name"},
	} {
		status, body := get(path)
		if status != want.status || !strings.Contains(body, want.text) || strings.Contains(body, "K7QM-PDXW") && strings.HasPrefix(path, "/why") {
			t.Errorf("%s: %d, want %d and %q", path, status, want.status, want.text)
		}
	}
	// Without somebody to answer there is no question.
	h, err = (&Server{Snapshot: func(context.Context) Snapshot { return busy() }}).Handler()
	if err != nil {
		t.Fatal(err)
	}
	if status, _ := get("/why?q=mara"); status != 404 {
		t.Errorf("without an answer: %d, want 404", status)
	}
	if _, body := get("/"); strings.Contains(body, `action="/why"`) {
		t.Error("a question is offered that nobody answers")
	}
}

func TestAFloodIsNamedInTheList(t *testing.T) {
	h, err := (&Server{Snapshot: func(context.Context) Snapshot { return busy() }}).Handler()
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "http://127.0.0.1/", nil)
	r.RemoteAddr = "127.0.0.1:4000"
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	_, list, _ := strings.Cut(w.Body.String(), `id="rejects"`)
	list, _, _ = strings.Cut(list, "</section>")
	for _, want := range []string{"Duplicate flood", "412 times", "duplicate_flood", "Unknown router", "many names", "20013 times", "192.168.88.7", "bad_password", "DE:AD:00:··:··:··", "cafe1"} {
		if !strings.Contains(list, want) {
			t.Errorf("the list of failed logins does not say %q", want)
		}
	}
	if b := (Reject{Reason: hotspot.ReasonUnknown, Flood: true}).Badge(); b.Text != "Flood" {
		t.Errorf("a flood of guesses has the badge %q", b.Text)
	}
}
