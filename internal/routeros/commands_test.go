package routeros

import (
	"os"
	"slices"
	"strings"
	"testing"
)

// Every command of the table, with every argument, is in the command trees of the
// oldest and the newest RouterOS supported; so no version has to be asked first.
// What is for newer ones only says so.
func TestTheTableIsInBothTrees(t *testing.T) {
	for _, version := range []string{"7.16.2", "7.24"} {
		b, err := os.ReadFile("testdata/commands-" + version + ".txt")
		if err != nil {
			t.Fatal(err)
		}
		tree := map[string][]string{}
		for line := range strings.Lines(string(b)) {
			if name, words, ok := strings.Cut(strings.TrimSpace(line), ":"); ok && !strings.HasPrefix(name, "#") {
				tree["/"+name] = strings.Fields(words)
			}
		}
		all := Commands()
		if len(all) < 100 {
			t.Fatalf("the table has only %d commands", len(all))
		}
		for _, c := range all {
			if c.Since != "" && version == "7.16.2" {
				continue
			}
			if c.Command == "/system/routerboard/print" { // in no tree: those are of routers without one
				continue
			}
			takes, there := tree[c.Command]
			if !there {
				t.Errorf("%s has no %s", version, c.Command)
			}
			for _, a := range c.Args {
				if there && !slices.Contains(takes, a) {
					t.Errorf("%s: %s takes no %s", version, c.Command, a)
				}
			}
		}
	}
}

func TestSendable(t *testing.T) {
	for _, tc := range []struct {
		sentence []string
		ok       bool
	}{
		{[]string{"/system/identity/print", "=.proplist=name", "?name=x"}, true},
		{[]string{"/ip/hotspot/active/remove", "=.id=*1"}, true},
		{[]string{"/radius/add", "=secret=a=b"}, true},
		{[]string{"/system/reset-configuration"}, false},
		{[]string{"/radius/add", "=realm=x"}, false},
		{[]string{"/system/identity/print", "=.id=*1"}, false},
	} {
		if err := Sendable(tc.sentence); (err == nil) != tc.ok {
			t.Errorf("%v: got %v, want ok %v", tc.sentence, err, tc.ok)
		}
	}
}

// REST takes interval for a stream only where it is one.
func TestASchedulerIsNoStream(t *testing.T) {
	if _, err := newRESTCall([]string{"/system/scheduler/add", "=name=x", "=interval=2m"}); err != nil {
		t.Error(err)
	}
	if _, err := newRESTCall([]string{"/ip/hotspot/active/print", "=interval=1s"}); err == nil {
		t.Error("a print with interval never ends over REST, and was let through")
	}
}
