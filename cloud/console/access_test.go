package console

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// ask sends one request without following redirects and returns status and body.
func ask(t testing.TB, srv *httptest.Server, method, path, body string, header map[string]string) (int, string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header.Set(k, v)
	}
	c := &http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if strings.Contains(resp.Header.Get("Content-Type"), "text/event-stream") {
		return resp.StatusCode, "", resp.Header // it never ends by itself
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func bearer(role hotspot.Role, org string) map[string]string {
	return map[string]string{"Authorization": "Bearer iwas_" + string(role) + org, "Content-Type": "application/json"}
}

func cookie(role hotspot.Role) map[string]string {
	return map[string]string{"Cookie": "iwas_session=session-of-" + string(role), "Content-Type": "application/x-www-form-urlencoded"}
}

// concrete puts things of the organization "cafe" into the address of a route.
func concrete(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	id := "mara"
	if strings.Contains(path, "/agents/") {
		id = "agentnew1"
	}
	return method, strings.NewReplacer("{site}", "main", "{account}", "mara", "{agent}", "agentnew1", "{id}", id, "{grant}", "g1", "{code}", "c0de", "{router}", "counter", "{command}", "c2", "{mac}", "02:AB:CD:12:34:56", "{$}", "").Replace(path)
}

// TestEveryRouteAsksForItsRight walks the whole table: nobody, each role, and
// the owner of another organization.
func TestEveryRouteAsksForItsRight(t *testing.T) {
	for pattern, need := range routes {
		method, path := concrete(pattern)
		api := strings.HasPrefix(path, "/api/")
		t.Run(strings.ReplaceAll(pattern, "/", "_"), func(t *testing.T) {
			for _, role := range []hotspot.Role{hotspot.Owner, hotspot.Manager, hotspot.Cashier, hotspot.Technician} {
				srv, _, _, _ := start(t, role)
				header := cookie(role)
				if api {
					header = bearer(role, "cafe")
				}
				status, body, _ := ask(t, srv, method, path, "", header)
				allowed := slices.Contains(rightsOf[role], need)
				if denied := status == http.StatusForbidden; denied == allowed {
					t.Errorf("%s: got %d, want it allowed: %v\n%.300s", role, status, allowed, body)
				}
				if allowed && (status == http.StatusUnauthorized || status == http.StatusNotFound || status >= 500) {
					t.Errorf("%s: got %d for something of their own\n%.300s", role, status, body)
				}
			}
			srv, _, f, _ := start(t, hotspot.Owner)
			status, _, header := ask(t, srv, method, path, "", nil)
			if api && status != http.StatusUnauthorized || !api && (status != http.StatusSeeOther || !strings.HasPrefix(header.Get("Location"), "/signin")) {
				t.Errorf("nobody: got %d to %q, want to be asked to sign in", status, header.Get("Location"))
			}
			if !api || !strings.ContainsAny(pattern, "{") {
				return
			}
			status, body, _ := ask(t, srv, method, path, `{}`, bearer(hotspot.Owner, "rival"))
			if status != http.StatusNotFound && status != http.StatusUnprocessableEntity || strings.Contains(body, "mara") && strings.Contains(body, "username") {
				t.Errorf("another organization's owner: got %d %.200s, want not found", status, body)
			}
			if len(f.calls) > 0 {
				t.Errorf("another organization's owner changed something: %q", f.calls)
			}
		})
	}
}

// TestWhoIsRefusedLearnsTheWayIn: a program cannot sign in, a person can.
func TestWhoIsRefusedLearnsTheWayIn(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Owner)
	for name, tc := range map[string]struct {
		header map[string]string
		next   string
	}{
		"a person":        {nil, "Sign in and try again."},
		"an old sign-in":  {map[string]string{"Cookie": "iwas_session=over"}, "Sign in and try again."},
		"a wrong token":   {map[string]string{"Authorization": "Bearer iwas_wrong"}, "iwas-cloud token add"},
		"no token at all": {map[string]string{"Authorization": "Basic b3duZXI6cGFzcw=="}, "iwas-cloud token add"},
	} {
		status, body, _ := ask(t, srv, http.MethodGet, "/api/v1/me", "", tc.header)
		var problem struct{ Next string }
		if err := json.Unmarshal([]byte(body), &problem); err != nil {
			t.Fatal(err)
		}
		signIn := strings.Contains(problem.Next, "Sign in")
		if status != http.StatusUnauthorized || !strings.Contains(problem.Next, tc.next) || signIn != strings.Contains(tc.next, "Sign in") {
			t.Errorf("%s: got %d and %q, want 401 and %q", name, status, problem.Next, tc.next)
		}
	}
}

// TestTheAPIDoesWhatItSays calls every operation as a program would.
func TestTheAPIDoesWhatItSays(t *testing.T) {
	srv, _, f, _ := start(t, hotspot.Owner)
	owner := bearer(hotspot.Owner, "cafe")
	call := func(method, path, body string, want int) map[string]any {
		t.Helper()
		status, text, header := ask(t, srv, method, path, body, owner)
		if status != want {
			t.Fatalf("%s %s: got %d, want %d\n%s", method, path, status, want, text)
		}
		if want >= 400 && header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: got content type %q for a problem", method, path, header.Get("Content-Type"))
		}
		var out map[string]any
		if err := json.Unmarshal([]byte(text), &out); err != nil {
			t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
		return out
	}
	items := func(out map[string]any) []any { list, _ := out["items"].([]any); return list }

	if me := call("GET", "/api/v1/me", "", 200); me["email"] != "owner@cafe.example" {
		t.Errorf("me: got %v", me)
	}
	if n := len(items(call("GET", "/api/v1/sites", "", 200))); n != 3 {
		t.Errorf("sites: got %d, want the 3 of this organization", n)
	}
	if site := call("GET", "/api/v1/sites/main", "", 200); site["name"] != "Main Street" || site["data_age_s"] != 12.0 {
		t.Errorf("site: got %v", site)
	}
	call("POST", "/api/v1/sites", `{"name":"New","time_zone":"Europe/Berlin","currency":"EUR","language":"en"}`, 201)
	call("POST", "/api/v1/sites", `{"name":"New","time_zone":"Mars/Olympus","currency":"EUR","language":"en"}`, 400)
	if n := len(items(call("GET", "/api/v1/plans", "", 200))); n != 3 {
		t.Errorf("plans: got %d, want 3", n)
	}
	call("POST", "/api/v1/plans", `{"name":"Night","price":{"minor":300,"currency":"EUR"},"limits":{"time_s":3600,"rate":"1M/4M"}}`, 201)
	call("POST", "/api/v1/plans", `{"name":"Night","price":{"minor":300,"currency":"EUR"},"limits":{"rate":"fast"}}`, 400)

	page := call("GET", "/api/v1/sites/main/accounts?limit=2", "", 200)
	if len(items(page)) != 2 || page["next"] == nil {
		t.Errorf("first page of guests: got %d, next %v", len(items(page)), page["next"])
	}
	rest := call("GET", "/api/v1/sites/main/accounts?limit=200&after="+url.QueryEscape(page["next"].(string)), "", 200)
	if len(items(rest)) != 7 || rest["next"] != nil {
		t.Errorf("rest of the guests: got %d, next %v; want 7 and none", len(items(rest)), rest["next"])
	}
	if found := items(call("GET", "/api/v1/sites/main/accounts?q=mar", "", 200)); len(found) != 1 {
		t.Errorf("search: got %d, want 1", len(found))
	}
	call("GET", "/api/v1/sites/main/accounts?colour=red", "", 422)
	if made := call("POST", "/api/v1/sites/main/accounts", `{"kind":"user","username":"nina","password":"pw","plan":"day"}`, 201); made["password"] != "pw" || made["site"] != "main" {
		t.Errorf("user: got %v", made)
	}
	if made := call("POST", "/api/v1/sites/main/accounts", `{"kind":"voucher","plan":"day"}`, 201); made["code"] == nil {
		t.Errorf("voucher: got no code in %v", made)
	}
	call("POST", "/api/v1/sites/main/accounts", `{"kind":"device","username":"not a mac","plan":"day"}`, 400)
	call("POST", "/api/v1/sites/nowhere/accounts", `{"kind":"voucher","plan":"day"}`, 404)

	guest := call("GET", "/api/v1/accounts/mara", "", 200)
	if pass, _ := guest["pass"].(map[string]any); pass == nil || pass["download"] != 1_234_000_000.0 || len(guest["sessions"].([]any)) != 2 {
		t.Errorf("guest: got %v", guest)
	}
	call("GET", "/api/v1/accounts/theirs", "", 404)
	if n := len(items(call("GET", "/api/v1/sites/main/sessions", "", 200))); n != 5 {
		t.Errorf("sessions: got %d, want 5", n)
	}
	f.calls = nil
	lock := call("POST", "/api/v1/accounts/mara/lock", `{"reason":"not paid"}`, 200)["lock"].(map[string]any)
	if lock["locked"] != true || lock["state"] != "sent" || lock["reason"] != "not paid" || len(lock["steps"].([]any)) == 0 {
		t.Errorf("lock: got %v", lock)
	}
	if lock := call("POST", "/api/v1/accounts/mara/unlock", "", 200)["lock"].(map[string]any); lock["locked"] != false {
		t.Errorf("unlock: got %v", lock)
	}
	if want := []string{`lock mara "not paid" by owner`, `unlock mara "" by owner`}; !slices.Equal(f.calls, want) {
		t.Errorf("the fleet was asked for %q, want %q", f.calls, want)
	}
	enforced := call("GET", "/api/v1/accounts/enforced", "", 200)["lock"].(map[string]any)
	if steps, site := enforced["steps"].([]any), enforced["site_steps"].([]any); len(steps) != 4 || len(site) != 4 {
		t.Errorf("an enforced lock tells %d steps and %d of the site, want 4 and 4: %v", len(steps), len(site), enforced)
	}

	if n := len(items(call("GET", "/api/v1/sites/main/agents", "", 200))); n != 3 {
		t.Errorf("agents: got %d, want 3", n)
	}
	if code := call("POST", "/api/v1/sites/main/enrolment-codes", "", 201); code["code"] != "W4HK-72PM" || !strings.Contains(code["command"].(string), "enroll") || strings.Contains(code["command"].(string), "W4HK") {
		t.Errorf("code: got %v; the command must not carry the code", code)
	}
	if codes := items(call("GET", "/api/v1/sites/main/enrolment-codes", "", 200)); len(codes) != 2 || codes[0].(map[string]any)["id"] != "c0de" || codes[0].(map[string]any)["wrong_codes"] != 4.0 || codes[0].(map[string]any)["wrong_from"] != "203.0.113.0/24" {
		t.Errorf("open codes: got %v, want the two, with what was tried beside the first", codes)
	}
	f.calls = nil
	call("DELETE", "/api/v1/sites/main/enrolment-codes/c0de", "", 200)
	if codes := items(call("GET", "/api/v1/sites/main/enrolment-codes", "", 200)); len(codes) != 1 || !slices.Equal(f.calls, []string{"revoke code c0de"}) {
		t.Errorf("after revoking: got codes %v, calls %q", codes, f.calls)
	}
	call("POST", "/api/v1/agents/agentnew1/confirm", "", 200)
	call("POST", "/api/v1/agents/agentnew1/revoke", "", 200)
}

// TestTheDescriptionNamesEveryOperation: OpenAPI 3.1, nothing left out.
func TestTheDescriptionNamesEveryOperation(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Owner)
	status, text, _ := ask(t, srv, "GET", "/api/openapi.json", "", nil)
	var doc struct {
		OpenAPI string                               `json:"openapi"`
		Paths   map[string]map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil || status != http.StatusOK || !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Fatalf("got %d, version %q, %v", status, doc.OpenAPI, err)
	}
	for pattern := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		if !strings.HasPrefix(path, "/api/") {
			continue
		}
		op := doc.Paths[path][strings.ToLower(method)]
		if op == nil {
			t.Errorf("%s is not described", pattern)
			continue
		}
		named := map[string]bool{}
		params, _ := op["parameters"].([]any)
		for _, p := range params {
			if p := p.(map[string]any); p["in"] == "path" {
				named[p["name"].(string)] = true
			}
		}
		for _, part := range strings.Split(path, "/") {
			if name, ok := strings.CutPrefix(part, "{"); ok && !named[strings.TrimSuffix(name, "}")] {
				t.Errorf("%s: the part %s of its address is not described", pattern, part)
			}
		}
	}
}

// shape is what the description says of a value.
type shape struct {
	Ref         string           `json:"$ref"`
	Description string           `json:"description"`
	Properties  map[string]shape `json:"properties"`
	Items       *shape           `json:"items"`
}

// TestTheDescriptionNamesEveryField: whatever an answer carries is described, at
// every depth, and the fields that tell an age or an end say what they mean.
func TestTheDescriptionNamesEveryField(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Owner)
	_, text, _ := ask(t, srv, "GET", "/api/openapi.json", "", nil)
	var doc struct {
		Paths map[string]map[string]struct {
			Responses map[string]struct {
				Content map[string]struct {
					Schema shape `json:"schema"`
				} `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas map[string]shape `json:"schemas"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(text), &doc); err != nil {
		t.Fatal(err)
	}
	explained := map[string]bool{"data_age_s": false, "as_of": false, "reopened": false, "was": false, "was_at": false, "since": false, "router_age_s": false, "locks_open": false, "clock_offset_s": false,
		"order": false, "machine": false, "wrong_codes": false}
	var compare func(where string, v any, s shape)
	compare = func(where string, v any, s shape) {
		if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
			s = doc.Components.Schemas[name]
		}
		switch v := v.(type) {
		case map[string]any:
			for key, inner := range v {
				p, known := s.Properties[key]
				if !known {
					t.Errorf("%s.%s is not described", where, key)
					continue
				}
				if _, must := explained[key]; must {
					explained[key] = true
					if p.Description == "" && p.Ref == "" {
						t.Errorf("%s.%s is not explained", where, key)
					}
				}
				compare(where+"."+key, inner, p)
			}
		case []any:
			for _, inner := range v {
				if s.Items == nil {
					t.Errorf("%s holds items that are not described", where)
					return
				}
				compare(where, inner, *s.Items)
			}
		}
	}
	for pattern := range routes {
		if !strings.HasPrefix(pattern, "GET /api/") {
			continue
		}
		_, described, _ := strings.Cut(pattern, " ")
		for _, account := range []string{"mara", "reopened"} {
			_, path := concrete(pattern)
			if strings.HasSuffix(path, "/why") {
				path += "?q=mara" // it must be asked something
			}
			status, body, _ := ask(t, srv, "GET", strings.ReplaceAll(path, "mara", account), "", bearer(hotspot.Owner, "cafe"))
			var v any
			if err := json.Unmarshal([]byte(body), &v); err != nil || status != http.StatusOK {
				t.Fatalf("%s: got %d, %v", path, status, err)
			}
			compare(path, v, doc.Paths[described]["get"].Responses["200"].Content["application/json"].Schema)
		}
	}
	for key, seen := range explained {
		if !seen {
			t.Errorf("no answer carries %s: this test proves nothing of it", key)
		}
	}
}

// TestWrongPasswordsCostTimeAndAreCounted: five are free, then each has to wait;
// the right one within the wait is not even looked at.
func TestWrongPasswordsCostTimeAndAreCounted(t *testing.T) {
	srv, s, _, _ := start(t, hotspot.Owner)
	at := noon
	s.Now = func() time.Time { return at }
	s.throttle.Now = s.Now
	form := func(password string) (int, string) {
		body := url.Values{"email": {"owner@cafe.example"}, "password": {password}}.Encode()
		status, text, header := ask(t, srv, "POST", "/signin", body, map[string]string{"Content-Type": "application/x-www-form-urlencoded"})
		return status, text + header.Get("Retry-After")
	}
	for i := range 5 {
		if status, _ := form("wrong"); status != http.StatusUnauthorized {
			t.Fatalf("wrong password %d: got %d, want 401", i+1, status)
		}
	}
	if status, text := form(ownerPassword); status != http.StatusTooManyRequests || !strings.Contains(text, "Wait") {
		t.Errorf("right password at once after five wrong ones: got %d, want 429 and how long to wait", status)
	}
	at = at.Add(time.Minute)
	if status, _ := form(ownerPassword); status != http.StatusSeeOther {
		t.Errorf("right password after the wait: got %d, want to be let in", status)
	}
}

// TestAStrangerBehindTheProxyThrottlesNobodyElse: behind the proxy that ends TLS
// people are told apart; without one, nobody can pretend to be several.
func TestAStrangerBehindTheProxyThrottlesNobodyElse(t *testing.T) {
	for _, tc := range []struct {
		name    string
		proxies []string
		owner   int // what the owner, with the right password, gets
	}{
		{"behind a proxy", []string{"127.0.0.1"}, http.StatusSeeOther},
		{"the header is not believed", nil, http.StatusTooManyRequests},
	} {
		srv, s, _, _ := start(t, hotspot.Owner)
		var err error
		if s.Proxies, err = webui.ParseProxies(tc.proxies); err != nil {
			t.Fatal(err)
		}
		from := func(address, email, password string) int {
			status, _, _ := ask(t, srv, "POST", "/signin", url.Values{"email": {email}, "password": {password}}.Encode(),
				map[string]string{"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": "10.1.1.1, " + address})
			return status
		}
		for i := range 12 {
			from("198.51.100.7", fmt.Sprintf("guess%d@cafe.example", i), "wrong")
		}
		if got := from("203.0.113.20", "owner@cafe.example", ownerPassword); got != tc.owner {
			t.Errorf("%s: the owner got %d, want %d", tc.name, got, tc.owner)
		}
	}
}

// TestATechnicianSeesGuestsMasked: what identifies a guest or lets one in is
// hidden, on pages and in the API.
func TestATechnicianSeesGuestsMasked(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Technician)
	for _, path := range []string{"/sites/main", "/guests/code", "/guests/mara"} {
		if _, body, _ := ask(t, srv, "GET", path, "", cookie(hotspot.Technician)); strings.Contains(body, "K7QM-PDXW") || strings.Contains(body, ">mara<") || strings.Contains(body, "Table 4") {
			t.Errorf("%s shows a technician who the guest is", path)
		}
	}
	for _, path := range []string{"/api/v1/sites/main/accounts", "/api/v1/accounts/code", "/api/v1/sites/main/sessions"} {
		status, body, _ := ask(t, srv, "GET", path, "", bearer(hotspot.Technician, "cafe"))
		if status != http.StatusOK || strings.Contains(body, "K7QM-PDXW") || strings.Contains(body, `"username":"mara"`) || strings.Contains(body, `"mac":"02:AB:CD:12:34:56"`) {
			t.Errorf("%s: got %d and tells a technician who the guest is: %.200s", path, status, body)
		}
	}
}
