package wire

import "testing"

func TestCheckNumberDependsOnKeyAndAgent(t *testing.T) {
	a := CheckNumber([]byte("key"), "agent0001")
	if a != CheckNumber([]byte("key"), "agent0001") || len(a) != 6 {
		t.Errorf("got %q, want six digits, the same each time", a)
	}
	if a == CheckNumber([]byte("other key"), "agent0001") || a == CheckNumber([]byte("key"), "agent0002") {
		t.Errorf("got %q for another key or another agent", a)
	}
}
