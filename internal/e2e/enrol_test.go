package e2e

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/demo"
)

// terminal is a technician at a box that has a state directory and nothing more.
type terminal struct {
	*testing.T
	c     *demo.Cafe
	state string
	file  string   // configuration
	words []string // of the command that the console prints
}

func newTerminal(t *testing.T, c *demo.Cafe) *terminal {
	t.Helper()
	dir := t.TempDir()
	m := &terminal{T: t, c: c, state: filepath.Join(dir, "state"), file: filepath.Join(dir, "agent.toml")}
	if err := os.WriteFile(m.file, fmt.Appendf(nil, "version = 1\nstate_dir = %q\n", m.state), 0o600); err != nil {
		t.Fatal(err)
	}
	return m
}

// code makes one in the console.
func (m *terminal) code() string {
	m.Helper()
	var made struct{ Code, Command string }
	if err := m.c.API(m.Context(), http.MethodPost, "/api/v1/sites/"+m.c.SiteID+"/enrolment-codes", nil, &made); err != nil {
		m.Fatal(err)
	}
	_, words, _ := strings.Cut(made.Command, " enroll ")
	m.words = strings.Fields(words)
	return made.Code
}

// says runs the agent with what is typed and returns its exit code and all it said.
func (m *terminal) says(typed string, args ...string) (int, string) {
	m.Helper()
	cmd := exec.CommandContext(m.Context(), filepath.Join(bin, "iwas-agent"), append([]string{"--config", m.file}, args...)...)
	cmd.Stdin = strings.NewReader(typed)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		m.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}

// enrols types a code, and the answer to "is this right?".
func (m *terminal) enrols(code, answer string) (int, string) {
	m.Helper()
	return m.says(code+"\n"+answer+"\n", append([]string{"enroll"}, m.words...)...)
}

// expect fails unless the agent ended so and said all of that.
func (m *terminal) expect(what string, exit int, said string, wantExit int, want ...string) {
	m.Helper()
	if exit != wantExit {
		m.Errorf("%s: got exit code %d, want %d\n%s", what, exit, wantExit, said)
	}
	for _, w := range want {
		if !strings.Contains(said, w) {
			m.Errorf("%s: it does not say %q:\n%s", what, w, said)
		}
	}
}

// openCode is an enrolment code as the API lists it.
type openCode struct {
	ID        string `json:"id"`
	Wrong     int    `json:"wrong_codes"`
	WrongFrom string `json:"wrong_from"`
}

func (m *terminal) openCodes() []openCode {
	m.Helper()
	var list struct{ Items []openCode }
	if err := m.c.API(m.Context(), http.MethodGet, "/api/v1/sites/"+m.c.SiteID+"/enrolment-codes", nil, &list); err != nil {
		m.Fatal(err)
	}
	return list.Items
}

// box is an enrolment as the API lists it.
type box struct {
	ID          string     `json:"id"`
	CheckNumber string     `json:"check_number"`
	Confirmed   bool       `json:"confirmed"`
	RetiredAt   *time.Time `json:"retired_at"`
	LeftAt      *time.Time `json:"left_at"`
}

func (m *terminal) boxes() []box {
	m.Helper()
	var list struct{ Items []box }
	if err := m.c.API(m.Context(), http.MethodGet, "/api/v1/sites/"+m.c.SiteID+"/agents", nil, &list); err != nil {
		m.Fatal(err)
	}
	return list.Items
}

func (m *terminal) box(id string) box {
	m.Helper()
	all := m.boxes()
	i := slices.IndexFunc(all, func(b box) bool { return b.ID == id })
	if i < 0 {
		m.Fatalf("the console knows no box %s", id)
	}
	return all[i]
}

// identity reads who the box is, "" for nobody.
func (m *terminal) identity() (id struct {
	Agent        string `json:"agent"`
	Organization string `json:"organization"`
}) {
	m.Helper()
	b, err := os.ReadFile(filepath.Join(m.state, "identity", "identity.json"))
	if err == nil {
		err = json.Unmarshal(b, &id)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		m.Fatal(err)
	}
	return id
}

// expire makes every open code one of an hour ago, in the cloud's own file.
func (m *terminal) expire() {
	m.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.Join(m.c.Dir(), "cloud", "iwas.db"), RawQuery: "_pragma=busy_timeout(20000)"}).String())
	if err != nil {
		m.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(m.Context(), "UPDATE enrolment_code SET expires_at = ? WHERE used_at = 0 AND revoked_at = 0", time.Now().Add(-time.Minute).UnixMilli()); err != nil {
		m.Fatal(err)
	}
}

// TestEnrolmentInTheTerminal: each way it can end is told apart, by the built
// program against the built cloud, with the next step; and what is typed a little
// differently from what the console shows is understood.
func TestEnrolmentInTheTerminal(t *testing.T) {
	m := newTerminal(t, open(t, nil))
	code := m.code()
	exit, said := m.enrols("ABCD-2345", "y")
	m.expect("a code nobody made", exit, said, 1, "The enrolment code is not known", "Next: Check it letter by letter")
	if c := m.openCodes(); len(c) != 1 || c[0].Wrong != 1 || c[0].WrongFrom == "" {
		t.Errorf("got %+v, want the wrong code told at the open one", c)
	}
	for typed, n := range map[string]string{"ABCD-234": "7", "ABCD-23456": "9"} {
		exit, said = m.enrols(typed, "y")
		m.expect("a code of "+n, exit, said, 1, "a code has 8 characters, this one has "+n, "Next:")
	}
	if c := m.openCodes(); len(c) != 1 || c[0].Wrong != 1 {
		t.Errorf("got %+v, want no slip of the hand counted as a guess", c)
	}
	exit, said = m.enrols("", "")
	m.expect("no code", exit, said, 2, "no code was given")

	exit, said = m.enrols(code, "n")
	m.expect("the person says no", exit, said, 2, "organization", "nothing was changed; the code is still good until")
	exit, said = m.enrols(" "+strings.ToLower(strings.ReplaceAll(code, "-", " "))+" ", "y")
	m.expect("small letters and blanks", exit, said, 0, "Enrolled as ", "Check number: ", "press Confirm")
	first := m.identity().Agent
	if b := m.box(first); !strings.Contains(said, "Check number: "+b.CheckNumber) || b.Confirmed || b.CheckNumber == "" {
		t.Errorf("the console shows %+v, the box said\n%s\nwant the same number on both, and nobody confirmed", b, said)
	}
	if err := m.c.API(t.Context(), http.MethodPost, "/api/v1/agents/"+first+"/confirm", nil, nil); err != nil {
		t.Fatal(err)
	}
	if b := m.box(first); !b.Confirmed {
		t.Errorf("got %+v, want it confirmed", b)
	}
	exit, said = m.enrols(code, "y")
	m.expect("a code that was used", exit, said, 1, "has been used already", "Each code is for one box")

	m.code()
	m.expire()
	exit, said = m.enrols(code, "y") // the used one still says used
	m.expect("a used code later", exit, said, 1, "has been used already")
	late := m.code()
	m.expire()
	exit, said = m.enrols(late, "y")
	m.expect("a code that expired", exit, said, 1, "has expired", "Codes live 60 minutes")
	if c := m.openCodes(); len(c) != 0 {
		t.Errorf("got %+v, want no expired code shown as open", c)
	}

	taken := m.code()
	if err := m.c.API(t.Context(), http.MethodDelete, "/api/v1/sites/"+m.c.SiteID+"/enrolment-codes/"+m.openCodes()[0].ID, nil, nil); err != nil {
		t.Fatal(err)
	}
	exit, said = m.enrols(taken, "y")
	m.expect("a code that was taken back", exit, said, 1, "was revoked", "ask for a new one")

	other := m.code()
	file := filepath.Join(m.state, "identity", "identity.json")
	was, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, bytes.Replace(was, []byte(m.identity().Organization), []byte("Other Cafe"), 1), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	exit, said = m.enrols(other, "y")
	m.expect("a code of another business", exit, said, 1, "this box belongs to Other Cafe", "run iwas-agent unenroll first")
	if err := os.WriteFile(file, was, 0o600); err != nil {
		t.Fatal(err)
	}
	exit, said = m.enrols(other, "y")
	m.expect("a box that is enrolled", exit, said, 0, "This box is "+first+" of ", "which replaces it", "Enrolled as ")
	second := m.identity().Agent
	if second == first || m.box(first).RetiredAt != nil || m.box(second).Confirmed {
		t.Errorf("got %s after %s, want another agent that waits, and the old one in force until then", second, first)
	}
	if err := m.c.API(t.Context(), http.MethodPost, "/api/v1/agents/"+second+"/confirm", nil, nil); err != nil {
		t.Fatal(err)
	}
	if m.box(first).RetiredAt == nil || m.box(second).RetiredAt != nil {
		t.Error("the old agent is not retired by the new one's confirmation")
	}

	early, words := m.code(), m.words
	m.words = m.behind(time.Hour)
	exit, said = m.enrols(early, "y")
	m.expect("a box whose date is wrong", exit, said, 1, "The clock is too wrong to enrol: the box says it is ", "Set the date of this box", "the code is not lost")
	m.words = words
	exit, said = m.enrols(early, "y")
	m.expect("the same code once the date is right", exit, said, 0, "Enrolled as ")

	guess := m.code()
	for n := 0; n < 40 && !strings.Contains(said, "Too many wrong enrolment codes"); n++ {
		exit, said = m.enrols(fmt.Sprintf("ABCD-%04d", 2222+n), "y")
	}
	m.expect("one guess after the other", exit, said, 1, "Too many wrong enrolment codes", "Wait 15 minutes")
	exit, said = m.enrols(guess, "y")
	m.expect("the right code from an address that guessed", exit, said, 1, "Too many wrong enrolment codes")
	if c := m.openCodes(); len(c) != 1 || c[0].Wrong < 5 {
		t.Errorf("got %+v, want the guesses told at the open code", c)
	}
	if page := m.page("/sites/" + m.c.SiteID + "/box"); !strings.Contains(page, "wrong codes were tried meanwhile") || !strings.Contains(page, "CLD-210") {
		t.Error("the box's page does not warn of the guesses")
	}

	m.words = []string{"--cloud", "https://127.0.0.1:1", "--fingerprint", strings.Repeat("ab", 32)}
	exit, said = m.enrols(guess, "y")
	m.expect("no way to the cloud", exit, said, 1, "127.0.0.1:1", "the code is not lost")
}

// page reads a page of the console as the owner, who signs in for it.
func (m *terminal) page(path string) string {
	m.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		m.Fatal(err)
	}
	client := &http.Client{Jar: jar}
	form := url.Values{"email": {m.c.OwnerEmail}, "password": {m.c.OwnerPassword}, "next": {path}}
	req, err := http.NewRequestWithContext(m.Context(), http.MethodPost, m.c.ConsoleURL+"signin", strings.NewReader(form.Encode()))
	if err != nil {
		m.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := client.Do(req)
	if err != nil {
		m.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Request.URL.Path != path {
		m.Fatalf("%s: got %d at %s, %v", path, resp.StatusCode, resp.Request.URL, err)
	}
	return string(b)
}

// TestABoxGivesItsIdentityUp: the cloud is told and cuts the live connection, guests
// on site go on; a box that cannot reach the cloud leaves all the same.
func TestABoxGivesItsIdentityUp(t *testing.T) {
	var mine demo.Ports
	c := open(t, func(o *demo.Options) { mine = o.Ports })
	until(t, "the box to be there", 20*time.Second, func() bool { return statusAt(t, mine.Status).Cloud.Connected })
	m := &terminal{T: t, c: c, state: filepath.Join(c.Dir(), "agent"), file: c.AgentConfig()}
	agent := m.identity().Agent
	exit, said := m.says("n\n", "unenroll")
	m.expect("the person says no", exit, said, 2, agent, "nothing was changed")
	exit, said = m.says("y\n", "unenroll")
	m.expect("the cloud is there", exit, said, 0, agent, "no identity any more", "The cloud knows", "restart the service")
	if strings.Contains(said, "cut this box off") {
		t.Errorf("it asks for what is done already:\n%s", said)
	}
	if b := m.box(agent); b.LeftAt == nil || b.RetiredAt == nil || m.identity().Agent != "" {
		t.Errorf("got %+v, want it given up on both sides", b)
	}
	until(t, "the live connection to end", 20*time.Second, func() bool { return !statusAt(t, mine.Status).Cloud.Connected })
	if seeSite(t, c).Presence != "lost" {
		t.Errorf("got %s, want the site lost", seeSite(t, c).Presence)
	}
	if page := m.page("/sites/" + c.SiteID); !strings.Contains(page, "The box gave its identity up") {
		t.Error("the site's page does not say what happened")
	}
	if page := m.page("/sites/" + c.SiteID + "/box"); !strings.Contains(page, "Given up by the box") {
		t.Error("the box's page does not say what happened")
	}
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Errorf("a guest of a box on its own: %v", err)
	}
	exit, said = m.says("y\n", "unenroll")
	m.expect("nothing to give up", exit, said, 1, "not enrolled")

	away := newTerminal(t, c)
	if exit, said := away.enrols(away.code(), "y"); exit != 0 {
		t.Fatal(said)
	}
	agent = away.identity().Agent
	if err := c.StopOne("cloud", false); err != nil {
		t.Fatal(err)
	}
	exit, said = away.says("y\n", "unenroll")
	away.expect("the cloud is away", exit, said, 0, "no identity any more", "The cloud does not know", "cut this box off", agent)
	if away.identity().Agent != "" {
		t.Error("the identity is still there")
	}
}

// behind returns the words of the console's command for a door to the same cloud
// through which the box seems to live by a date of before.
func (m *terminal) behind(by time.Duration) []string {
	m.Helper()
	words := slices.Clone(m.words)
	value := func(flag string) *string {
		i := slices.Index(words, flag)
		if i < 0 || i+1 == len(words) {
			m.Fatalf("the console's command has no %s: %q", flag, words)
		}
		return &words[i+1]
	}
	to, err := url.Parse(*value("--cloud"))
	if err != nil {
		m.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, // the cloud of this test
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			var body map[string]any
			b, err := io.ReadAll(r.In.Body)
			if err == nil && json.Unmarshal(b, &body) == nil && body["at"] != nil {
				body["at"] = time.Now().Add(-by).UTC()
				b, err = json.Marshal(body)
			}
			if err != nil {
				m.Error(err)
			}
			r.Out.Body, r.Out.ContentLength = io.NopCloser(bytes.NewReader(b)), int64(len(b))
		},
	}
	door := httptest.NewTLSServer(proxy)
	m.Cleanup(door.Close)
	*value("--cloud"), *value("--fingerprint") = door.URL, fmt.Sprintf("%x", sha256.Sum256(door.Certificate().Raw))
	return words
}
