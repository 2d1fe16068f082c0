package routersim

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"maps"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

var nowhere = netip.MustParseAddrPort("127.0.0.1:9")

// tree is what one version of RouterOS takes: command and its arguments.
func tree(t *testing.T, version string) map[string][]string {
	t.Helper()
	b, err := os.ReadFile("testdata/commands-" + version + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(b)) {
		if command, words, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(line, "#") {
			out[command] = strings.Fields(words)
		}
	}
	return out
}

// Every command of every menu takes exactly the arguments that the command tree of
// that version lists, and none is missing.
func TestArgumentsAreThoseOfBothTrees(t *testing.T) {
	for _, version := range []string{"7.16.2", "7.24"} {
		want, got := tree(t, version), map[string][]string{}
		for path, verbs := range commands(version + " (stable)") {
			for verb, words := range verbs {
				got[strings.TrimPrefix(path+"/"+verb, "/")] = words
			}
		}
		if len(want) < 250 {
			t.Fatalf("%s: only %d commands in the tree", version, len(want))
		}
		for command := range maps.Keys(got) {
			if _, ok := want[command]; !ok {
				t.Errorf("%s: %s is in no tree", version, command)
			}
		}
		for command, words := range want {
			have := slices.Sorted(slices.Values(got[command]))
			slices.Sort(words)
			if !slices.Equal(have, words) {
				t.Errorf("%s: %s takes %v, want %v", version, command, have, words)
			}
		}
	}
}

// What a menu checks, it also takes: no value is described for an argument that no
// version knows, and no row has a default under a name nobody can write or read.
func TestShapesNameArgumentsOfTheirMenus(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	all := commands("99.0")
	for path, names := range unknownTo("99.0") {
		for _, verb := range []string{"add", "set"} {
			if all[path] != nil {
				all[path][verb] = append(all[path][verb], names...)
			}
		}
	}
	for path, shape := range s.shapes() {
		takes := slices.Concat(all[path]["add"], all[path]["set"])
		for name := range shape.values {
			if strings.Contains(path, "firewall") {
				continue // one shape for all tables
			}
			if !slices.Contains(takes, name) {
				t.Errorf("%s checks %s, which it does not take", path, name)
			}
		}
		for _, name := range slices.Concat(shape.needs, shape.once) {
			if !slices.Contains(takes, name) {
				t.Errorf("%s wants %s, which it does not take", path, name)
			}
		}
	}
}

// run is one command of a full user.
type runner func(path, verb string, words ...string) ([]view, string, error)

func runs(t *testing.T, s *Sim) runner {
	t.Helper()
	return func(path, verb string, words ...string) ([]view, string, error) {
		args := map[string]string{}
		for _, w := range words {
			k, v, _ := strings.Cut(w, "=")
			args[k] = v
		}
		return s.Command("iwas", path, verb, args, nil)
	}
}

// must runs a command that has to succeed, and returns the id of a new row.
func (r runner) must(t *testing.T, path, verb string, words ...string) string {
	t.Helper()
	_, ret, err := r(path, verb, words...)
	if err != nil {
		t.Fatalf("/%s/%s %v: %v", path, verb, words, err)
	}
	return ret
}

// row is the one row of a menu that has these values.
func (r runner) row(t *testing.T, path string, words ...string) view {
	t.Helper()
	rows, _, err := r(path, "print")
	if err != nil {
		t.Fatal(err)
	}
	var out []view
	for _, v := range rows {
		if match(v, words) {
			out = append(out, v)
		}
	}
	if len(out) != 1 {
		t.Fatalf("%s %v: %d rows, want 1: %v", path, words, len(out), out)
	}
	return out[0]
}

// refused is one command that has to fail with a text.
type refused struct {
	name, path, verb, words, want string
}

func (r runner) refuses(t *testing.T, cases []refused) {
	t.Helper()
	for _, tc := range cases {
		if _, _, err := r(tc.path, tc.verb, strings.Fields(tc.words)...); err == nil || err.Error() != tc.want {
			t.Errorf("%s: got %v, want %q", tc.name, err, tc.want)
		}
	}
}

func TestNetworkMenusKeepWhatIsWritten(t *testing.T) {
	for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
		t.Run(version, func(t *testing.T) {
			s := start(t, nowhere, nowhere, func(c *Config) { c.Version, c.Fresh = version, true })
			r := runs(t, s)
			r.must(t, "interface/bridge", "add", "name=br-lan", "vlan-filtering=no", "protocol-mode=rstp")
			r.must(t, "interface/bridge/port", "remove", ".id="+r.row(t, "interface/bridge/port", "interface=ether3")[".id"])
			r.must(t, "interface/bridge/port", "add", "bridge=br-lan", "interface=ether3", "pvid=10", "frame-types=admit-only-untagged-and-priority-tagged")
			r.must(t, "interface/bridge/vlan", "add", "bridge=br-lan", "vlan-ids=10", "tagged=br-lan", "untagged=ether3")
			r.must(t, "interface/vlan", "add", "name=vlan10-pc", "interface=br-lan", "vlan-id=10")
			r.must(t, "ip/address", "add", "address=10.10.0.1/24", "interface=vlan10-pc")
			r.must(t, "ip/pool", "add", "name=pool-pc", "ranges=10.10.0.50-10.10.0.199")
			r.must(t, "ip/dhcp-server", "add", "name=dhcp-pc", "interface=vlan10-pc", "address-pool=pool-pc", "lease-time=8h", "add-arp=yes", "conflict-detection=yes")
			r.must(t, "ip/dhcp-server/network", "add", "address=10.10.0.0/24", "gateway=10.10.0.1", "dns-server=10.10.0.1")
			r.must(t, "ip/dhcp-server/lease", "add", "address=10.10.0.50", "mac-address=aa-bb-cc-00-00-01", "server=dhcp-pc", "comment=PC 1")
			r.must(t, "ip/dns", "set", "allow-remote-requests=yes", "servers=1.1.1.1,9.9.9.9")
			r.must(t, "ip/arp", "add", "address=10.10.0.2", "mac-address=AA:BB:CC:00:00:02", "interface=vlan10-pc")
			for _, tc := range []struct{ path, which, key, want string }{
				{"interface/bridge", "name=br-lan", "vlan-filtering", "false"},
				{"interface/bridge", "name=br-lan", "pvid", "1"},
				{"interface", "name=br-lan", "type", "bridge"},
				{"interface", "name=vlan10-pc", "type", "vlan"},
				{"interface/bridge/port", "interface=ether3", "pvid", "10"},
				{"interface/bridge/vlan", "vlan-ids=10", "untagged", "ether3"},
				{"interface/vlan", "name=vlan10-pc", "arp", "enabled"},
				{"ip/address", "address=10.10.0.1/24", "network", "10.10.0.0"},
				{"ip/pool", "name=pool-pc", "total", "150"},
				{"ip/dhcp-server", "name=dhcp-pc", "add-arp", "true"},
				{"ip/dhcp-server", "name=dhcp-pc", "lease-time", "8h"},
				{"ip/dhcp-server/network", "address=10.10.0.0/24", "ntp-server", ""},
				{"ip/dhcp-server/lease", "comment=PC 1", "mac-address", "AA:BB:CC:00:00:01"},
				{"ip/dhcp-server/lease", "comment=PC 1", "status", "waiting"},
				{"ip/dns", "allow-remote-requests=true", "servers", "1.1.1.1,9.9.9.9"},
			} {
				if got, ok := r.row(t, tc.path, tc.which)[tc.key]; got != tc.want || !ok {
					t.Errorf("%s %s: %s is %q, want %q", tc.path, tc.which, tc.key, got, tc.want)
				}
			}
			if id := r.row(t, "interface", "name=br-lan")[".id"]; id != r.row(t, "interface/bridge", "name=br-lan")[".id"] {
				t.Error("a bridge has another id in /interface")
			}
			_, leaseTags := r.row(t, "ip/dhcp-server/lease", "comment=PC 1")["agent-circuit-id"]
			if newer := version[:4] == "7.24"; leaseTags != newer {
				t.Errorf("agent-circuit-id in a lease: %v, want %v", leaseTags, newer)
			}
			r.refuses(t, []refused{
				{"an unknown interface", "ip/address", "add", "address=10.1.1.1/24 interface=vlan99", "input does not match any value of interface"},
				{"an unknown pool", "ip/dhcp-server", "add", "interface=br-lan address-pool=none-such", "input does not match any value of address-pool"},
				{"an unknown bridge", "interface/bridge/port", "add", "bridge=br9 interface=ether3", "input does not match any value of bridge"},
				{"an unknown port of a VLAN", "interface/bridge/vlan", "add", "bridge=br-lan vlan-ids=20 tagged=br-lan,ether9", "input does not match any value of tagged"},
				{"a VLAN out of range", "interface/vlan", "add", "interface=br-lan vlan-id=5000", "value of vlan-id out of range (1..4095)"},
				{"a pvid out of range", "interface/bridge/port", "set", ".id=*0 pvid=9", "no such item"},
				{"a second bridge of that name", "interface/bridge", "add", "name=br-lan", "failure: already have interface with such name"},
				{"a VLAN with a port's name", "interface/vlan", "add", "name=ether1 interface=br-lan vlan-id=7", "failure: already have interface with such name"},
				{"the same network", "ip/dhcp-server/network", "add", "address=10.10.0.0/24", "failure: such network already exists"},
				{"a network with host bits", "ip/dhcp-server/network", "add", "address=10.11.0.1/24", "failure: invalid network"},
				{"the same DHCP server", "ip/dhcp-server", "add", "name=dhcp-pc interface=ether5", "failure: server with such name already exists"},
				{"the same client", "ip/dhcp-server/lease", "add", "address=10.10.0.51 mac-address=AA:BB:CC:00:00:01 server=dhcp-pc", "failure: already have static lease for this client"},
				{"the same leased address", "ip/dhcp-server/lease", "add", "address=10.10.0.50 mac-address=AA:BB:CC:00:00:09 server=dhcp-pc", "failure: already have static lease with this IP address"},
				{"the same address", "ip/address", "add", "address=10.10.0.1/24 interface=vlan10-pc", "failure: already have such address"},
				{"the same pool", "ip/pool", "add", "name=pool-pc ranges=10.9.0.1-10.9.0.2", "failure: item with such name already exists"},
				{"a MAC that is none", "ip/arp", "add", "interface=ether1 mac-address=xyz", "invalid value for argument mac-address"},
				{"an unknown argument", "interface/bridge", "add", "colour=red", "unknown parameter colour"},
				{"a bridge without a name for its port", "interface/bridge/port", "add", "interface=ether3", "missing =bridge="},
				{"an ARP mode that is none", "interface/vlan", "set", ".id=vlan10-pc arp=maybe", "input does not match any value of arp"},
				{"a scheduler's time", "ip/dhcp-server", "set", ".id=dhcp-pc lease-time=0s", "value of lease-time is out of range (00:00:01 .. 7101w3d06:28:15)"},
			})
			if newer := version[:4] == "7.24"; newer {
				r.must(t, "ip/service", "set", "numbers=api", "available-from=10.99.0.2/32")
			} else {
				r.refuses(t, []refused{{"available-from is newer", "ip/service", "set", "numbers=api available-from=10.99.0.2/32", "unknown parameter available-from"}})
				r.must(t, "interface/bridge", "set", ".id=br-lan", "add-dhcp-option82=yes")
			}
		})
	}
}

// Who refers to a row by its name follows a new name, and reads its raw id once it
// is gone (facts.md §1).
func TestReferencesFollowNamesAndShowIDsOfWhatIsGone(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	r := runs(t, s)
	r.must(t, "ip/firewall/filter", "add", "chain=forward", "in-interface=!vlan20-guest", "action=accept", "comment=mine")
	r.must(t, "interface", "set", ".id=vlan20-guest", "name=guests")
	for _, tc := range []struct{ path, which, key, want string }{
		{"interface/vlan", "vlan-id=20", "name", "guests"},
		{"ip/address", "address=10.20.0.1/22", "interface", "guests"},
		{"ip/hotspot", "name=hotspot1", "interface", "guests"},
		{"ip/firewall/filter", "comment=mine", "in-interface", "!guests"},
	} {
		if got := r.row(t, tc.path, tc.which)[tc.key]; got != tc.want {
			t.Errorf("%s: %s is %q, want %q", tc.path, tc.key, got, tc.want)
		}
	}
	id := r.row(t, "interface/vlan", "vlan-id=20")[".id"]
	r.must(t, "interface/vlan", "remove", ".id="+id)
	if got := r.row(t, "ip/address", "address=10.20.0.1/22"); got["interface"] != id || got["invalid"] != "true" {
		t.Errorf("the address of an interface that is gone: got %v, want interface %s, invalid", got, id)
	}
	if rows, _, err := r("interface", "print"); err != nil || slices.ContainsFunc(rows, func(v view) bool { return v["name"] == "guests" }) {
		t.Errorf("/interface still has it: %v, %v", rows, err)
	}
	r.must(t, "interface/bridge", "set", ".id=br-lan", "disabled=yes")
	if got := r.row(t, "interface", "name=br-lan")["disabled"]; got != "true" {
		t.Errorf("disabled in /interface: got %q", got)
	}
	before := r.row(t, "interface", "name=br-lan")[".id"]
	s.PowerCut(0)
	after := r.row(t, "interface", "name=br-lan")[".id"]
	if after == before || after != r.row(t, "interface/bridge", "name=br-lan")[".id"] {
		t.Errorf("after a reboot: id %s in /interface (was %s), %s in /interface/bridge", after, before, r.row(t, "interface/bridge", "name=br-lan")[".id"])
	}
}

func TestRulesAreCheckedAndKeepTheirOrder(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	r := runs(t, s)
	for _, path := range []string{"ip/firewall/filter", "ip/firewall/raw", "ip/firewall/mangle", "ipv6/firewall/filter", "ipv6/firewall/raw"} {
		chain := "chain=prerouting"
		if strings.HasSuffix(path, "filter") {
			chain = "chain=forward"
		}
		a := r.must(t, path, "add", chain, "action=accept", "comment=a")
		r.must(t, path, "add", chain, "action=accept", "comment=b", "place-before="+a)
		c := r.must(t, path, "add", chain, "action=accept", "comment=c")
		r.must(t, path, "move", "numbers="+c, "destination="+a)
		rows, _, err := r(path, "print")
		if err != nil {
			t.Fatal(err)
		}
		var order string
		for _, v := range rows {
			order += v["comment"]
			if v["bytes"] != "0" {
				t.Errorf("%s: no counter of bytes in %v", path, v)
			}
			for _, absent := range []string{"disabled", "log", "log-prefix"} {
				if _, ok := v[absent]; ok {
					t.Errorf("%s: %s is there though never written", path, absent)
				}
			}
		}
		if order != "bca" {
			t.Errorf("%s: order %q, want bca", path, order)
		}
		r.refuses(t, []refused{
			{path + " unknown action", path, "add", chain + " action=shred", "input does not match any value of action"},
			{path + " unknown list of interfaces", path, "add", chain + " in-interface-list=!MANAGEMENT", "input does not match any value of in-interface-list"},
			{path + " unknown interface", path, "add", chain + " in-interface=ether99", "input does not match any value of in-interface"},
			{path + " ports without a protocol", path, "add", chain + " dst-port=80", "failure: ports can be specified if proto is tcp or udp"},
			{path + " a port that is none", path, "add", chain + " protocol=tcp dst-port=80-x", "invalid value for argument dst-port"},
			{path + " before itself", path, "move", "numbers=" + a + " destination=" + a, "failure: can not move object before itself"},
			{path + " before nothing", path, "add", chain + " place-before=*FFFF", "no such item"},
		})
	}
	r.refuses(t, []refused{
		{"a state that is none", "ip/firewall/filter", "add", "chain=input connection-state=old", "input does not match any value of connection-state"},
		{"out of the router, in by an interface", "ip/firewall/filter", "add", "chain=output in-interface=ether1", "failure: incoming interface matching not possible in output and postrouting chains"},
		{"into the router, out by an interface", "ip/firewall/filter", "add", "chain=input out-interface=ether1", "failure: outgoing interface matching not possible in input and prerouting chains"},
		{"fasttrack in raw", "ip/firewall/raw", "add", "chain=prerouting action=fasttrack-connection", "input does not match any value of action"},
	})
}

// A service with TLS and no certificate answers no client of Go's library; a signed
// one is what the client then sees, with the fingerprint the router prints.
func TestACertificateIsMadeSignedAndServed(t *testing.T) {
	s := start(t, nowhere, nowhere, func(c *Config) {
		c.Fresh, c.APISSLListen, c.RESTListen = true, "127.0.0.1:0", "127.0.0.1:0"
	})
	r := runs(t, s)
	shake := func() (*tls.Conn, error) {
		return tls.Dial("tcp", s.APISSLAddr(), &tls.Config{InsecureSkipVerify: true})
	}
	if _, err := shake(); err == nil || !strings.Contains(err.Error(), "handshake failure") {
		t.Fatalf("without a certificate: got %v, want a handshake failure", err)
	}
	r.must(t, "certificate", "add", "name=iwas", "common-name=iwas", "days-valid=3650", "key-usage=key-cert-sign,crl-sign,tls-server")
	if got := r.row(t, "certificate", "name=iwas"); got["private-key"] != "false" || got["fingerprint"] != "" {
		t.Errorf("before it is signed: %v", got)
	}
	r.refuses(t, []refused{
		{"a service with an unknown certificate", "ip/service", "set", "numbers=api-ssl certificate=other", "input does not match any value of certificate"},
		{"an unknown template", "certificate", "sign", "number=other", "no such item"},
		{"a usage that is none", "certificate", "add", "name=x common-name=x key-usage=tls-everything", "input does not match any value of key-usage"},
	})
	r.must(t, "certificate", "sign", "number=iwas")
	r.must(t, "ip/service", "set", "numbers=api-ssl", "certificate=iwas")
	c, err := shake()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	sum := sha256.Sum256(c.ConnectionState().PeerCertificates[0].Raw)
	if got := r.row(t, "certificate", "name=iwas"); got["fingerprint"] != hex.EncodeToString(sum[:]) || got["authority"] != "true" {
		t.Errorf("the certificate served has fingerprint %x, the row %v", sum, got)
	}
	r.must(t, "certificate", "add", "name=leaf", "common-name=router", "key-usage=tls-server", "subject-alt-name=IP:10.99.0.1")
	r.must(t, "certificate", "sign", "number=leaf", "ca=iwas")
	if got := r.row(t, "certificate", "name=leaf"); got["ca"] != "iwas" || got["issuer"] != "CN=iwas" {
		t.Errorf("signed by another: %v", got)
	}
	if rows, _, err := r("certificate", "sign", "number=leaf"); err == nil {
		t.Errorf("signed twice: %v", rows)
	}
}

func TestFilesBackupsAndTheClock(t *testing.T) {
	s := start(t, nowhere, nowhere, nil)
	r := runs(t, s)
	r.must(t, "file", "add", "name=note.txt", "contents=hello")
	if got := r.row(t, "file", "name=note.txt"); got["size"] != "5" || got["contents"] != "hello" {
		t.Errorf("got %v", got)
	}
	if _, _, err := r("file", "set", ".id=note.txt", "contents="+strings.Repeat("x", 70<<10)); err == nil || err.Error() != "failure: contents too long" {
		t.Errorf("70 KiB at once: got %v", err)
	}
	rows, _, err := r("file", "read", "file=note.txt", "offset=1", "chunk-size=3")
	if err != nil || len(rows) != 1 || rows[0]["data"] != "ell" {
		t.Errorf("read: got %v, %v", rows, err)
	}
	r.must(t, "system/identity", "set", "name=before")
	r.must(t, "system/backup", "save", "name=pre-agent", "dont-encrypt=yes")
	if got := r.row(t, "file", "type=backup"); got["name"] != "pre-agent.backup" || got["contents"] != "" {
		t.Errorf("backup: got %v", got)
	}
	r.must(t, "system/identity", "set", "name=after")
	r.must(t, "ip/pool", "add", "name=extra", "ranges=10.8.0.1-10.8.0.9")
	r.refuses(t, []refused{{"a backup that is not there", "system/backup", "load", "name=other", "input does not match any value of name"}})
	r.must(t, "system/backup", "load", "name=pre-agent")
	until(t, "the backup to be in force", func() bool {
		rows, _, err := r("ip/pool", "print")
		return err == nil && len(rows) == 1 && r.row(t, "system/identity")["name"] == "before"
	})
	r.row(t, "file", "name=note.txt") // files survive
	r.must(t, "file", "remove", ".id=note.txt")
	if _, _, err := s.Command("reader", "system/backup", "save", nil, nil); err == nil || err.Error() != "not enough permissions (9)" {
		t.Errorf("a reader saves a backup: got %v", err)
	}

	r.must(t, "system/clock", "set", "time-zone-name=Asia/Bangkok")
	r.must(t, "system/clock", "set", "date=2031-02-03", "time=04:05:06")
	if got := r.row(t, "system/clock"); got["gmt-offset"] != "+07:00" || got["date"] != "2031-02-03" || !strings.HasPrefix(got["time"], "04:05:0") {
		t.Errorf("the clock: got %v, want 04:05:06 in Bangkok", got)
	}
	r.refuses(t, []refused{{"a zone that is none", "system/clock", "set", "time-zone-name=Mars/Olympus", "input does not match any value of time-zone-name"}})
}
