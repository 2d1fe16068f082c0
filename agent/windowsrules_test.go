package main

import (
	"slices"
	"strings"
	"testing"
)

func TestTheFirewallOfWindowsLetsInTheRoutersAlone(t *testing.T) {
	cfg := defaultConfig()
	from, ports := cfg.radiusDoor()
	if !slices.Equal(from, []string{"localsubnet"}) || !slices.Equal(ports, []string{"1812", "1813"}) {
		t.Errorf("before any router: got %v, %v", from, ports)
	}
	cfg.NAS = []nasConfig{{ID: "a", Address: "192.168.88.1"}, {ID: "b", Address: "192.168.89.1"}}
	cfg.RADIUS.Auth, cfg.RADIUS.Acct = []string{"0.0.0.0:1812", "[::]:1812"}, []string{"0.0.0.0:1813"}
	from, ports = cfg.radiusDoor()
	want := "add rule name=IWAS agent RADIUS dir=in action=allow protocol=UDP localport=1812,1813 remoteip=192.168.88.1,192.168.89.1 program=C:\\x.exe"
	if got := strings.Join(firewallArgs(`C:\x.exe`, from, ports), " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// The words in packaging/README.md, and in the language of security descriptors.
func TestWhatTheServiceOnWindowsIsGiven(t *testing.T) {
	var pauses []string
	for _, p := range restartPauses {
		pauses = append(pauses, p.String())
	}
	if got := strings.Join(pauses, " "); got != "5s 30s 2m0s" {
		t.Errorf("it is started again after %s", got)
	}
	rule := dataRule("S-1-5-80-1-2-3-4-5")
	dacl, ok := strings.CutPrefix(rule, "D:P") // protected: nothing from above
	if !ok {
		t.Fatalf("%s inherits", rule)
	}
	var who []string
	for entry := range strings.SplitSeq(strings.Trim(dacl, "()"), ")(") {
		f := strings.Split(entry, ";")
		if len(f) != 6 || f[0] != "A" || f[1] != "OICI" {
			t.Fatalf("%s: the entry %s", rule, entry)
		}
		who = append(who, f[2]+" "+f[5])
	}
	if want := []string{"FA SY", "FA BA", "0x1301bf S-1-5-80-1-2-3-4-5"}; !slices.Equal(who, want) {
		t.Errorf("got %v, want %v", who, want)
	}
}
