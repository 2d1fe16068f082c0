package routersim

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// lists are the menus of address-lists.
var lists = []string{"ip/firewall/address-list", "ipv6/firewall/address-list"}

// finishEntry completes an entry of an address-list, and refuses a second one of
// the same list and address. A disabled one may be a second (facts.md §6).
func (s *Sim) finishEntry(m *menu, r *row) error {
	address, err := listAddress(r.get("address"), m.path == lists[0])
	if err != nil {
		return err
	}
	r.props["address"] = address
	if r.get("creation-time") == "" {
		r.props["creation-time"] = s.stamp(time.Now())
	}
	if text, ok := r.props["timeout"]; ok {
		delete(r.props, "timeout")  // a read shows what is left of it
		d, _ := parseDuration(text) // checked as a value
		r.until = time.Time{}
		r.props["dynamic"] = "false"
		if d > 0 {
			r.until = time.Now().Add(d)
		}
	}
	r.dynamic = !r.until.IsZero() || r.is("dynamic") // lasts until reboot
	if r.is("disabled") {
		return nil
	}
	if slices.ContainsFunc(m.rows, func(o *row) bool {
		return o.get("address") == address && o.id != r.id && o.get("list") == r.get("list") && !o.is("disabled")
	}) {
		return trapf(4, "failure: already have such entry")
	}
	return nil
}

// listAddress writes an address, a prefix, a range or a DNS name as a read shows
// it: an IPv4 host without its length, an IPv6 host with it.
func listAddress(text string, v4 bool) (string, error) {
	bad := trapf(1, "invalid value for argument address")
	p, err := netip.ParsePrefix(text)
	if a, aerr := netip.ParseAddr(text); aerr == nil {
		p, err = netip.PrefixFrom(a, a.BitLen()), nil
	}
	switch {
	case err == nil && p.Addr().Is4() != v4:
		return "", bad
	case err == nil && v4 && p.IsSingleIP():
		return p.Addr().String(), nil
	case err == nil:
		return p.Masked().String(), nil
	case isAddress(text):
		return text, nil // a range
	case isName(text):
		return text, nil
	}
	return "", bad
}

// isName reports whether a text may be a DNS name: letters somewhere, and none
// but those of host names.
func isName(text string) bool {
	letters := false
	for _, c := range text {
		switch {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letters = true
		case c >= '0' && c <= '9' || strings.ContainsRune("-._", c):
		default:
			return false
		}
	}
	return letters && len(text) < 254
}

// expireLists drops timed entries that are over.
func (s *Sim) expireLists(now time.Time) {
	for _, path := range lists {
		m := s.menus[path]
		m.rows = slices.DeleteFunc(m.rows, func(r *row) bool { return !r.until.IsZero() && now.After(r.until) })
	}
}
