package routersim

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// setUp is a script as a technician pastes one into a router from its box.
const setUp = `# lets the box at 10.99.0.2 manage this router
:do { /user/group/add name=box policy=read,write,api,rest-api,sensitive,test } on-error={}
:do { /user/add name=box group=box password="p\$ \"w" address=10.99.0.2/32 comment="the box" } on-error={ /user/set box group=box password="p\$ \"w" }
:do { /certificate/add name=box common-name=box days-valid=3650 key-usage=key-cert-sign,crl-sign,tls-server } on-error={}
:do { /certificate/sign box } on-error={}
:delay 20ms
/ip/service/set api-ssl certificate=box address=10.99.0.2/32 disabled=no
/ip service
set www-ssl certificate=box disabled=no
set [find where name="telnet" or name="ftp"] disabled=yes
:do { /ip/service/set api-ssl available-from=10.99.0.2/32 } on-error={}
:put "The fingerprint:"
:put [/certificate/get box fingerprint]
`

// What a technician pastes is taken line by line, twice without harm, and a line
// that this version does not know is refused alone.
func TestPasteSetsUpARouterFromItsBox(t *testing.T) {
	for version, refused := range map[string]string{
		"7.16.2 (stable)": "line 11: :do { /ip/service/set api-ssl available-from=10.99.0.2/32 } on-error={}: bad parameter available-from (line 1 column 31)",
		"7.24 (stable)":   "",
	} {
		s := start(t, nowhere, nowhere, func(c *Config) { c.Version, c.Fresh = version, true })
		r := runs(t, s)
		for range 2 {
			out, err := s.Paste("iwas", setUp)
			if got := errText(err); got != refused {
				t.Errorf("%s: got %q, want %q", version, got, refused)
			}
			cert := r.row(t, "certificate", "name=box")
			if lines := strings.Split(strings.TrimSpace(out), "\n"); lines[len(lines)-1] != cert["fingerprint"] || cert["fingerprint"] == "" {
				t.Errorf("%s: the console shows %q, want the fingerprint %s last", version, out, cert["fingerprint"])
			}
		}
		for _, tc := range []struct{ path, which, key, want string }{
			{"user", "name=box", "comment", "the box"},
			{"ip/service", "name=api-ssl", "certificate", "box"},
			{"ip/service", "name=www-ssl", "disabled", "false"},
			{"ip/service", "name=telnet", "disabled", "true"},
			{"ip/service", "name=ssh", "disabled", "false"},
		} {
			if got := r.row(t, tc.path, tc.which)[tc.key]; got != tc.want {
				t.Errorf("%s: %s %s: %s is %q, want %q", version, tc.path, tc.which, tc.key, got, tc.want)
			}
		}
		if !s.checkUser("box", `p$ "w`, "api", &net.TCPAddr{IP: net.IPv4(10, 99, 0, 2), Port: 5}) {
			t.Error("the password with its escapes does not log in")
		}
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTheConsoleRefusesWithThePlace(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	for _, tc := range []struct{ name, text, want string }{
		{"an unknown menu", "/ip/nothing/add name=x", "bad command name nothing (line 1 column 5)"},
		{"an unknown command", "/ip/pool/frob name=x", "bad command name frob (line 1 column 10)"},
		{"an unknown argument", "/ip/pool/add name=x colour=red", "bad parameter colour (line 1 column 21)"},
		{"an unknown option of print", "/ip hotspot host print limit=10", "expected end of command (line 1 column 24)"},
		{"a word too many", "/ip/pool/add name=x extra", "expected end of command (line 1 column 21)"},
		{"a missing bracket", "/ip/pool/remove [find name=x", "syntax error (line 1 column 29)"},
		{"a missing quotation mark", "/ip/pool/add name=\"x", "syntax error (line 1 column 19)"},
		{"a variable nobody declared", ":put $nothing", "syntax error (line 1 column 6)"},
		{"an unknown statement", ":frob 1", "bad command name frob (line 1 column 1)"},
		{"an unknown key to find", "/ip/pool/remove [find nmae=x]", "bad parameter nmae (line 1 column 23)"},
		{"in the second line of a block", ":do {\n /ip/pool/frob\n}", "bad command name frob (line 2 column 11)"},
		{"true where the console says yes", "/ip/address/set [find] disabled=true", "invalid value for argument disabled"},
		{"what the API refuses too", "/ip/address/add address=10.1.1.1/24 interface=ether9", "input does not match any value of interface"},
		{"a row that is not there", ":put [/ip/pool/get none-such ranges]", "no such item"},
		{"a key that no row has", ":put [/ip/pool/get pool-guest colour]", "input does not match any value of value-name"},
		{"what it says itself", `:error "enough"`, "enough"},
	} {
		out, err := s.Paste("iwas", tc.text)
		if err == nil || !strings.HasSuffix(err.Error(), ": "+tc.want) || !strings.HasSuffix(out, tc.want+"\n") {
			t.Errorf("%s: got %v and shows %q, want %q", tc.name, err, out, tc.want)
		}
	}
	if _, err := s.Paste("nobody", ":put 1"); err == nil {
		t.Error("somebody without an account typed at the console")
	}
}

func TestWhatTheLanguageGives(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	for text, want := range map[string]string{
		`:put "a\tb\\ \24x \41"`: "a\tb\\ $x A",
		`/ip/firewall/filter/add chain=input action=accept comment="one two"
/ip firewall filter
add chain=forward action=drop comment=three disabled=yes
:put [:len [find]]
:put [:len [find where chain=input and comment="one two"]]
:put [:len [find comment~"^t" disabled]]
:put [:len [find !disabled]]
:put [:len [find chain=input or chain=forward]]
:put [:len [find dynamic=no]]
:put [get [find comment=three] action]
:local ours [find comment=three]
set $ours disabled=no
:put [:len [find where disabled=no]]
remove [find comment="never there"]
:foreach r in=[find] do={ remove $r }
:put [:len [find]]`: "2\n1\n1\n1\n2\n2\ndrop\n2\n0",
		`:do { /ip/pool/add name=pool-guest ranges=10.1.1.1 } on-error={ :put "caught" }; :put after`:                                    "caught\nafter",
		`:if ([:len [/ip/pool/find name=pool-guest]] > 0) do={ :put yes } else={ :put no }`:                                              "yes",
		`:if ((1 + 2 = 3) && !(2 < 1)) do={ :put good }`:                                                                                 "good",
		":local x \"v\"; /ip/pool/add name=\"n-$x\" \\\n  ranges=10.1.1.1-10.1.1.9\n:put [/ip/pool/get n-v ranges]\n/ip/pool/remove n-v": "10.1.1.1-10.1.1.9",
		`/system identity set name=CAFE7
:put [/system/identity/get name]`: "CAFE7",
		`/log info "from the console"
:put [:len [/log/find message="from the console"]]`: "1",
	} {
		out, err := s.Paste("iwas", text)
		if got := strings.TrimSpace(out); err != nil || got != want {
			t.Errorf("%s\ngot  %q, %v\nwant %q", text, got, err, want)
		}
	}
}

// A script with a mistake anywhere does not begin; one that fails stops there, and
// the log says so.
func TestScriptsRunWholeOrAreLogged(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	r := runs(t, s)
	r.must(t, "system/script", "add", "name=good", "source=/ip/pool/add name=from-script ranges=10.7.0.1; :delay 1ms; /ip/pool/remove from-script", "policy=read,write")
	r.must(t, "system/script", "add", "name=wrong", "source=/ip/pool/add name=half ranges=10.7.0.1; /ip/pool/frob")
	r.must(t, "system/script", "add", "name=fails", "source=/ip/pool/add name=half ranges=10.7.0.1; /ip/pool/remove none-such; /ip/pool/remove half", "policy=read,write")
	r.must(t, "system/script", "add", "name=round", "source=/system/script/run round", "policy=read,write")
	r.must(t, "system/script", "add", "name=narrow", "source=/ip/pool/add name=half ranges=10.7.0.1", "policy=read")
	r.must(t, "system/script", "run", "number=good")
	if got := r.row(t, "system/script", "name=good"); got["run-count"] != "1" || got["owner"] != "iwas" || got["last-started"] == "" {
		t.Errorf("after a run: %v", got)
	}
	for name, want := range map[string]string{"wrong": "bad command name frob (line 1 column 50)", "fails": "no such item",
		"round": "scripts run each other in a circle", "narrow": "not enough permissions (9)"} {
		if _, _, err := r("system/script", "run", "number="+name); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %q", name, err, want)
		}
		rows, _, _ := r("ip/pool", "print")
		if half := len(rows) == 2; half != (name == "fails") {
			t.Errorf("%s: %d pools", name, len(rows))
		}
		_, _ = s.Paste("iwas", `/ip/pool/remove [find name=half]`)
	}
	if _, _, err := s.Command("reader", "system/script", "run", map[string]string{"number": "good"}, nil); err == nil {
		t.Error("a reader ran a script that writes")
	}
	r.must(t, "system/scheduler", "add", "name=now", "interval=100ms", "on-event=/ip/pool/remove none-such", "policy=read,write")
	until(t, "the failure in the log", func() bool {
		rows, _, _ := r("log", "print")
		for _, v := range rows {
			if v["topics"] == "script,error" && strings.Contains(v["message"], "scheduler now failed") && strings.Contains(v["message"], "no such item") {
				return true
			}
		}
		return false
	})
	r.must(t, "file", "add", "name=x.rsc", "contents=/ip/pool/add name=imported ranges=10.7.0.1")
	r.must(t, "", "import", "file-name=x.rsc")
	r.row(t, "ip/pool", "name=imported")
}

// A rollback is on the router: it runs when nobody came back, with the policies of
// its own row although who made it is gone, and at a boot if it says so.
func TestARollbackRunsByItself(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	r := runs(t, s)
	r.must(t, "user", "add", "name=once", "group=full", "password=x")
	undo := `/system/identity/set name=before; :do { /interface/vlan/remove [find comment="ours"] } on-error={}; /system/scheduler/remove [find name="undo"]`
	if _, _, err := s.Command("once", "system/scheduler", "add", map[string]string{"name": "undo", "interval": "300ms", "on-event": undo, "policy": "read,write"}, nil); err != nil {
		t.Fatal(err)
	}
	r.must(t, "interface/vlan", "add", "interface=br-lan", "vlan-id=99", "name=v99", "comment=ours")
	r.must(t, "user", "remove", ".id=once")
	r.must(t, "system/identity", "set", "name=broken")
	until(t, "the rollback", func() bool {
		rows, _, _ := r("system/scheduler", "print")
		return len(rows) == 0
	})
	if got := r.row(t, "system/identity")["name"]; got != "before" {
		t.Errorf("identity %q, want what it was before", got)
	}
	if rows, _, _ := r("interface/vlan", "print"); len(rows) != 2 {
		t.Errorf("%d VLANs, want the two of before", len(rows))
	}

	r.must(t, "system/scheduler", "add", "name=boot", "start-time=startup", "on-event=/system/identity/set name=booted", "policy=read,write")
	at := s.stampAfter(700 * time.Millisecond)
	r.must(t, "system/scheduler", "add", "name=later", "start-date="+at[:10], "start-time="+at[11:], "on-event=/system/identity/set name=later", "policy=read,write")
	time.Sleep(150 * time.Millisecond) // nothing happens, which cannot be waited for; a tick is 100 ms
	if got := r.row(t, "system/identity")["name"]; got != "before" {
		t.Errorf("a scheduler of the startup ran without one: %q", got)
	}
	until(t, "the one with a date", func() bool { return r.row(t, "system/identity")["name"] == "later" })
	s.PowerCut(0)
	until(t, "the one of the startup", func() bool { return r.row(t, "system/identity")["name"] == "booted" })
	if rows, _, _ := r("system/scheduler", "print"); len(rows) != 2 {
		t.Errorf("after a boot: %d schedulers, want both", len(rows))
	}
}

// stampAfter is the router's clock in a while, at a full second.
func (s *Sim) stampAfter(d time.Duration) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stamp(s.now().Add(d + time.Second))
}

// What an export prints, the console takes back, and then exports the same.
func TestAnExportIsTakenBack(t *testing.T) {
	full := func(c *Config) { c.Fresh, c.Version = true, "7.24 (stable)" }
	one := start(t, nowhere, nowhere, full)
	if out, err := one.Paste("iwas", setUp+`
/interface/bridge/add name=br-lan comment="the \"LAN\" \$5 \\z"
/interface/vlan/add name=vlan10-pc interface=br-lan vlan-id=10 arp=reply-only
/interface/ethernet/set ether3 comment=PCs
/ip/pool/add name=pool-pc ranges=10.10.0.50-10.10.0.199
/ip/address/add address=10.10.0.1/24 interface=vlan10-pc
/ip/dhcp-server/add name=dhcp-pc interface=vlan10-pc address-pool=pool-pc lease-time=8h add-arp=yes
/ip/hotspot/profile/add name=hs login-by=http-chap,mac-cookie use-radius=yes
/ip/hotspot/add name=hs-guest interface=vlan10-pc profile=hs disabled=no
/radius/add service=hotspot address=10.99.0.2 secret=top timeout=2s
/radius/incoming/set accept=yes port=3799
/ip/firewall/address-list/add list=paid address=10.1.1.1
/ip/firewall/address-list/add list=paid address=10.1.1.2 timeout=1h
/ip/firewall/filter/add chain=forward action=drop in-interface=!vlan10-pc connection-state=!established,related place-before=[find comment~"fasttrack"]
/system/scheduler/add name=s interval=1h on-event="/log info \"x\"; :put \$a"
/ipv6/settings/set disable-ipv6=yes
`); err != nil {
		t.Fatal(err, out)
	}
	r := runs(t, one)
	r.must(t, "", "export", "file=whole", "show-sensitive=")
	text := r.row(t, "file", "name=whole.rsc")
	contents := one.menus["file"].find("whole.rsc").get("contents")
	if text["type"] != "script" || !strings.Contains(contents, "secret=top") {
		t.Errorf("the file: %v", text)
	}
	if out, err := one.Paste("iwas", "/export"); err != nil || strings.Contains(out, "secret=") || !strings.Contains(out, "vlan10-pc") {
		t.Errorf("without show-sensitive: %v, %s", err, out)
	}
	two := start(t, nowhere, nowhere, full)
	two.clear()
	if out, err := two.Paste("iwas", `/certificate/add name=box common-name=box
/certificate/sign box
`+contents); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	again, err := two.Paste("iwas", "/export show-sensitive")
	body := func(text string) string { _, rest, _ := strings.Cut(text, "\n"); return rest }
	if err != nil || body(again) != body(contents) {
		t.Errorf("exported again: %v\ngot\n%s\nwant\n%s", err, again, contents)
	}
}

// clear removes what a factory script made, as a reset without it does.
func (s *Sim) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, path := range []string{"interface/bridge/port", "interface/list/member", "ip/address", "ip/dhcp-server", "ip/dhcp-server/network", "ip/pool", "ip/dhcp-client",
		"ip/firewall/filter", "ip/firewall/nat", "ipv6/firewall/filter", "interface/bridge"} {
		m := s.menus[path]
		for _, r := range m.rows {
			if m.shape.gone != nil {
				m.shape.gone(m, r)
			}
		}
		m.rows = nil
	}
	m := s.menus["interface/list"]
	kept := m.rows[:0]
	for _, r := range m.rows {
		if r.served {
			kept = append(kept, r)
		}
	}
	m.rows = kept
	s.menus["user/group"].rows = s.menus["user/group"].rows[:2]
}

// The same over the control, for whoever runs the simulator as a program.
func TestPasteOverTheControl(t *testing.T) {
	s := start(t, nowhere, nowhere, func(c *Config) { c.Fresh = true })
	resp, err := http.Post(s.ControlURL()+"/router/paste", "application/json", strings.NewReader(`{"user":"iwas","text":":put [/system/identity/get name]\n/ip/frob"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var got map[string]string
	if err := json.NewDecoder(resp.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(got["shown"], "MikroTik\n") || got["refused"] != "line 2: /ip/frob: bad command name frob (line 1 column 5)" {
		t.Errorf("got %v", got)
	}
}

// No text takes the console down, and each refusal has its place.
func FuzzConsole(f *testing.F) {
	for _, text := range []string{setUp, cafe, `:put [/ip/pool/get [find where (name=x or !dynamic) and comment~"a\\"] name]`, "/", "/ip/..", ":if (1) do={}", "[", "find !", `"\`, "{}"} {
		f.Add(text)
	}
	s, err := Start(context.Background(), Config{Fresh: true})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(s.Close)
	f.Fuzz(func(t *testing.T, text string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, err := s.parse(text); err != nil && !strings.Contains(err.Error(), "(line ") {
			t.Errorf("%q: %v", text, err)
		}
		_ = open(text)
	})
}
