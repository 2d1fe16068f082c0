package routersim

import (
	"strings"
	"testing"
)

func TestQueries(t *testing.T) {
	row := view{".id": "*1", "name": "ether1", "type": "ether", "mtu": "1500", "uptime": "1h5m", "disabled": "false", "comment": ""}
	for _, tc := range []struct {
		query string
		want  bool
	}{
		{"", true},
		{"name", true},
		{"comment", true}, // empty, but there
		{"colour", false},
		{"-colour", true},
		{"-name", false},
		{"name=ether1", true},
		{"=name=ether1", true},
		{"name=ether", false},
		{"colour=", false},
		{"comment=", true},
		{"disabled=no", true}, // written as a client may write it
		{">mtu=1400", true},
		{">mtu=1500", false},
		{"<mtu=9000", true}, // as numbers: as text 9000 would be less than 1500
		{"<uptime=2h", true},
		{">uptime=9m", true},
		{">colour=1", false},
		{"type=ether name=ether2", false},
		{"type=ether #!", false},
		{"type=vlan #!", true},
		{"type=vlan type=ether #|", true},
		{"type=vlan type=ether #&", false},
		{"type=vlan name=ether1 #! type=ether", false},
		{"type=vlan mtu=1500 #!| name=ether1", false}, // (not mtu) or vlan
		{"type=vlan type=ether name=ether1 #&|", true},
		{"name=ether1 type=vlan #1", true},    // the end of the word: only what the index names
		{"type=vlan name=ether1 #0", true},    //
		{"type=vlan name=ether1 #1", false},   //
		{"name=ether1 type=vlan #1&!", true},  // copies name, and type: false; not: true; and name
		{"name=ether1 type=vlan #!1.&", true}, // not type, copy of name, and
		{"name=ether1 #.&", true},             // a copy of the top
		{"name=ether1 #7", false},             // beyond the stack
		{"name=ether1 #|", true},              // one truth too few counts as false
		{"name=ether1 #99999999999999999999", false},
	} {
		if got := match(row, strings.Fields(tc.query)); got != tc.want {
			t.Errorf("query %q: got %v, want %v", tc.query, got, tc.want)
		}
	}
}

func FuzzQuery(f *testing.F) {
	for _, q := range []string{"name=a", "#|", "-x", ">a=1 #!&.0", "#1. #2&"} {
		f.Add(q)
	}
	f.Fuzz(func(t *testing.T, words string) {
		match(view{"name": "a", "mtu": "1"}, strings.Fields(words)) // any answer, no panic
	})
}
