package router

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/routeros"
)

// System is /system/resource. What RouterOS did not tell is 0.
type System struct {
	Reading
	CPULoad                 int // percent of all cores
	MemoryFree, MemoryTotal hotspot.Octets
	DiskFree, DiskTotal     hotspot.Octets
	BadBlocks               float64 // percent of the flash
	Uptime                  time.Duration
	Restarts                int       // seen by this program: the uptime fell
	RestartedAt             time.Time // when the newest of them was over, by our clock
}

// MemoryUsed is in percent; 0 where it is not known.
func (s System) MemoryUsed() int { return used(s.MemoryFree, s.MemoryTotal) }

// DiskUsed is in percent; 0 where it is not known.
func (s System) DiskUsed() int { return used(s.DiskFree, s.DiskTotal) }

func used(free, total hotspot.Octets) int {
	if total <= 0 || free > total {
		return 0
	}
	return int(100 - free*100/total)
}

// takeSystem also begins the point of the history that its round is.
func takeSystem(v *Vitals, now time.Time, answers [][]routeros.Row) error {
	if len(answers[0]) != 1 {
		return fmt.Errorf("%d rows for one", len(answers[0]))
	}
	r := answers[0][0]
	uptime, err := routeros.ParseDuration(r["uptime"])
	if err != nil {
		return err
	}
	s := &v.System
	if uptime < s.Uptime {
		s.Restarts++
		s.RestartedAt = now.Add(-uptime)
	}
	s.Uptime, s.CPULoad = uptime, int(decimal(r["cpu-load"]))
	s.MemoryFree, s.MemoryTotal = octets(r["free-memory"]), octets(r["total-memory"])
	s.DiskFree, s.DiskTotal = octets(r["free-hdd-space"]), octets(r["total-hdd-space"])
	s.BadBlocks = decimal(r["bad-blocks"])
	v.sample(now)
	return nil
}

// decimal reads "3" or "3%" or "23.8"; odd or absent is 0.
func decimal(s string) float64 {
	n, _ := strconv.ParseFloat(strings.TrimSuffix(s, "%"), 64)
	return n
}

// Sample is one point of the history.
type Sample struct {
	At           time.Time
	CPULoad      int // percent
	MemoryUsed   int // percent
	Celsius      float64
	CelsiusKnown bool
	Down, Up     hotspot.Rate // of the way to the internet, as guests see it
	RateKnown    bool
	WANUp        bool
	WANKnown     bool
}

// sample begins a new point of the history.
func (v *Vitals) sample(now time.Time) {
	keep := v.History[max(0, len(v.History)+1-samplesKept):]
	v.History = append(slices.Clone(keep), v.point(now))
}

// complete brings what was read since into the newest point: the menus of one
// round are read one after the other.
func (v *Vitals) complete() {
	n := len(v.History) - 1
	if n < 0 {
		return
	}
	h := slices.Clone(v.History)
	h[n] = v.point(h[n].At)
	v.History = h
}

func (v *Vitals) point(at time.Time) Sample {
	p := Sample{At: at, CPULoad: v.System.CPULoad, MemoryUsed: v.System.MemoryUsed(), WANUp: v.WAN.Up, WANKnown: v.WAN.current()}
	if hot, ok := v.Sensors.Hottest(); ok && v.Sensors.current() {
		p.Celsius, p.CelsiusKnown = hot.Value, true
	}
	if v.Traffic.current() {
		p.Down, p.Up, p.RateKnown = v.Traffic.WAN()
	}
	return p
}

// current reports whether the last try went well.
func (r Reading) current() bool { return !r.At.IsZero() && r.Err == "" }

// WAN is the way to the internet: an active default route of the main table.
type WAN struct {
	Reading
	Up      bool
	Gateway string   // of the active one, as RouterOS writes it
	Links   []string // interfaces that default routes lead out of, the active first
}

func takeWAN(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	w := WAN{Reading: v.WAN.Reading}
	rows := slices.Clone(answers[0])
	slices.SortStableFunc(rows, func(a, b routeros.Row) int { return cmp.Compare(b["active"], a["active"]) }) // "true" first
	for _, r := range rows {
		if flag(r["disabled"]) || r["routing-table"] != "" && r["routing-table"] != "main" {
			continue
		}
		if flag(r["active"]) && !w.Up {
			w.Up, w.Gateway = true, cmp.Or(r["gateway"], r["immediate-gw"])
		}
		for _, link := range leadsOut(cmp.Or(r["immediate-gw"], r["gateway"])) {
			if !slices.Contains(w.Links, link) {
				w.Links = append(w.Links, link)
			}
		}
	}
	if len(w.Links) == 0 { // no route names one: traffic is told of where it went before
		w.Links = v.WAN.Links
	}
	v.WAN = w
	return nil
}

// HotSpot is whether guests meet one. Its reading is of device-mode; the servers
// come with the pools.
type HotSpot struct {
	Reading
	Mode    string   // "": this RouterOS has none
	Locked  bool     // device-mode keeps the HotSpot from running
	Servers []string // enabled and valid, by name
	Idle    []string // disabled, or without their interface
}

func takeDeviceMode(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	v.HotSpot.Mode, v.HotSpot.Locked = "", false
	if mode := answers[0]; len(mode) == 1 {
		allowed, told := mode[0]["hotspot"]
		v.HotSpot.Mode, v.HotSpot.Locked = mode[0]["mode"], told && !flag(allowed)
	}
	return nil
}

// takeServers reads which HotSpot servers are in force.
func takeServers(v *Vitals, rows []routeros.Row) {
	v.HotSpot.Servers, v.HotSpot.Idle = nil, nil
	for _, r := range rows {
		if flag(r["disabled"]) || flag(r["invalid"]) {
			v.HotSpot.Idle = append(v.HotSpot.Idle, r["name"])
			continue
		}
		v.HotSpot.Servers = append(v.HotSpot.Servers, r["name"])
	}
}

// leadsOut reads the interfaces of a gateway: "192.0.2.1%ether1", "pppoe-out1",
// several of them separated by commas. A bare address names none.
func leadsOut(gateways string) (out []string) {
	for g := range strings.SplitSeq(gateways, ",") {
		addr, link, has := strings.Cut(g, "%")
		if _, err := netip.ParseAddr(addr); err != nil && !has {
			link = g
		}
		if link != "" {
			out = append(out, link)
		}
	}
	return out
}

// Traffic is what goes over the interfaces that matter: to the internet, and to
// the guests.
type Traffic struct {
	Reading
	Interfaces []Interface
}

// Interface is one of them. Rates are the mean since the reading before.
type Interface struct {
	Name           string
	Guests         bool // a HotSpot server's; otherwise to the internet
	Running        bool
	Rx, Tx         hotspot.Octets // received and sent by the router since it started
	RxRate, TxRate hotspot.Rate
	RateKnown      bool // there are two readings, with no restart in between
}

// WAN sums up the interfaces to the internet; down is what comes from there.
func (t Traffic) WAN() (down, up hotspot.Rate, known bool) {
	for _, i := range t.Interfaces {
		if !i.Guests && i.RateKnown {
			down, up, known = down+i.RxRate, up+i.TxRate, true
		}
	}
	return down, up, known
}

func takeTraffic(v *Vitals, now time.Time, answers [][]routeros.Row) error {
	before, passed := v.Traffic, now.Sub(v.Traffic.At)
	v.Traffic.Interfaces = nil
	for _, r := range answers[0] {
		guests := slices.Contains(v.Pools.Links, r["name"])
		if !guests && !slices.Contains(v.WAN.Links, r["name"]) {
			continue
		}
		i := Interface{Name: r["name"], Guests: guests, Running: flag(r["running"]) && !flag(r["disabled"]), Rx: octets(r["rx-byte"]), Tx: octets(r["tx-byte"])}
		at := slices.IndexFunc(before.Interfaces, func(o Interface) bool { return o.Name == i.Name })
		if at >= 0 && r["rx-byte"] != "" && passed > 0 && v.System.RestartedAt.Before(before.At) {
			old := before.Interfaces[at]
			if i.Rx >= old.Rx && i.Tx >= old.Tx { // else the counters were reset
				i.RxRate, i.TxRate, i.RateKnown = perSecond(i.Rx-old.Rx, passed), perSecond(i.Tx-old.Tx, passed), true
			}
		}
		v.Traffic.Interfaces = append(v.Traffic.Interfaces, i)
	}
	return nil
}

// perSecond is in bits a second.
func perSecond(n hotspot.Octets, in time.Duration) hotspot.Rate {
	return hotspot.Rate(float64(n) * 8 / in.Seconds())
}

// Pools are the address pools in use.
type Pools struct {
	Reading
	List  []Pool
	Links []string // interfaces of HotSpot servers

	Guests    []Range      // what guests may have: networks of those interfaces, and pools
	Addresses []netip.Addr // of the router itself
}

// Range is the addresses from one to another, both included.
type Range struct{ From, To netip.Addr }

// Pool is the addresses that some server gives out, those of the pools it goes
// on to (next-pool) included.
type Pool struct {
	Name       string
	Size, Used int
	Guests     bool // of a HotSpot server, or of DHCP on its interface
}

// Percent is how full it is.
func (p Pool) Percent() int {
	if p.Size == 0 {
		return 0
	}
	return p.Used * 100 / p.Size
}

func takePools(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	takeServers(v, answers[2])
	given := map[string]int{}
	for _, r := range answers[1] {
		given[r["pool"]]++
	}
	pools := map[string]routeros.Row{}
	for _, r := range answers[0] {
		pools[r["name"]] = r
	}
	out := Pools{Reading: v.Pools.Reading}
	for _, r := range enabled(answers[2]) {
		out.Links = append(out.Links, r["interface"])
	}
	for i, r := range slices.Concat(enabled(answers[2]), enabled(answers[3])) {
		guests := i < len(out.Links) || slices.Contains(out.Links, r["interface"])
		name := r["address-pool"]
		if at := slices.IndexFunc(out.List, func(p Pool) bool { return p.Name == name }); at >= 0 {
			out.List[at].Guests = out.List[at].Guests || guests
			continue
		}
		if _, there := pools[name]; !there { // "none", "static-only"
			continue
		}
		p := Pool{Name: name, Guests: guests}
		for _, next := range chain(pools, name) {
			p.Size, p.Used = p.Size+sizeOf(pools[next]["ranges"]), p.Used+given[next]
		}
		out.List = append(out.List, p)
	}
	for _, p := range out.List {
		for _, name := range chain(pools, p.Name) {
			if p.Guests {
				out.Guests = append(out.Guests, rangesOf(pools[name]["ranges"])...)
			}
		}
	}
	for _, r := range enabled(answers[4]) {
		p, err := netip.ParsePrefix(r["address"])
		if err != nil {
			continue
		}
		out.Addresses = append(out.Addresses, p.Addr())
		if slices.Contains(out.Links, r["interface"]) || slices.Contains(out.Links, r["actual-interface"]) {
			out.Guests = append(out.Guests, Range{p.Masked().Addr(), lastOf(p)})
		}
	}
	v.Pools = out
	return nil
}

// chain is a pool and those it goes on to.
func chain(pools map[string]routeros.Row, name string) (out []string) {
	for pools[name] != nil && !slices.Contains(out, name) {
		out = append(out, name)
		name = pools[name]["next-pool"]
	}
	return out
}

// rangesOf reads "10.0.0.2-10.0.0.9,10.0.1.0/24".
func rangesOf(ranges string) (out []Range) {
	for part := range strings.SplitSeq(ranges, ",") {
		if s, ok := parseSpan(strings.TrimSpace(part)); ok {
			out = append(out, Range{s.from, s.to})
		}
	}
	return out
}

const sizeMost = 1 << 24 // of a pool: more is a misread range

// sizeOf counts the addresses of "10.0.0.2-10.0.0.9,10.0.1.0/24"; IPv4 only.
func sizeOf(ranges string) int {
	n := 0
	for part := range strings.SplitSeq(ranges, ",") {
		s, ok := parseSpan(strings.TrimSpace(part))
		if !ok || !s.from.Is4() {
			continue
		}
		from, to := s.from.As4(), s.to.As4()
		n += int(binary.BigEndian.Uint32(to[:])-binary.BigEndian.Uint32(from[:])) + 1
	}
	return min(n, sizeMost)
}

// Leases are those of DHCP.
type Leases struct {
	Reading
	Bound, Total int
}

func takeLeases(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	v.Leases.Bound, v.Leases.Total = 0, len(answers[0])
	for _, r := range answers[0] {
		if r["status"] == "bound" && !flag(r["disabled"]) {
			v.Leases.Bound++
		}
	}
	return nil
}

// Queues are the HotSpot's own, by the guest's address.
type Queues struct {
	Reading
	List map[netip.Addr]Queue
}

// Queue is one of them, in bits a second, upload first.
type Queue struct {
	Limit hotspot.Pair[hotspot.Rate] // max-limit; 0 is none
	Now   hotspot.Pair[hotspot.Rate] // that goes through it
}

// takeQueues keeps those called <hotspot-USER>: the server's own, hs-<SERVER>,
// is of an interface and limits nobody (facts.md §3).
func takeQueues(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	v.Queues.List = map[netip.Addr]Queue{}
	for _, r := range answers[0] {
		q := parseQueue(r)
		if q.dynamic && q.target.IsValid() && strings.HasPrefix(r["name"], "<hotspot-") {
			v.Queues.List[q.target] = Queue{Limit: q.rate.Max, Now: pair(r["rate"])}
		}
	}
	return nil
}

// Devices are those the HotSpot sees, and those whose cookies it keeps, by MAC.
type Devices struct {
	Reading
	List map[hotspot.MAC]Device
}

// Device is what the HotSpot knows of one.
type Device struct {
	Seen                 bool // has a row of /ip/hotspot/host
	Authorized, Bypassed bool
	Address              netip.Addr    // after translation
	Idle                 time.Duration // since it was last heard, when this was read
	Cookies              []Cookie
}

// Cookie lets a device in again without anybody typing, if RADIUS agrees.
type Cookie struct {
	User  string
	ByMAC bool // the router's own; else one that a browser shows
	Until time.Time
}

func takeDevices(v *Vitals, now time.Time, answers [][]routeros.Row) error {
	list := map[hotspot.MAC]Device{}
	for _, r := range answers[0] {
		h := parseHost(r)
		d := Device{Seen: true, Authorized: h.authorized, Bypassed: h.bypassed, Address: h.to}
		if !d.Address.IsValid() {
			d.Address = h.address
		}
		d.Idle, _ = routeros.ParseDuration(r["idle-time"])       // absent or odd: not idle
		if had := list[h.mac]; !had.Authorized || d.Authorized { // one MAC may have several addresses (facts.md §3)
			list[h.mac] = d
		}
	}
	for _, r := range answers[1] {
		c := parseCookie(r)
		left, err := routeros.ParseDuration(r["expires-in"])
		if err != nil {
			continue // it says nothing of its end
		}
		d := list[c.mac]
		d.Cookies = append(d.Cookies, Cookie{User: c.user, ByMAC: flag(r["mac-cookie"]), Until: now.Add(left)})
		list[c.mac] = d
	}
	v.Devices.List = list
	return nil
}

// Board is /system/routerboard.
type Board struct {
	Reading
	RouterBOARD             bool // MikroTik's own hardware
	Model, Serial, Firmware string
	Upgrade                 string // firmware that a restart would bring; "" is the same
}

func takeBoard(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	b := Board{Reading: v.Board.Reading}
	if len(answers[0]) > 0 {
		r := answers[0][0]
		b.RouterBOARD = flag(r["routerboard"])
		b.Model, b.Serial, b.Firmware = r["model"], r["serial-number"], r["current-firmware"]
		if r["upgrade-firmware"] != b.Firmware {
			b.Upgrade = r["upgrade-firmware"]
		}
	}
	v.Board = b
	return nil
}
