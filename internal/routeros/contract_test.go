package routeros_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/routeros"
	"iwas/internal/routersim"
)

// door is one way into the simulated router.
type door struct {
	name string
	url  func(*routersim.Sim) string
}

var doors = []door{
	{"api", func(s *routersim.Sim) string { return "api://" + s.APIAddr() }},
	{"api-ssl", func(s *routersim.Sim) string { return "api-ssl://" + s.APISSLAddr() }},
	{"https", func(s *routersim.Sim) string { return strings.TrimSuffix(s.RESTURL(), "/rest") }},
}

func startRouter(t *testing.T) *routersim.Sim {
	t.Helper()
	nobody := netip.MustParseAddrPort("127.0.0.1:9")
	s, err := routersim.Start(t.Context(), routersim.Config{Identity: "CAFE1", Password: "pw", ReadUser: "reader", APISSLListen: "127.0.0.1:0", RESTListen: "127.0.0.1:0",
		RADIUS: routersim.RADIUSConfig{Auth: nobody, Acct: nobody, Secret: "s", Timeout: time.Second}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func pinOf(s *routersim.Sim) string {
	sum := sha256.Sum256(s.Certificate())
	return hex.EncodeToString(sum[:])
}

func dial(t *testing.T, s *routersim.Sim, d door, user string) routeros.Conn {
	t.Helper()
	c, err := routeros.Dial(t.Context(), routeros.Options{URL: d.url(s), User: user, Password: "pw", PinnedSHA256: pinOf(s)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// TestEveryDoorIsTheSame runs one suite over every transport: whoever uses a
// Conn need not know which it is.
func TestEveryDoorIsTheSame(t *testing.T) {
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			for name, run := range map[string]func(*testing.T, *routersim.Sim, door){
				"rows": rows, "queries": queries, "refusals": refusals, "rights": rights, "certificate": certificate,
				"side by side": sideBySide, "a big table": bigTable, "giving up": givingUp,
			} {
				t.Run(name, func(t *testing.T) { run(t, startRouter(t), d) })
			}
		})
	}
}

func must(t *testing.T, c routeros.Conn, words ...string) []routeros.Row {
	t.Helper()
	rows, err := c.Run(t.Context(), words...)
	if err != nil {
		t.Fatalf("%v: %v", words, err)
	}
	return rows
}

const list = "/ip/firewall/address-list"

// rows: add, read, change, remove, and the two kinds of singleton commands.
func rows(t *testing.T, s *routersim.Sim, d door) {
	c := dial(t, s, d, "iwas")
	if got := must(t, c, "/system/identity/print"); len(got) != 1 || got[0]["name"] != "CAFE1" {
		t.Errorf("singleton: got %v", got)
	}
	must(t, c, "/system/identity/set", "=name=CAFE 2")
	if got := must(t, c, "/system/identity/print"); got[0]["name"] != "CAFE 2" {
		t.Errorf("singleton after set: got %v", got)
	}
	if got := must(t, c, list+"/print"); len(got) != 0 {
		t.Errorf("empty menu: got %v", got)
	}
	added := must(t, c, list+"/add", "=list=guests", "=address=10.0.0.1", "=comment=a=b, c")
	id := added[len(added)-1]["ret"]
	if !strings.HasPrefix(id, "*") {
		t.Fatalf("add: got %v, want an id under ret", added)
	}
	if got := must(t, c, list+"/print", "?.id="+id); len(got) != 1 || got[0]["comment"] != "a=b, c" || got[0][".id"] != id {
		t.Errorf("the row added: got %v", got)
	}
	must(t, c, list+"/set", "=.id="+id, "=comment=")
	if got := must(t, c, list+"/print", "=.proplist=.id,address"); len(got) != 1 || got[0]["address"] != "10.0.0.1" || len(got[0]) != 2 {
		t.Errorf("two properties: got %v", got)
	}
	must(t, c, list+"/remove", "=.id="+id)
	if got := must(t, c, list+"/print"); len(got) != 0 {
		t.Errorf("after remove: got %v", got)
	}
	if got := must(t, c, "/radius/incoming/monitor", "=once="); len(got) != 1 || got[0]["acks"] == "" {
		t.Errorf("monitor once: got %v", got)
	}
}

func queries(t *testing.T, s *routersim.Sim, d door) {
	c := dial(t, s, d, "iwas")
	for i := range 6 {
		must(t, c, list+"/add", fmt.Sprintf("=list=l%d", i%2), fmt.Sprintf("=address=10.0.0.%d", i))
	}
	for query, want := range map[string]int{"?list=l0": 3, "?list=l0 ?#!": 3, "?address=10.0.0.1 ?address=10.0.0.2 ?#|": 2, "?list=l1 ?address=10.0.0.3": 1, "?-comment": 6, "?list=none": 0} {
		if got := must(t, c, append([]string{list + "/print", "=.proplist=.id,list,address"}, strings.Fields(query)...)...); len(got) != want {
			t.Errorf("%s: got %d rows, want %d: %v", query, len(got), want, got)
		}
	}
	if got := must(t, c, list+"/print", "=count-only=", "?list=l1"); len(got) != 1 || got[0]["ret"] != "3" {
		t.Errorf("count-only: got %v, want ret 3", got)
	}
}

// refusals: the same reason, kind and code whatever the door's words; and the
// connection goes on.
func refusals(t *testing.T, s *routersim.Sim, d door) {
	c := dial(t, s, d, "iwas")
	must(t, c, list+"/add", "=list=l", "=address=10.0.0.1")
	for _, tc := range []struct {
		words  []string
		reason routeros.Reason
		kind   fault.Kind
	}{
		{[]string{list + "/add", "=list=l", "=address=10.0.0.1"}, routeros.Duplicate, fault.Conflict},
		{[]string{list + "/remove", "=.id=*FFFF"}, routeros.NoSuchItem, fault.NotFound},
		{[]string{list + "/set", "=.id=*FFFF", "=comment=x"}, routeros.NoSuchItem, fault.NotFound},
		{[]string{list + "/add", "=list=l", "=colour=red"}, routeros.BadArgument, fault.Invalid},
		{[]string{list + "/paint"}, routeros.NoSuchCommand, fault.NotFound},
		{[]string{"/ip/teapot/print"}, routeros.NoSuchCommand, fault.NotFound},
	} {
		_, err := c.Run(t.Context(), tc.words...)
		if !routeros.Refused(err) || routeros.ReasonOf(err) != tc.reason || fault.KindOf(err) != tc.kind {
			t.Errorf("%v: got %v (reason %d, kind %v), want reason %d, kind %v", tc.words, err, routeros.ReasonOf(err), fault.KindOf(err), tc.reason, tc.kind)
		}
	}
	must(t, c, "/system/identity/print")
	if _, err := c.Run(t.Context(), "system/identity/print"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a word without its slash: got %v, want Invalid", err)
	}
	if _, err := c.Run(t.Context(), "/system/identity/print", ""); !fault.Is(err, fault.Invalid) {
		t.Errorf("an empty word: got %v, want Invalid", err)
	}
}

func rights(t *testing.T, s *routersim.Sim, d door) {
	c := dial(t, s, d, "reader")
	must(t, c, list+"/print")
	_, err := c.Run(t.Context(), list+"/add", "=list=l", "=address=10.0.0.1")
	if routeros.ReasonOf(err) != routeros.NoRights || fault.Code(err) != routeros.CodeRightMissing || !routeros.Refused(err) {
		t.Errorf("add by a reader: got %v, code %q", err, fault.Code(err))
	}
	must(t, c, list+"/print")
	_, err = routeros.Dial(t.Context(), routeros.Options{URL: d.url(s), User: "iwas", Password: "wrong", PinnedSHA256: pinOf(s)})
	if routeros.ReasonOf(err) != routeros.BadLogin || fault.Code(err) != routeros.CodeLoginRefused {
		t.Errorf("wrong password: got %v, code %q", err, fault.Code(err))
	}
}

func certificate(t *testing.T, s *routersim.Sim, d door) {
	if d.name == "api" {
		return // it has none
	}
	for pin, want := range map[string]string{"": "", strings.Repeat("ab", 32): strings.Repeat("ab", 32)} {
		_, err := routeros.Dial(t.Context(), routeros.Options{URL: d.url(s), User: "iwas", Password: "pw", PinnedSHA256: pin})
		var cert *routeros.CertificateError
		if !errors.As(err, &cert) || cert.Got != pinOf(s) || cert.Want != want || fault.Code(err) != routeros.CodeCertificateChanged || !fault.Is(err, fault.Forged) {
			t.Errorf("pin %q: got %v, code %q", pin, err, fault.Code(err))
		}
	}
}

func sideBySide(t *testing.T, s *routersim.Sim, d door) {
	c := dial(t, s, d, "iwas")
	var all sync.WaitGroup
	for g := range 8 {
		all.Go(func() {
			for i := range 10 {
				address := fmt.Sprintf("10.%d.0.%d", g, i)
				added, err := c.Run(t.Context(), list+"/add", "=list=l", "=address="+address)
				if err != nil {
					t.Error(err)
					return
				}
				rows, err := c.Run(t.Context(), list+"/print", "?.id="+added[len(added)-1]["ret"])
				if err != nil || len(rows) != 1 || rows[0]["address"] != address {
					t.Errorf("%s: got %v, %v", address, rows, err)
				}
			}
		})
	}
	all.Wait()
}

func bigTable(t *testing.T, s *routersim.Sim, d door) {
	s.AddConnections(3000)
	c := dial(t, s, d, "iwas")
	rows := must(t, c, "/ip/firewall/connection/print", "=.proplist=.id,src-address,dst-address")
	if len(rows) < 3000 || rows[2999][".id"] == "" {
		t.Errorf("got %d rows, want 3000", len(rows))
	}
}

// givingUp: whoever gives up gets its own error at once, and nobody else's
// answer is touched. Over the API the connection is dead then; REST goes on.
func givingUp(t *testing.T, s *routersim.Sim, d door) {
	c := dial(t, s, d, "iwas")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Run(ctx, "/system/identity/print"); !fault.Is(err, fault.Unavailable) || routeros.Refused(err) {
		t.Errorf("after giving up: got %v", err)
	}
	other := dial(t, s, d, "iwas")
	must(t, other, "/system/identity/print")
}

// restPeer is a web server that answers as a test wants.
func restPeer(t *testing.T, h http.HandlerFunc) routeros.Options {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/rest/system/identity" {
			fmt.Fprint(w, `{"name":"CAFE1"}`)
			return
		}
		h(w, r)
	}))
	t.Cleanup(srv.Close)
	return routeros.Options{URL: srv.URL, User: "iwas", Password: "pw", Pace: &routeros.Pace{Pause: 50 * time.Millisecond}}
}

// TestRESTAnswers: what RouterOS and others were seen to answer (facts.md §2).
func TestRESTAnswers(t *testing.T) {
	for _, tc := range []struct {
		name   string
		status int
		body   string
		kind   fault.Kind
		reason routeros.Reason
		code   string
		alive  bool
	}{
		{"gone", 404, `{"error":404,"message":"Not Found"}`, fault.NotFound, routeros.NoSuchItem, "", true},
		{"gone, said as 400", 400, `{"detail":"missing or invalid resource identifier","error":400,"message":"Bad Request"}`, fault.NotFound, routeros.NoSuchItem, "", true},
		{"no such command", 406, `{"error":406,"message":"Not Acceptable","detail":"no such command or directory (remove)"}`, fault.NotFound, routeros.NoSuchCommand, "", true},
		{"no rights", 500, `{"detail":"not enough permissions (9)","error":500,"message":"Internal Server Error"}`, fault.Denied, routeros.NoRights, routeros.CodeRightMissing, true},
		{"forbidden", 403, `{"error":403,"message":"Forbidden"}`, fault.Denied, routeros.NoRights, routeros.CodeRightMissing, true},
		{"device-mode", 400, `{"detail":"failure: not allowed by device-mode","error":400,"message":"Bad Request"}`, fault.Denied, routeros.DeviceMode, routeros.CodeDeviceMode, true},
		{"its minute is over", 400, `{"detail":"Session closed","error":400,"message":"Bad Request"}`, fault.Unavailable, routeros.Interrupted, "", false},
		{"wrong password", 401, `{"error":401,"message":"Unauthorized"}`, fault.Denied, routeros.BadLogin, routeros.CodeLoginRefused, false},
		{"a web page", 404, `<html>no</html>`, fault.NotFound, routeros.Unexplained, routeros.CodeNoREST, false},
		{"a proxy", 502, `bad gateway`, fault.Internal, routeros.Unexplained, routeros.CodeUnexpected, false},
		{"a redirect", 302, ``, fault.Internal, routeros.Unexplained, routeros.CodeUnexpected, false},
		{"a page with 200", 200, `<html>welcome</html>`, fault.Internal, routeros.Unexplained, routeros.CodeUnexpected, false},
		{"numbers where RouterOS has strings", 200, `[{".id":1}]`, fault.Internal, routeros.Unexplained, routeros.CodeUnexpected, false},
		{"half an answer", 200, `[{".id":"*1"}`, fault.Internal, routeros.Unexplained, routeros.CodeUnexpected, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := restPeer(t, func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(tc.status)
				fmt.Fprint(w, tc.body)
			})
			c, err := routeros.Dial(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Run(t.Context(), list+"/remove", "=.id=*1")
			if err == nil || fault.KindOf(err) != tc.kind || routeros.ReasonOf(err) != tc.reason || fault.Code(err) != tc.code || routeros.Refused(err) != tc.alive {
				t.Errorf("got %v: kind %v, reason %d, code %q, alive %v", err, fault.KindOf(err), routeros.ReasonOf(err), fault.Code(err), routeros.Refused(err))
			}
			if fault.Code(err) != "" && fault.Hint(err) == "" {
				t.Error("a code without a next step")
			}
			_, err = c.Run(t.Context(), "/system/identity/print")
			if (err == nil) != tc.alive {
				t.Errorf("afterwards: got %v, want it alive: %v", err, tc.alive)
			}
		})
	}
}

// TestRESTEmptyAnswers: any 2xx is a yes.
func TestRESTEmptyAnswers(t *testing.T) {
	for status, body := range map[int]string{200: "[]", 201: `{".id":"*2","list":"l"}`, 204: "", 202: "{}"} {
		o := restPeer(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(status)
			fmt.Fprint(w, body)
		})
		c, err := routeros.Dial(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if rows, err := c.Run(t.Context(), list+"/set", "=.id=*2", "=list=l"); err != nil || len(rows) > 1 {
			t.Errorf("%d %s: got %v, %v", status, body, rows, err)
		}
	}
}

// TestRESTIsNeverCutShort: the call of a caller who gave up goes on to its end,
// on its connection; the next command, of whatever connection, waits for it.
func TestRESTIsNeverCutShort(t *testing.T) {
	var aborted, during atomic.Int64
	working := make(chan struct{})
	release := make(chan struct{})
	var busy atomic.Bool
	o := restPeer(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/slow") {
			busy.Store(true)
			close(working)
			select {
			case <-release:
			case <-r.Context().Done():
				aborted.Add(1)
			}
			busy.Store(false)
		} else if busy.Load() {
			during.Add(1)
		}
		fmt.Fprint(w, "[]")
	})
	c, err := routeros.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	gaveUp := make(chan error, 1)
	go func() {
		_, err := c.Run(ctx, "/tool/slow")
		gaveUp <- err
	}()
	<-working
	cancel()
	if err := <-gaveUp; !fault.Is(err, fault.Unavailable) {
		t.Errorf("whoever gave up got %v", err)
	}
	c.Close() // as after any error
	next := make(chan error, 1)
	go func() {
		c, err := routeros.Dial(t.Context(), o)
		if err == nil {
			_, err = c.Run(t.Context(), "/tool/quick")
		}
		next <- err
	}()
	select {
	case err := <-next:
		t.Fatalf("the next command did not wait: %v", err)
	case <-time.After(150 * time.Millisecond): // it has nothing to wait for but the release
	}
	close(release)
	if err := <-next; err != nil {
		t.Error(err)
	}
	if aborted.Load() != 0 || during.Load() != 0 {
		t.Errorf("%d calls were cut short, %d made meanwhile; want none", aborted.Load(), during.Load())
	}
}

// TestRESTAsksAsItMust: the words on the wire, as RouterOS wants them.
func TestRESTAsksAsItMust(t *testing.T) {
	var got string
	o := restPeer(t, func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 1024)
		n, _ := r.Body.Read(b)
		got = strings.TrimSpace(r.Method + " " + r.RequestURI + " " + r.Header.Get("Content-Type") + " " + string(b[:n]))
		fmt.Fprint(w, "[]")
	})
	c, err := routeros.Dial(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ words, want string }{
		{"/ip/hotspot/active/print", "GET /rest/ip/hotspot/active"},
		{"/ip/hotspot/active/print =.proplist=.id,user", "GET /rest/ip/hotspot/active?.proplist=.id,user"},
		{"/ip/hotspot/active/print =.proplist=.id ?user=a ?#!", `POST /rest/ip/hotspot/active/print application/json {".proplist":".id",".query":["user=a","#!"]}`},
		{"/ip/hotspot/active/remove =.id=*1A", `POST /rest/ip/hotspot/active/remove application/json {".id":"*1A"}`},
		{"/system/identity/set =name=CAFE", `POST /rest/system/identity/set application/json {"name":"CAFE"}`},
	} {
		if _, err := c.Run(t.Context(), strings.Fields(tc.words)...); err != nil || got != tc.want {
			t.Errorf("%s:\ngot  %s, %v\nwant %s", tc.words, got, err, tc.want)
		}
	}
	for _, words := range []string{"/log/listen", "/log/print =follow=", "/radius/monitor =.id=*1", "/ip/%2e%2e/x", "/ip/../file/print", "/ip/x bare"} {
		got = ""
		if _, err := c.Run(t.Context(), strings.Fields(words)...); !fault.Is(err, fault.Invalid) || got != "" {
			t.Errorf("%s: got %v and asked %q, want it refused here", words, err, got)
		}
	}
}
