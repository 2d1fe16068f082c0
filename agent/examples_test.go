package main

import (
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"iwas/agent/provision"
)

var writeExamples = flag.Bool("write-examples", false, "write the files of configs/ that the program makes itself")

// serviceUserScript is what configs/routeros shows of `iwas-agent router script`.
func serviceUserScript() string {
	return "# What \"iwas-agent router script --agent-address 192.168.88.10\" prints, for reading beforehand.\n" +
		"# The real one has secrets of its own in it: print that, and paste it into a terminal of\n" +
		"# the router. Kept as it is by a test.\n\n" +
		provision.Script(netip.MustParseAddr("192.168.88.10"), "THE-SERVICE-USERS-PASSWORD", "THE-RADIUS-SECRET")
}

func TestTheScriptForRoutersIsTheProgramsOwn(t *testing.T) {
	file := filepath.Join("..", "configs", "routeros", "service-user.rsc")
	if *writeExamples {
		if err := os.WriteFile(file, []byte(serviceUserScript()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(file)
	if err != nil || string(b) != serviceUserScript() {
		t.Errorf("%s is not what the program prints (%v); write it anew: go test ./agent -run TheScriptForRouters -write-examples", file, err)
	}
}
