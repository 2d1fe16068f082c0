package hotspot

import "testing"

func TestListAddresses(t *testing.T) {
	for _, tc := range []struct{ text, want string }{
		{"203.0.113.7", "203.0.113.7"},
		{" 203.0.113.7/32 ", "203.0.113.7"},
		{"203.0.113.7/24", "203.0.113.0/24"},
		{"2001:DB8::7", "2001:db8::7/128"},
		{"2001:db8:0:0::/64", "2001:db8::/64"},
		{"::ffff:203.0.113.7", "203.0.113.7"},
		{"0.0.0.0/0", ""}, {"::/0", ""}, {"fe80::1%eth0", ""}, {"203.0.113.256", ""}, {"cafe.example.com", ""},
		{"203.0.113.1-203.0.113.9", ""}, {"", ""}, {"::ffff:203.0.113.7/120", ""}, {"203.0.113.7/33", ""},
	} {
		p, err := ParseListAddress(tc.text)
		if got := FormatListAddress(p); tc.want == "" && err == nil || tc.want != "" && (err != nil || got != tc.want) {
			t.Errorf("%q: got %q, %v, want %q", tc.text, got, err, tc.want)
		}
	}
}

func TestListNames(t *testing.T) {
	for name, ok := range map[string]bool{"staff": true, "A.b-c_9": true, "": false, "a b": false, "a\"b": false, "a\nb": false, "a;b": false} {
		if err := CheckListName(name); (err == nil) != ok {
			t.Errorf("%q: got %v, want allowed %v", name, err, ok)
		}
	}
}
