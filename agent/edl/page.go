package edl

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

const (
	// ListTag begins the comment of the entries that a fetched list makes.
	ListTag = "IWAS list"
	// longestTimeout is the longest that a router keeps a timed entry, in whole
	// weeks (facts.md §6).
	longestTimeout = 35 * 7 * 24 * time.Hour
	// outlasts is how many intervals an entry lasts that nobody fetches anew.
	outlasts = 3
)

// page is a list as it is given now.
type page struct {
	list       string
	generation int64 // rises with every interval
	interval   time.Duration
	at         time.Time
	entries    []entry
	grants     []hotspot.GrantID
}

type entry struct {
	address netip.Prefix
	timeout time.Duration // that it gets on the router
	comment string
}

// page picks what belongs in a list on a router.
func (s *Server) page(list string, nas hotspot.NASID, all []hotspot.ListEntry) page {
	now := s.Now()
	p := page{list: list, interval: s.Interval, at: now, generation: now.Unix() / max(1, int64(s.Interval/time.Second))}
	at := map[netip.Prefix]int{}
	for _, e := range all {
		if e.List != list || e.NAS != "" && e.NAS != nas {
			continue
		}
		timeout := outlasts * s.Interval // of a session: for as long as it is fetched
		if len(e.Grants) > 0 {
			timeout = min(e.Left, longestTimeout)
			if s.Failing == Expire {
				timeout = min(timeout, outlasts*s.Interval)
			}
		}
		p.grants = append(p.grants, e.Grants...)
		if timeout < time.Second {
			continue // over
		}
		if i, twice := at[e.Address]; twice {
			p.entries[i].timeout = max(p.entries[i].timeout, timeout)
			continue
		}
		at[e.Address] = len(p.entries)
		p.entries = append(p.entries, entry{e.Address, timeout, e.Comment})
	}
	return p
}

// form is a way to write a page.
type form struct {
	mime  string
	write func(page) []byte
	timed bool // it says how long entries last, so it is another one every interval
}

var forms = map[string]*form{
	"txt":  {"text/plain; charset=utf-8", writeText, false},
	"json": {"application/json", writeJSON, true},
	"rsc":  {"text/plain; charset=utf-8", writeScript, true},
}

// listOf reads /edl/LIST.FORM; a nil form is none of ours.
func listOf(path string) (list string, f *form) {
	name, ok := strings.CutPrefix(path, "/edl/")
	dot := strings.LastIndexByte(name, '.')
	if !ok || dot < 0 || hotspot.CheckListName(name[:dot]) != nil {
		return "", nil
	}
	return name[:dot], forms[name[dot+1:]]
}

// tag is the ETag of a page in a form.
func (f *form) tag(p page) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s %v %s\n", p.list, f.timed, f.mime)
	if f.timed {
		fmt.Fprintf(h, "%d\n", p.generation)
	}
	for _, e := range p.entries {
		fmt.Fprintf(h, "%s\n", e.address)
	}
	return `"` + hex.EncodeToString(h.Sum(nil)[:16]) + `"`
}

func writeText(p page) []byte {
	var b bytes.Buffer
	for _, e := range p.entries {
		b.WriteString(hotspot.FormatListAddress(e.address) + "\n")
	}
	return b.Bytes()
}

func writeJSON(p page) []byte {
	type one struct {
		Address  string `json:"address"`
		TimeoutS int64  `json:"timeout_s"`
		Comment  string `json:"comment,omitempty"`
	}
	out := struct {
		List      string    `json:"list"`
		At        time.Time `json:"at"`
		IntervalS int64     `json:"interval_s"`
		Entries   []one     `json:"entries"`
	}{p.list, p.at.UTC(), int64(p.interval / time.Second), []one{}}
	for _, e := range p.entries {
		out.Entries = append(out.Entries, one{hotspot.FormatListAddress(e.address), int64(e.timeout / time.Second), e.comment})
	}
	b, _ := json.Marshal(out) // text and numbers only: it cannot fail
	return append(b, '\n')
}

// writeScript writes commands for /import, one a line, each of which may fail
// alone (facts.md §9). An entry that is there gets its new end; the last line
// takes out what an earlier fetch put in and this one does not name. A file cut
// short has no such line, and takes nothing out.
func writeScript(p page) []byte {
	var b bytes.Buffer
	mark := quote(ListTag + " " + strconv.FormatInt(p.generation, 10))
	fmt.Fprintf(&b, "# address-list %s, %d entries\n", p.list, len(p.entries))
	for _, e := range p.entries {
		menu := "/ip/firewall/address-list"
		if e.address.Addr().Is6() {
			menu = "/ipv6/firewall/address-list"
		}
		address, timeout := hotspot.FormatListAddress(e.address), routeros.FormatDuration(e.timeout.Truncate(time.Second))
		fmt.Fprintf(&b, ":do {:do {%[1]s/add list=%[2]s address=%[3]s timeout=%[4]s comment=%[5]s} on-error={%[1]s/set [find list=%[2]s address=%[3]s comment~\"^%[6]s\"] timeout=%[4]s comment=%[5]s}} on-error={}\n",
			menu, quote(p.list), address, timeout, mark, ListTag)
	}
	for _, menu := range []string{"/ip/firewall/address-list", "/ipv6/firewall/address-list"} {
		fmt.Fprintf(&b, ":do {%s/remove [find list=%s comment~\"^%s\" comment!=%s]} on-error={}\n", menu, quote(p.list), ListTag, mark)
	}
	return b.Bytes()
}

// quote writes a RouterOS string. What is quoted here holds no character that
// would need an escape: names of lists, and our mark.
func quote(s string) string { return `"` + s + `"` }
