package statuspage

import (
	"cmp"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Health is how a router does. Each reading has its own age and its own failure;
// figures of a reading without a time mean nothing.
type Health struct {
	System   System         `json:"system"`
	Sensors  Sensors        `json:"sensors"`
	Board    Board          `json:"board"`
	WAN      WAN            `json:"wan"`
	HotSpot  HotSpot        `json:"hotspot"`
	Traffic  Traffic        `json:"traffic"`
	Pools    Pools          `json:"pools"`
	Leases   Leases         `json:"leases"`
	Queues   Reading        `json:"queues"`  // themselves are at the sessions
	Devices  Reading        `json:"devices"` // hosts and cookies; themselves are at the sessions
	Log      Log            `json:"log"`
	History  []HealthSample `json:"history"` // of the last hour, the oldest first
	Restarts int            `json:"restarts"`
}

// Reading is how one menu of the router was read last.
type Reading struct {
	Menu    string    `json:"menu"`
	At      time.Time `json:"at,omitzero"`      // of the newest answer
	Absent  bool      `json:"absent,omitempty"` // this router does not have it
	Problem string    `json:"problem,omitempty"`
	Code    string    `json:"code,omitempty"`
	Next    string    `json:"next,omitempty"`
}

// System is the router's own load.
type System struct {
	Reading
	CPULoad     int            `json:"cpu_load_percent"`
	MemoryFree  hotspot.Octets `json:"memory_free_bytes"`
	MemoryTotal hotspot.Octets `json:"memory_total_bytes"`
	DiskFree    hotspot.Octets `json:"disk_free_bytes"`
	DiskTotal   hotspot.Octets `json:"disk_total_bytes"`
	BadBlocks   float64        `json:"bad_blocks_percent"`
	Uptime      time.Duration  `json:"uptime_ns"`
	RestartedAt time.Time      `json:"restarted_at,omitzero"` // newest restart seen by this program
}

func (s System) memoryUsed() int {
	if s.MemoryTotal <= 0 || s.MemoryFree > s.MemoryTotal {
		return 0
	}
	return int(100 - s.MemoryFree*100/s.MemoryTotal)
}

// Sensors are those of the hardware; cloud routers have none.
type Sensors struct {
	Reading
	List []Sensor `json:"list"`
}

// Sensor is one of them.
type Sensor struct {
	Name  string  `json:"name"`
	Unit  string  `json:"unit,omitempty"` // C, V, A, W, RPM; "": State says it
	Value float64 `json:"value"`
	State string  `json:"state,omitempty"`
	Hot   bool    `json:"hot,omitempty"` // a temperature that harms
}

// Board is the hardware.
type Board struct {
	Reading
	Model    string `json:"model,omitempty"`
	Serial   string `json:"serial,omitempty"`
	Firmware string `json:"firmware,omitempty"`
	Upgrade  string `json:"upgrade_firmware,omitempty"` // that a restart would bring
}

// WAN is the way to the internet.
type WAN struct {
	Reading
	Up      bool   `json:"up"`
	Gateway string `json:"gateway,omitempty"`
}

// HotSpot is whether guests meet one on the router. Its reading is of device-mode;
// the servers are read with the pools.
type HotSpot struct {
	Reading
	Servers []string `json:"servers"`               // in force, by name
	Idle    []string `json:"idle,omitempty"`        // disabled, or without their interface
	Mode    string   `json:"device_mode,omitempty"` // "": this RouterOS has none
	Locked  bool     `json:"locked"`                // device-mode keeps the HotSpot from running
}

// Traffic is the mean since the reading before, in bits a second; down is to the
// guests.
type Traffic struct {
	Reading
	Down       hotspot.Rate `json:"down_bps"`
	Up         hotspot.Rate `json:"up_bps"`
	Known      bool         `json:"known"` // there are two readings
	Interfaces []Interface  `json:"interfaces"`
}

// Interface is one that leads to the internet or to guests; it receives and sends
// as the router sees it.
type Interface struct {
	Name    string         `json:"name"`
	Guests  bool           `json:"guests"`
	Running bool           `json:"running"`
	Rx      hotspot.Octets `json:"rx_bytes"`
	Tx      hotspot.Octets `json:"tx_bytes"`
	RxRate  hotspot.Rate   `json:"rx_bps"`
	TxRate  hotspot.Rate   `json:"tx_bps"`
}

// Pools are the addresses given out.
type Pools struct {
	Reading
	List []Pool `json:"list"`
}

// Pool is one of them.
type Pool struct {
	Name   string `json:"name"`
	Size   int    `json:"size"`
	Used   int    `json:"used"`
	Guests bool   `json:"guests"`
}

func (p Pool) percent() int {
	if p.Size == 0 {
		return 0
	}
	return p.Used * 100 / p.Size
}

// Leases are those of DHCP.
type Leases struct {
	Reading
	Bound int `json:"bound"`
	Total int `json:"total"`
}

// Log is what the router's log said of guests and of trouble.
type Log struct {
	Reading
	Lines []LogLine `json:"lines"` // the newest first
}

// LogLine is one line of it, without secrets.
type LogLine struct {
	Time   string `json:"time"` // by the router's clock, as it writes it
	Topics string `json:"topics"`
	Text   string `json:"text"`
}

// HealthSample is one point of the history.
type HealthSample struct {
	At         time.Time    `json:"at"`
	CPULoad    int          `json:"cpu_load_percent"`
	MemoryUsed int          `json:"memory_used_percent"`
	Celsius    *float64     `json:"celsius,omitempty"`
	Down       hotspot.Rate `json:"down_bps"`
	Up         hotspot.Rate `json:"up_bps"`
	RateKnown  bool         `json:"rate_known"`
}

// readings lists how each menu was read.
func (h *Health) readings() []Reading {
	return []Reading{h.System.Reading, h.WAN.Reading, h.HotSpot.Reading, h.Pools.Reading, h.Traffic.Reading, h.Sensors.Reading, h.Leases.Reading, h.Queues, h.Devices, h.Log.Reading, h.Board.Reading}
}

// Codes of the catalogue that follow from a router's health.
const (
	codeNoHotSpot  = "HSP-101"
	codeLocked     = "HSP-220"
	codeWANDown    = "RTR-150"
	codePoolFull   = "RTR-151"
	codeHot        = "RTR-152"
	codeMemory     = "RTR-153"
	codeRouterDisk = "RTR-154"
	codeBadBlocks  = "RTR-155"
	codeRestarted  = "RTR-156"
	codeUnread     = "RTR-157"
)

const (
	healthOld     = 5 * time.Minute  // an older reading says nothing of now
	poolFull      = 90               // percent: more is nearly full
	memoryFull    = 90               // percent
	routerDiskLow = 512 << 10        // octets: small routers live with little
	restartRecent = 30 * time.Minute // after that a restart is history
)

// fresh reports whether a reading is of now.
func (r Reading) fresh(now time.Time) bool { return !r.At.IsZero() && now.Sub(r.At) <= healthOld }

// healthFound returns the conditions of one router's health.
func healthFound(r Router, s Snapshot) (out []condition.Finding) {
	if r.Health == nil || r.Problem != "" {
		return nil
	}
	add := func(code, format string, args ...any) {
		out = append(out, condition.Finding{Code: code, Subject: string(r.NAS), Text: r.Name + ": " + fmt.Sprintf(format, args...)})
	}
	h := r.Health
	if h.WAN.fresh(s.At) && !h.WAN.Up {
		add(codeWANDown, "no default route is active")
	}
	if h.HotSpot.fresh(s.At) && h.HotSpot.Locked {
		add(codeLocked, "device-mode %s says hotspot: no", h.HotSpot.Mode)
	}
	if h.Pools.fresh(s.At) {
		switch {
		case len(h.HotSpot.Servers) > 0:
		case len(h.HotSpot.Idle) > 0:
			add(codeNoHotSpot, "%s is disabled, or its interface is gone", strings.Join(h.HotSpot.Idle, ", "))
		default:
			add(codeNoHotSpot, "no HotSpot server is set up on it")
		}
	}
	if h.Pools.fresh(s.At) {
		for _, p := range h.Pools.List {
			if p.percent() > poolFull {
				add(codePoolFull, "%d of %d addresses of the pool %s are given out", p.Used, p.Size, p.Name)
				break // the others have their row on the page
			}
		}
	}
	if i := slices.IndexFunc(h.Sensors.List, func(x Sensor) bool { return x.Hot }); i >= 0 && h.Sensors.fresh(s.At) {
		add(codeHot, "%s shows %s", h.Sensors.List[i].Name, h.Sensors.List[i].words())
	}
	if h.System.fresh(s.At) {
		if used := h.System.memoryUsed(); used > memoryFull {
			add(codeMemory, "%d %% of its memory are in use", used)
		}
		if h.System.DiskTotal > 0 && h.System.DiskFree < routerDiskLow {
			add(codeRouterDisk, "%s are free on its flash", webui.Bytes(h.System.DiskFree))
		}
		if h.System.BadBlocks > 0 {
			add(codeBadBlocks, "%s %% of its flash are bad blocks", strconv.FormatFloat(h.System.BadBlocks, 'f', -1, 64))
		}
	}
	if at := h.System.RestartedAt; !at.IsZero() && s.At.Sub(at) <= restartRecent {
		add(codeRestarted, "it began anew at %s", at.In(zoneOf(s)).Format("15:04 MST"))
	}
	if f := unread(h); f != "" {
		add(codeUnread, "%s", f)
	}
	return out
}

// unread names the menus that cannot be read, each with the code of its reason.
func unread(h *Health) string {
	out := ""
	for _, r := range h.readings() {
		if r.Problem != "" {
			out += cmp.Or(map[bool]string{true: ", "}[out != ""], "cannot be read: ") + r.Menu + " (" + cmp.Or(r.Code, r.Problem) + ")"
		}
	}
	return out
}

func (s Sensor) words() string {
	if s.Unit == "" {
		return s.State
	}
	unit := s.Unit
	if unit == "C" {
		unit = "°C"
	}
	return strconv.FormatFloat(math.Round(10*s.Value)/10, 'f', -1, 64) + " " + unit
}

// healthView is the section of one router.
type healthView struct {
	Name   string
	Tiles  []healthTile
	Unread []Reading
	Log    []LogLine
	LogAge template.HTML
	Facts  []fact
}

// healthTile is a tile with the hour behind it.
type healthTile struct {
	webui.Tile
	Graph template.HTML
}

const logShown = 20

func (b board) healthViews() (out []healthView) {
	for i := range b.Routers {
		r := &b.Routers[i]
		if r.Health == nil {
			continue
		}
		h := r.Health
		v := healthView{Name: r.Name, Tiles: []healthTile{b.wanTile(h), b.trafficTile(h), b.cpuTile(h), b.memoryTile(h), b.poolTile(h)}, Facts: healthFacts(h)}
		if len(h.Sensors.List) > 0 {
			v.Tiles = append(v.Tiles, b.heatTile(h))
		}
		for _, x := range h.readings() {
			if x.Problem != "" {
				v.Unread = append(v.Unread, x)
			}
		}
		v.Log = h.Log.Lines[:min(len(h.Log.Lines), logShown)]
		if !h.Log.At.IsZero() {
			v.LogAge = b.Ago(h.Log.At)
		}
		out = append(out, v)
	}
	return out
}

// healthTile makes a tile of a reading: what it says of itself first.
func (b board) healthTile(t webui.Tile, r Reading) healthTile {
	switch {
	case r.At.IsZero():
		t.Value, t.Unit, t.Detail, t.Badge = "–", "", "", badge(webui.Calm, "Not read yet")
		if r.Absent {
			t.Badge = badge(webui.Calm, "Not there")
		}
		if r.Problem != "" {
			t.Badge = badge(webui.Warn, "Cannot be read")
		}
	default:
		t.Age = "Read " + b.Ago(r.At)
		if r.Problem != "" || !r.fresh(b.At) {
			t.Badge = badge(webui.Warn, "Old")
		}
	}
	return healthTile{Tile: t}
}

func (b board) wanTile(h *Health) healthTile {
	t := tile("cloud", "Internet", "Up", "Up", "")
	t.Value, t.Detail = "Up", "Default route by "+h.WAN.Gateway
	if !h.WAN.Up {
		t.Badge, t.Value, t.Detail = badge(webui.Bad, "Down"), "Down", "No default route is active"
	}
	return b.healthTile(t, h.WAN.Reading)
}

func (b board) trafficTile(h *Health) healthTile {
	t := tile("arrow-down", "Traffic", "Counted", flow(h.Traffic.Down), "to the guests")
	t.Badge, t.Detail = badge(webui.Calm, "Counted"), flow(h.Traffic.Up)+" from them"
	if !h.Traffic.Known {
		t.Value, t.Unit, t.Detail = "–", "", "A rate needs two readings"
	}
	return b.graph(b.healthTile(t, h.Traffic.Reading), h, webui.Series{What: "Traffic to the guests", Words: func(v float64) string { return flow(hotspot.Rate(v)) }}, func(s HealthSample) (float64, bool) { return float64(s.Down), s.RateKnown })
}

// flow words a rate, where 0 is no traffic.
func flow(r hotspot.Rate) string {
	if r == 0 {
		return "0 bit/s"
	}
	return webui.Speed(r)
}

func percent(v float64) string { return strconv.Itoa(int(v)) + " %" }

func (b board) cpuTile(h *Health) healthTile {
	t := tile("router", "Processor", "Fine", percent(float64(h.System.CPULoad)), "busy")
	if h.System.CPULoad >= 90 {
		t.Badge = badge(webui.Warn, "Busy")
	}
	if h.System.Uptime > 0 {
		t.Detail = "Up for " + webui.Duration(h.System.Uptime)
	}
	return b.graph(b.healthTile(t, h.System.Reading), h, webui.Series{What: "Load of the processor", High: 100, Words: percent}, func(s HealthSample) (float64, bool) { return float64(s.CPULoad), true })
}

func (b board) memoryTile(h *Health) healthTile {
	used := h.System.memoryUsed()
	t := tile("database", "Memory", "Enough", percent(float64(used)), "in use")
	t.Detail = webui.Bytes(h.System.DiskFree) + " free on its flash"
	switch {
	case used > memoryFull:
		t.Badge = badge(webui.Warn, "Nearly full")
	case h.System.DiskTotal > 0 && h.System.DiskFree < routerDiskLow:
		t.Badge = badge(webui.Warn, "Flash nearly full")
	}
	return b.graph(b.healthTile(t, h.System.Reading), h, webui.Series{What: "Memory in use", High: 100, Words: percent}, func(s HealthSample) (float64, bool) { return float64(s.MemoryUsed), true })
}

// poolTile shows the guests' fullest pool.
func (b board) poolTile(h *Health) healthTile {
	t := tile("tag", "Addresses", "Enough", "–", "")
	t.Detail = "No pool is in use for guests"
	full := -1
	for _, p := range h.Pools.List {
		if p.Guests && p.percent() > full {
			full = p.percent()
			t.Value, t.Unit, t.Detail = fmt.Sprintf("%d of %d", p.Used, p.Size), "given out", "Pool "+p.Name
		}
	}
	if full > poolFull {
		t.Badge = badge(webui.Warn, "Nearly full")
	}
	if full >= 0 && !h.Leases.At.IsZero() {
		t.Detail += fmt.Sprintf(", %d leases", h.Leases.Bound)
	}
	return b.healthTile(t, h.Pools.Reading)
}

func (b board) heatTile(h *Health) healthTile {
	t := tile("sun-moon", "Temperature", "Cool", "–", "")
	var hottest Sensor
	for _, s := range h.Sensors.List {
		if s.Hot {
			t.Badge = badge(webui.Warn, "Hot")
		}
		if s.Unit == "C" && (hottest.Name == "" || s.Value > hottest.Value) {
			hottest = s
		}
	}
	if hottest.Name != "" {
		t.Value, t.Detail = hottest.words(), hottest.Name
	}
	return b.graph(b.healthTile(t, h.Sensors.Reading), h, webui.Series{What: "Temperature", Low: 30, High: 70, Words: func(v float64) string { return Sensor{Unit: "C", Value: v}.words() }}, func(s HealthSample) (float64, bool) {
		if s.Celsius == nil {
			return 0, false
		}
		return *s.Celsius, true
	})
}

// graph adds the hour behind a tile; one point is no line.
func (b board) graph(t healthTile, h *Health, line webui.Series, of func(HealthSample) (float64, bool)) healthTile {
	for _, s := range h.History {
		if v, known := of(s); known {
			line.Points = append(line.Points, webui.Point{At: s.At, Value: v})
		}
	}
	t.Graph = webui.Sparkline(line)
	return t
}

func healthFacts(h *Health) (out []fact) {
	if h.Board.Model != "" {
		out = append(out, fact{"Model", h.Board.Model})
	}
	if h.Board.Firmware != "" {
		text := h.Board.Firmware
		if h.Board.Upgrade != "" {
			text += ", " + h.Board.Upgrade + " after /system/routerboard/upgrade and a restart"
		}
		out = append(out, fact{"Firmware of the board", text})
	}
	for _, s := range h.Sensors.List {
		out = append(out, fact{s.Name, s.words()})
	}
	for _, i := range h.Traffic.Interfaces {
		state := "to the internet"
		if i.Guests {
			state = "to the guests"
		}
		if !i.Running {
			state += ", not running"
		}
		out = append(out, fact{i.Name, fmt.Sprintf("%s · received %s, sent %s since its start", state, webui.Bytes(i.Rx), webui.Bytes(i.Tx))})
	}
	if h.Restarts > 0 {
		out = append(out, fact{"Restarts seen", strconv.Itoa(h.Restarts)})
	}
	return out
}
