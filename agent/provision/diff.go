package provision

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"iwas/internal/routeros"
)

// builder makes a plan from what the router's menus hold. It is pure.
type builder struct {
	want    wanted
	rows    map[string][]routeros.Row // by menu, in order
	version string
	plan    Plan
	claimed map[string]bool // menu and comment, or name, of what is wanted
}

func (b *builder) stop(code, text, next string) {
	b.plan.Stops = append(b.plan.Stops, Stop{code, text, next})
}

func (b *builder) note(format string, args ...any) {
	b.plan.Notes = append(b.plan.Notes, fmt.Sprintf(format, args...))
}

// one returns the row with a property, no dynamic one; nil if there is none.
func (b *builder) one(menu, key, value string) routeros.Row {
	for _, r := range b.rows[menu] {
		if r[key] == value && !flag(r["dynamic"]) {
			return r
		}
	}
	return nil
}

// foreign reports whether a row is somebody else's, and not the router's own.
func (b *builder) foreign(r routeros.Row) bool {
	return !flag(r["dynamic"]) && !strings.HasPrefix(r["comment"], tag)
}

// meant returns the row that words find; nil if there is none.
func (b *builder) meant(menu string, find []Word) routeros.Row {
	for _, r := range b.rows[menu] {
		if !flag(r["dynamic"]) && !slices.ContainsFunc(find, func(w Word) bool { return r[w.Key] != w.Value }) {
			return r
		}
	}
	return nil
}

// last returns the newest step if it is of that key.
func (b *builder) last(key string) *Step {
	if n := len(b.plan.Steps); n > 0 && b.plan.Steps[n-1].Key == key {
		return &b.plan.Steps[n-1]
	}
	return nil
}

func (b *builder) claim(i item) {
	if b.claimed == nil {
		b.claimed = map[string]bool{}
	}
	for _, w := range i.tagged() {
		b.claimed[i.menu+" "+w.Value] = true
	}
}

// step adds a change.
func (b *builder) step(i item, do Op, undo ...Op) {
	b.plan.Steps = append(b.plan.Steps, newStep(i, do, undo...))
}

func newStep(i item, do Op, undo ...Op) Step {
	s := Step{Key: i.key, Words: i.words, Command: do.paste(false), Needs: []string{"read", "write"}, Since: i.since, item: i, do: do, undo: undo}
	lines := make([]string, len(undo))
	for n, o := range undo {
		lines[n] = o.paste(false)
	}
	s.Undo = strings.Join(lines, "; ")
	if slices.ContainsFunc(do.Args, func(w Word) bool { return w.Secret }) {
		s.Needs = append(s.Needs, "sensitive")
	}
	return s
}

// row wants a row of ours.
func (b *builder) row(i item) { b.placed(i, nil) }

// placed wants a row of ours; a new one goes before a row.
func (b *builder) placed(i item, before []Word) {
	b.claim(i)
	have := b.meant(i.menu, i.tagged())
	if have == nil {
		if i.menu == "/radius" {
			if have = b.one(i.menu, "comment", oldComment); have != nil {
				i.find = with("comment=" + oldComment)
				i.args = append(i.args, with("comment="+i.comment())...)
				b.change(i, have)
				return
			}
		}
		if why := b.inTheWay(i); why != "" {
			b.stop(CodeInTheWay, why, "It was not made by this program, so it is not touched: remove or rename it, or choose other values in the set-up.")
			return
		}
		add, undo := adding(i, before)
		b.step(i, add, undo)
		return
	}
	b.change(i, have)
}

// adding is how a row of ours is made and unmade.
func adding(i item, before []Word) (do, undo Op) {
	args := slices.DeleteFunc(slices.Clone(i.args), func(w Word) bool { return w.Value == "" })
	if !slices.Contains(named, i.menu) {
		args = append(args, Word{Key: "comment", Value: i.comment()})
	}
	return Op{Menu: i.menu, Verb: "add", Args: args, Before: before}, Op{Menu: i.menu, Verb: "remove", Find: i.tagged()}
}

// change wants a row that is there to be as wanted.
func (b *builder) change(i item, have routeros.Row) {
	args := differences(i, have)
	if len(args) == 0 {
		return
	}
	do := Op{Menu: i.menu, Verb: "set", Find: i.tagged(), Args: args}
	b.step(i, do, undoSet(do, have))
}

// part wants some properties of a row that is there, or will be by an earlier step.
func (b *builder) part(i item) {
	have := b.meant(i.menu, i.tagged())
	if have == nil && i.given {
		b.stop(CodeInTheWay, fmt.Sprintf("%s has no row %s", i.menu, finder(i.find)), "Look at "+i.menu+"/print on the router, and name what is there in the set-up.")
		return
	}
	b.change(i, have)
}

// single wants properties of a menu of one row, or of one row of somebody else's.
func (b *builder) single(i item) {
	if i.given {
		b.part(i)
		return
	}
	var have routeros.Row
	if rows := b.rows[i.menu]; len(rows) > 0 {
		have = rows[0]
	}
	b.change(i, have)
}

// undoSet brings back what a set changes.
func undoSet(do Op, have routeros.Row) Op {
	undo := Op{Menu: do.Menu, Verb: "set", Find: slices.Clone(do.Find)}
	for _, a := range do.Args {
		old := Word{Key: a.Key, Value: folded(do.Menu, a.Key, have), Secret: a.Secret}
		undo.Args = append(undo.Args, old)
		for n, f := range undo.Find { // what it is found by changes: it is found by the new value then
			if f.Key == a.Key {
				undo.Find[n].Value = a.Value
			}
		}
	}
	return undo
}

// differences are the arguments that a row lacks. A key that cannot be read, as a
// secret without the policy for it, is not one.
func differences(i item, have routeros.Row) []Word {
	var out []Word
	for _, a := range i.args {
		if _, told := have[a.Key]; a.Secret && !told && have != nil {
			continue
		}
		if _, told := have[a.Key]; !told && hidden(i.menu, a.Key, have) {
			if written(i.arg("use-radius")) == "yes" { // shown once it is on; nobody knows what it is
				out = append(out, a)
			}
			continue
		}
		if !same(a.Key, folded(i.menu, a.Key, have), a.Value) {
			out = append(out, a)
		}
	}
	if !i.exact {
		return out
	}
	for _, k := range sortedKeys(have) {
		if v := have[k]; v == "" || slices.Contains(notOurs, k) || slices.ContainsFunc(i.args, func(a Word) bool { return a.Key == k }) || same(k, v, standards[k]) {
			continue
		}
		out = append(out, Word{Key: k})
	}
	return out
}

// hidden reports whether a row does not show a property: a HotSpot profile shows
// what is for RADIUS only while it uses it (facts.md §3).
func hidden(menu, key string, have routeros.Row) bool {
	return menu == "/ip/hotspot/profile" && strings.HasPrefix(key, "radius-") && have != nil && written(have["use-radius"]) != "yes"
}

// notOurs are properties of a firewall rule that are no matchers, or not writable.
var notOurs = strings.Fields(".id .nextid about bytes packets comment dynamic invalid log log-prefix disabled creation-time hits hw-offload")

// standards are the values of keys that a row may leave out (facts.md §2, §3).
var standards = map[string]string{
	"disabled": "false", "arp": "enabled", "vlan-filtering": "false", "pvid": "1", "frame-types": "admit-all", "protocol-mode": "rstp", "add-arp": "false",
	"use-radius": "false", "radius-accounting": "true", "radius-interim-update": "received", "nas-port-type": "wireless-802.11", "accept": "false",
	"allow-remote-requests": "false", "disable-ipv6": "false", "shared-users": "1", "keepalive-timeout": "2m", "idle-timeout": "none",
	"require-message-auth": "yes-for-request-resp", "authentication-port": "1812", "accounting-port": "1813", "log": "false",
}

// folded is a property, or its default where the row leaves it out.
func folded(menu, key string, r routeros.Row) string {
	v, told := r[key]
	if (!told || v == "") && standards[key] != "" {
		return standards[key]
	}
	return v
}

// lists are the properties whose order means nothing.
var lists = []string{"login-by", "tagged", "untagged", "vlan-ids", "connection-state", "service"}

// same compares two values of a property as the router means them.
func same(key, a, b string) bool {
	if a = written(a); a == written(b) {
		return true
	}
	b = written(b)
	if slices.Contains(lists, key) {
		x, y := strings.Split(a, ","), strings.Split(b, ",")
		slices.Sort(x)
		slices.Sort(y)
		return slices.Equal(x, y)
	}
	if p, err := routeros.ParseDuration(a); err == nil {
		if q, err := routeros.ParseDuration(b); err == nil {
			return p == q
		}
	}
	return addressOf(a) != "" && addressOf(a) == addressOf(b)
}

// addressOf writes 10.0.0.1/32 and 10.0.0.1 alike; "" for what is no address.
func addressOf(s string) string {
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.String()
	}
	if a, err := netip.ParseAddr(s); err == nil {
		return netip.PrefixFrom(a, a.BitLen()).String()
	}
	return ""
}

// inTheWay says which row of somebody else's keeps an item from being made.
func (b *builder) inTheWay(i item) string {
	if name := i.arg("name"); name != "" {
		menus := []string{i.menu}
		if strings.HasPrefix(i.menu, "/interface/") {
			menus = append(menus, "/interface")
		}
		for _, m := range menus {
			for _, r := range b.rows[m] {
				if b.foreign(r) && r["name"] == name {
					return fmt.Sprintf("%s has %s already", m, name)
				}
			}
		}
	}
	for _, r := range b.rows[i.menu] {
		if !b.foreign(r) || flag(r["disabled"]) {
			continue
		}
		if clash(i, r) {
			return fmt.Sprintf("%s has a row already that leaves no room for ours (%s)", i.menu, shown(r))
		}
	}
	return ""
}

// clash reports whether RouterOS would refuse an item because of a row, or both
// would not work side by side.
func clash(i item, r routeros.Row) bool {
	switch i.menu {
	case "/interface/vlan":
		return r["interface"] == i.arg("interface") && r["vlan-id"] == i.arg("vlan-id")
	case "/interface/bridge/vlan":
		return r["bridge"] == i.arg("bridge") && holdsVLAN(r["vlan-ids"], i.arg("vlan-ids"))
	case "/ip/address", "/ip/dhcp-server/network":
		a, err1 := netip.ParsePrefix(r["address"])
		c, err2 := netip.ParsePrefix(i.arg("address"))
		return err1 == nil && err2 == nil && a.Masked().Overlaps(c.Masked())
	case "/ip/dhcp-server":
		return r["interface"] == i.arg("interface")
	case "/ip/hotspot":
		return r["interface"] == i.arg("interface")
	}
	return false
}

// holdsVLAN reports whether "10,20-22" holds a VLAN.
func holdsVLAN(list, id string) bool {
	n, _ := strconv.Atoi(id) // ours
	for part := range strings.SplitSeq(list, ",") {
		from, to, isRange := strings.Cut(part, "-")
		low, err := strconv.Atoi(from)
		high := low
		if isRange && err == nil {
			high, err = strconv.Atoi(to)
		}
		if err == nil && low <= n && n <= high {
			return true
		}
	}
	return false
}

// shown is a row for people, as far as it tells which one is meant.
func shown(r routeros.Row) string {
	var out []string
	for _, k := range []string{"name", "interface", "address", "bridge", "vlan-ids", "vlan-id", "comment"} {
		if r[k] != "" {
			out = append(out, k+"="+quote(r[k]))
		}
	}
	return strings.Join(out, " ")
}

// ordered wants a row of ours above every row that floor finds.
func (b *builder) ordered(i item, floor func(routeros.Row) bool) {
	all := b.rows[i.menu]
	first := slices.IndexFunc(all, func(r routeros.Row) bool {
		return b.foreign(r) && r["comment"] != oldComment && floor(r)
	})
	var before []Word
	if first >= 0 {
		before = with(".id=" + all[first][".id"])
	}
	b.placed(i, before)
	at := slices.IndexFunc(all, func(r routeros.Row) bool { return r["comment"] == i.comment() || r["comment"] == oldComment })
	if at < 0 || first < 0 || at < first {
		return
	}
	it := i
	it.key, it.words = i.key+".first", "It is asked before any other"
	find := with("comment=" + all[at]["comment"])
	if all[at]["comment"] == oldComment {
		find = with("comment=" + i.comment()) // by then
	}
	b.step(it, Op{Menu: i.menu, Verb: "move", Find: find, Before: before}, Op{Menu: i.menu, Verb: "move", Find: find, Before: follower(all, at, nil)})
}

// follower names the row behind one, as far as a command can: ours by its tag,
// others by id; nil is the end.
func follower(all []routeros.Row, at int, without map[string]bool) []Word {
	for _, r := range all[at+1:] {
		if flag(r["dynamic"]) || without[r[".id"]] {
			continue
		}
		if strings.HasPrefix(r["comment"], tag) {
			return with("comment=" + r["comment"])
		}
		return with(".id=" + r[".id"])
	}
	return nil
}

// block wants rules of ours together, in order, and above what floor finds.
func (b *builder) block(want block) {
	var all []routeros.Row
	for _, r := range b.rows[want.menu] {
		if !flag(r["dynamic"]) {
			all = append(all, r)
		}
	}
	for _, it := range want.rules {
		b.claim(it)
	}
	index := map[string]int{}
	for n, it := range want.rules {
		index[it.comment()] = n
	}
	floor := slices.IndexFunc(all, func(r routeros.Row) bool { return b.foreign(r) && want.floor(r) })
	b.twins(want, all, index)
	var have []int // positions in all of those wanted, in the order there
	seen := map[int]bool{}
	for at, r := range all {
		if n, ours := index[r["comment"]]; ours && !seen[n] {
			have, seen[n] = append(have, at), true
		}
	}
	var anchor []Word // what the block stands before
	switch {
	case floor >= 0:
		anchor = with(".id=" + all[floor][".id"])
	case len(have) > 0:
		anchor = follower(all, have[len(have)-1], nil)
		if len(anchor) > 0 && anchor[0].Key == "comment" {
			anchor = nil
		}
	}
	for _, at := range have {
		b.change(want.rules[index[all[at]["comment"]]], all[at])
	}
	if !inPlace(have, all, index, floor) {
		for n, it := range want.rules {
			at := slices.IndexFunc(have, func(at int) bool { return index[all[at]["comment"]] == n })
			if at < 0 {
				continue
			}
			moved := it
			moved.key, moved.words = it.key+".place", "Back to its place among the rules: "+it.words
			b.step(moved, Op{Menu: want.menu, Verb: "move", Find: it.tagged(), Before: anchor}, Op{Menu: want.menu, Verb: "move", Find: it.tagged(), Before: follower(all, have[at], nil)})
		}
	}
	for n, it := range want.rules {
		if seen[n] {
			continue
		}
		before := anchor
		for m := n + 1; m < len(want.rules); m++ {
			if seen[m] {
				before = want.rules[m].tagged()
				break
			}
		}
		add, undo := adding(it, before)
		b.step(it, add, undo)
	}
}

// inPlace reports whether the rules of ours that are there stand in order,
// together, and above the floor.
func inPlace(have []int, all []routeros.Row, index map[string]int, floor int) bool {
	for k, at := range have {
		if floor >= 0 && at > floor {
			return false
		}
		if k == 0 {
			continue
		}
		if index[all[have[k-1]]["comment"]] > index[all[at]["comment"]] {
			return false
		}
		for _, between := range all[have[k-1]+1 : at] {
			if !strings.HasPrefix(between["comment"], tag) {
				return false
			}
		}
	}
	return true
}

// twins takes away second rows with one of our tags, as a copied rule has.
func (b *builder) twins(want block, all []routeros.Row, index map[string]int) {
	seen := map[string]bool{}
	for at, r := range all {
		c := r["comment"]
		if _, ours := index[c]; ours && seen[c] {
			it := item{key: strings.TrimPrefix(c, tag) + ".twin", menu: want.menu, words: "A second rule of the same tag goes"}
			find := with(".id=" + r[".id"])
			b.step(it, Op{Menu: want.menu, Verb: "remove", Find: find}, again(want.menu, r, follower(all, at, nil)))
		}
		seen[c] = true
	}
}

// again makes a row anew as it was.
func again(menu string, r routeros.Row, before []Word) Op {
	do := Op{Menu: menu, Verb: "add", Before: before}
	for _, k := range sortedKeys(r) {
		if !writable(menu, k) || r[k] == "" {
			continue
		}
		do.Args = append(do.Args, Word{Key: k, Value: r[k], Secret: k == "secret"})
	}
	return do
}

// ours are the properties that rows of ours have, in menus where not every
// property of a row can be written.
var ours = map[string][]string{
	"/ip/hotspot/walled-garden/ip": strings.Fields("action dst-host dst-address protocol dst-port src-address server disabled comment"),
	"/ip/hotspot":                  strings.Fields("name interface address-pool profile addresses-per-mac idle-timeout keepalive-timeout login-timeout disabled"),
	"/ip/hotspot/profile": strings.Fields("name hotspot-address dns-name login-by use-radius radius-accounting radius-interim-update nas-port-type html-directory" +
		" http-cookie-lifetime rate-limit mac-auth-mode split-user-domain"),
	"/radius":                 strings.Fields("service address secret authentication-port accounting-port timeout require-message-auth src-address realm domain called-id accounting-backup protocol disabled comment"),
	"/ip/dhcp-server/network": strings.Fields("address gateway dns-server ntp-server domain comment"),
	"/ip/dhcp-server":         strings.Fields("name interface address-pool lease-time add-arp disabled comment"),
	"/ip/pool":                strings.Fields("name ranges next-pool comment"),
	"/ip/address":             strings.Fields("address interface disabled comment"),
	"/interface/vlan":         strings.Fields("name interface vlan-id arp mtu disabled comment"),
	"/interface/bridge/vlan":  strings.Fields("bridge vlan-ids tagged untagged disabled comment"),
	"/interface/bridge/port":  strings.Fields("bridge interface pvid frame-types disabled comment"),
	"/interface/bridge":       strings.Fields("name protocol-mode vlan-filtering pvid frame-types disabled comment"),
}

func writable(menu, key string) bool {
	if keys, listed := ours[menu]; listed {
		return slices.Contains(keys, key)
	}
	return key == "comment" || key == "disabled" || !slices.Contains(notOurs, key)
}

// ourMenus are the menus that may hold rows of ours, in the order in which those
// not wanted any more are taken away: what depends on others first.
var ourMenus = []string{"/ip/hotspot/walled-garden/ip", "/ip/hotspot", "/ip/hotspot/profile", "/radius", "/ipv6/firewall/filter", "/ip/firewall/nat", "/ip/firewall/filter",
	"/ip/dhcp-server/network", "/ip/dhcp-server", "/ip/pool", "/ip/address", "/interface/vlan", "/interface/bridge/vlan", "/interface/bridge/port", "/interface/bridge"}

// stale takes away rows of ours that are not wanted any more.
func (b *builder) stale() {
	for _, menu := range ourMenus {
		all := slices.DeleteFunc(slices.Clone(b.rows[menu]), func(r routeros.Row) bool { return flag(r["dynamic"]) })
		gone := map[string]bool{}
		for _, r := range all {
			if b.staleRow(menu, r) {
				gone[r[".id"]] = true
			}
		}
		for at, r := range slices.Backward(all) { // so that each comes back before one that is back already
			if !gone[r[".id"]] {
				continue
			}
			find, key := with("comment="+r["comment"]), strings.TrimPrefix(r["comment"], tag)
			if slices.Contains(named, menu) {
				find, key = with("name="+r["name"]), r["name"]
			}
			it := item{key: key + ".gone", menu: menu, words: "Not wanted any more: " + shown(r)}
			// What comes back last stood last: its follower is there by then.
			undo := again(menu, r, follower(all, at, goneBefore(all, at, gone)))
			b.step(it, Op{Menu: menu, Verb: "remove", Find: find}, Op{Menu: menu, Verb: "remove", Find: find}, undo)
		}
	}
}

// goneBefore are the rows that are not back yet when the one at a place comes
// back: steps are undone from the last to the first, and the last took the first row.
func goneBefore(all []routeros.Row, at int, gone map[string]bool) map[string]bool {
	out := map[string]bool{}
	for _, r := range all[at+1:] {
		if gone[r[".id"]] {
			out[r[".id"]] = true
		}
	}
	return out
}

func (b *builder) staleRow(menu string, r routeros.Row) bool {
	if slices.Contains(named, menu) {
		return strings.HasPrefix(r["name"], "iwas-") && !b.claimed[menu+" "+r["name"]]
	}
	return strings.HasPrefix(r["comment"], tag) && !b.claimed[menu+" "+r["comment"]]
}

// sorted keys of a row.
func sortedKeys(r routeros.Row) []string {
	out := make([]string, 0, len(r))
	for k := range r {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
