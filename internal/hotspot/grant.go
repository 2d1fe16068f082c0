package hotspot

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// GrantID names a grant, wherever it was made.
type GrantID string

// Grant is an address that belongs in a firewall address-list of the site's
// routers until a time.
type Grant struct {
	ID      GrantID
	List    string
	Address netip.Prefix  // masked; one host is all bits
	Until   time.Time     // zero: made while the site's date was not trusted, see Left
	Left    time.Duration // what was left when it was made; used while Until is zero
	Comment string
	By      string // who asked
	MadeAt  time.Time
}

// GrantState is what became of a grant at its site.
type GrantState string

const (
	// GrantWaiting: no router is known to have it.
	GrantWaiting GrantState = ""
	// GrantInList: read back from every router of the site that has an API.
	GrantInList GrantState = "in_list"
	// GrantForeign: in the list, but on some router by an entry that somebody else
	// made, which stays when the grant ends.
	GrantForeign GrantState = "foreign"
	// GrantServed: a router without an API has fetched the list that names it.
	GrantServed GrantState = "served"
)

// LongestGrant is the longest that a grant may last.
const LongestGrant = 366 * 24 * time.Hour

// SettledGrant says what became of a grant.
type SettledGrant struct {
	ID    GrantID
	State GrantState
}

// GrantStatus is a grant as the cloud knows it.
type GrantStatus struct {
	Grant
	Site    SiteID
	OnSite  bool       // made there
	State   GrantState // as the site said last
	StateAt time.Time  // by the cloud's clock
	AtSite  bool       // the site holds it
	EndedAt time.Time  // removed, or over; zero: neither
	EndedBy string     // "" is over
}

// Over reports whether a grant is no longer in force.
func (g GrantStatus) Over(now time.Time) bool {
	return !g.EndedAt.IsZero() || !g.Until.IsZero() && !now.Before(g.Until)
}

// ListEntry is what an address-list should hold.
type ListEntry struct {
	List    string
	Address netip.Prefix
	Left    time.Duration // from when it was read; 0: for as long as it is wanted, in a session
	Grants  []GrantID     // that want it; none: only a session does
	Account AccountID     // of the session that wants it
	MAC     MAC           // whose IPv6 addresses belong in the list too; zero: nobody's
	NAS     NASID         // of the session: wanted on that router alone; "": on every one
	Comment string
}

// WantedLists is all that the address-lists should hold, read at one moment.
type WantedLists struct {
	Entries []ListEntry
	// Names are the lists that entries of ours may stand in: those of Entries, and
	// those of before.
	Names []string
}

// CheckListName says what is wrong with the name of an address-list.
func CheckListName(name string) error {
	if name == "" || len(name) > addressListLength || strings.ContainsFunc(name, func(r rune) bool { return !inListName(r) }) {
		return fmt.Errorf("%q is not the name of an address-list: letters, digits, dot, dash and underscore, at most %d", name, addressListLength)
	}
	return nil
}

// ParseListAddress reads an IPv4 or IPv6 address or network. Bits below the
// network's length are cleared.
func ParseListAddress(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		a = a.Unmap()
		return checkListAddress(netip.PrefixFrom(a, a.BitLen()))
	}
	p, err := netip.ParsePrefix(text)
	if err != nil || p.Addr().Is4In6() {
		return netip.Prefix{}, fmt.Errorf("%.60q is not an address or a network such as 203.0.113.7, 203.0.113.0/24 or 2001:db8::/64", text)
	}
	return checkListAddress(p.Masked())
}

// checkListAddress refuses what would be everybody: a slip of the hand there
// opens, or shuts, the whole cafe.
func checkListAddress(p netip.Prefix) (netip.Prefix, error) {
	if p.Bits() == 0 {
		return p, errors.New("a network of every address belongs in no list; write the rule without one")
	}
	return p, nil
}

// FormatListAddress writes an address as RouterOS reads it back: an IPv4 host
// without its length, an IPv6 host with it.
func FormatListAddress(p netip.Prefix) string {
	if p.Addr().Is4() && p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
