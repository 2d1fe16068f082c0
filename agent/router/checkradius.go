package router

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/routeros"
	"iwas/internal/secret"
)

// shortTimeout is less than RADIUS of a box with a slow disk may take (facts.md
// §4: the router's own default has been 300 ms and 1.1 s).
const shortTimeout = time.Second

// nobody is an address of no guest (RFC 5737).
var nobody = netip.MustParseAddr("192.0.2.1")

// radius finds the entry of /radius that is ours, and what it has counted.
func (a *asker) radius(ctx context.Context) error {
	rows, err := a.print(ctx, "/radius", "")
	if err != nil {
		return err
	}
	var own, off, before routeros.Row
	for _, r := range rows {
		if !has(r["service"], "hotspot") {
			continue
		}
		at, _, _ := strings.Cut(r["address"], "@") // ip@vrf
		switch mine := address(at) == a.seen.ours() && a.seen.ours().IsValid(); {
		case mine && flag(r["disabled"]):
			off = r
		case mine:
			own = r
		case own == nil && !flag(r["disabled"]) && r["realm"]+r["domain"]+r["called-id"] == "":
			before = r
		}
		if own != nil {
			break
		}
	}
	if own == nil {
		a.set(a.noEntry(off))
		a.set(condition.CheckRow{Probe: "radius-counters", State: condition.Skipped, Seen: "needs the RADIUS entry of this box"})
		return nil
	}
	if text, told := own["secret"]; told && text != "" {
		a.seen.mu.Lock()
		v := secret.Value(text)
		a.seen.readBack = &v
		a.seen.mu.Unlock()
	}
	a.set(a.judgeEntry(own, before))
	return a.counters(ctx, own)
}

// noEntry is said when /radius does not name this box.
func (a *asker) noEntry(off routeros.Row) condition.CheckRow {
	row := condition.CheckRow{Probe: "radius", State: condition.Fail, Code: CodeNoEntry}
	at := "THIS-BOX"
	if a.seen.ours().IsValid() {
		at = a.seen.ours().String()
	}
	if off != nil {
		row.Seen = "the entry for " + at + " is disabled"
		row.Command = "/radius/enable [find address=" + at + "]"
		return row
	}
	row.Seen = "no entry for service hotspot has the address " + at
	row.Command = fmt.Sprintf("/radius/add service=hotspot address=%s secret=THE-SECRET authentication-port=%d accounting-port=%d timeout=2s require-message-auth=yes-for-request-resp", at, a.Box.Auth, a.Box.Acct)
	return row
}

// judgeEntry judges our entry: what keeps guests out first.
func (a *asker) judgeEntry(own, before routeros.Row) condition.CheckRow {
	set := "/radius/set [find address=" + quoted(own["address"]) + "] "
	say := func(state condition.Mark, code, seen, command string) condition.CheckRow {
		return condition.CheckRow{Probe: "radius", State: state, Code: code, Seen: seen, Command: command}
	}
	auth, acct := strconv.Itoa(int(a.Box.Auth)), strconv.Itoa(int(a.Box.Acct))
	timeout, err := routeros.ParseDuration(own["timeout"])
	switch protocol := own["protocol"]; {
	case protocol != "" && protocol != "udp":
		return say(condition.Fail, CodeEntry, "it speaks "+protocol+", this box listens on UDP", set+"protocol=udp")
	case own["authentication-port"] != auth || own["accounting-port"] != acct:
		return say(condition.Fail, CodeEntry, fmt.Sprintf("it asks ports %s and %s, this box listens on %s and %s", own["authentication-port"], own["accounting-port"], auth, acct),
			set+"authentication-port="+auth+" accounting-port="+acct)
	case before != nil:
		return say(condition.Warn, CodeEntry, "another server, "+before["address"]+", is asked first", "/radius/print where service~\"hotspot\"")
	case err == nil && timeout < shortTimeout:
		return say(condition.Warn, CodeEntry, "its timeout is "+own["timeout"]+": a busy moment here looks like no answer", set+"timeout=2s")
	case own["require-message-auth"] != "yes-for-request-resp":
		return say(condition.Warn, CodeUnsigned, "require-message-auth is "+orNone(own["require-message-auth"])+": answers could be forged", set+"require-message-auth=yes-for-request-resp")
	}
	return condition.CheckRow{Probe: "radius", State: condition.OK, Seen: fmt.Sprintf("hotspot asks %s, ports %s and %s, timeout %s, answers must be signed", own["address"], auth, acct, own["timeout"])}
}

// counters reads what the router's RADIUS client has counted since it started.
func (a *asker) counters(ctx context.Context, own routeros.Row) error {
	rows, err := a.l.do(ctx, "/radius/monitor", "=.id="+own[".id"], "=once=")
	if err != nil {
		return err
	}
	if len(rows) == 0 || rows[0]["requests"] == "" {
		return oddAnswer{"/radius/monitor", "it counts no requests"}
	}
	n := func(key string) uint64 { v, _ := strconv.ParseUint(rows[0][key], 10, 64); return v } // absent: 0
	row := condition.CheckRow{Probe: "radius-counters", State: condition.OK,
		Seen: fmt.Sprintf("%d requests: %d accepted, %d rejected, %d timeouts, %d bad replies", n("requests"), n("accepts"), n("rejects"), n("timeouts"), n("bad-replies"))}
	answered := n("accepts") + n("rejects")
	switch {
	case n("bad-replies") > answered:
		row.State, row.Code = condition.Fail, CodeSecret
	case n("timeouts") > answered:
		row.State, row.Code, row.Command = condition.Fail, CodeUnanswered, "/radius/monitor [find address="+quoted(own["address"])+"] once"
	case n("timeouts")*20 > answered && answered > 0:
		row.State, row.Code, row.Command = condition.Warn, CodeUnanswered, "/radius/reset-counters [find address="+quoted(own["address"])+"]"
	case n("bad-replies") > 0:
		row.State, row.Code, row.Command = condition.Warn, CodeSecret, "/radius/reset-counters [find address="+quoted(own["address"])+"]"
	}
	a.set(row)
	return nil
}

// incoming reads whether the router takes Disconnect-Request, and where.
func (a *asker) incoming(ctx context.Context) error {
	r, err := a.single(ctx, "/radius/incoming", "port")
	if err != nil {
		return err
	}
	seen := fmt.Sprintf("accept %s, port %s", map[bool]string{true: "yes", false: "no"}[flag(r["accept"])], r["port"])
	want := strconv.Itoa(int(a.Box.CoA))
	if flag(r["accept"]) && (r["port"] == want || a.Box.CoA == 0) {
		a.good("radius-incoming", "%s", seen)
		return nil
	}
	if a.Box.CoA == 0 {
		want = "3799"
	}
	if flag(r["accept"]) {
		seen += "; this box asks port " + want
	}
	a.set(condition.CheckRow{Probe: "radius-incoming", State: condition.Fail, Code: CodeNoAnswer, Seen: seen, Command: "/radius/incoming/set accept=yes port=" + want})
	return nil
}

// disconnect asks the router to end a session that cannot exist: that it says so
// proves way, secret and address at once.
func (c Check) disconnect(ctx context.Context, s *sheet) {
	begun := time.Now()
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	row := condition.CheckRow{Probe: "disconnect", State: condition.Skipped, Seen: "nothing here sends it"}
	if c.RADIUS != nil {
		d, err := c.RADIUS.Disconnect(ctx, c.NAS, ghost())
		row = judgeDisconnect(d, err)
	}
	row.Took = time.Since(begun)
	s.set(row)
}

func judgeDisconnect(d hotspot.Disconnected, err error) condition.CheckRow {
	row := condition.CheckRow{Probe: "disconnect", State: condition.OK}
	switch {
	case fault.Is(err, fault.NotFound):
		row.State, row.Seen = condition.Skipped, plain(err)
	case err != nil:
		row.State, row.Code, row.Seen = condition.Unknown, CodeNoAnswer, plain(err)
	case d.Result == hotspot.ResultNAK:
		row.Seen = fmt.Sprintf("refused for a session that cannot exist, as it should be (Error-Cause %d, after %v)", d.ErrorCause, rounded(d.RoundTrip))
	case d.Result == hotspot.ResultACK:
		row.State, row.Code, row.Seen = condition.Warn, CodeBlindACK, "acknowledged for a session that cannot exist"
	default:
		row.State, row.Code, row.Seen = condition.Fail, CodeNoAnswer, fmt.Sprintf("no answer to %d tries", d.Attempts)
		row.Command = "/radius/incoming/monitor once"
	}
	return row
}

// ghost is a session that no router has: its Acct-Session-Id is not of a HotSpot
// (facts.md §4: those begin with 80), its address is for documents only.
func ghost() hotspot.Session {
	b := make([]byte, 3)
	rand.Read(b)
	id := hex.EncodeToString(b)
	return hotspot.Session{Username: "iwas-check-" + id, AcctSessionID: hotspot.AcctSessionID("0f" + id), IP: nobody, MAC: hotspot.MAC{0x02, 0, 0, b[0], b[1], b[2]}}
}

// whatHeard is an answer of the Witness.
type whatHeard struct {
	Heard
	err error
}

var errNobodyAsked = errors.New("nobody was asked")

func (c Check) hear(ctx context.Context) whatHeard {
	if c.RADIUS == nil {
		return whatHeard{err: errNobodyAsked}
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	h, err := c.RADIUS.Heard(ctx, c.NAS)
	return whatHeard{h, err}
}

// secret says how far the shared secret is known to be the same on both sides:
// proven by a packet, else the same by read-back, else not yet seen.
func (c Check) secret(s *sheet, seen *glimpse, h whatHeard) {
	row := condition.CheckRow{Probe: "radius-secret", State: condition.OK}
	set := "/radius/set [find address=" + hostOnly(seen) + "] secret=THE-SECRET"
	matches := seen.readBack != nil && subtle.ConstantTimeCompare([]byte(seen.readBack.Reveal()), []byte(c.Box.Secret.Reveal())) == 1
	switch {
	case h.err == nil && !h.ProvenAt.IsZero() && !h.ProvenAt.Before(h.BadSecretAt):
		row.Seen = "proven by a packet of the router at " + h.ProvenAt.UTC().Format("2006-01-02 15:04:05 UTC")
		if h.Previous {
			row.State, row.Code, row.Command = condition.Warn, CodeOldSecret, set
			row.Seen = "a packet of the router proved the previous secret at " + h.ProvenAt.UTC().Format("2006-01-02 15:04:05 UTC")
		}
	case seen.readBack != nil && !matches:
		row.State, row.Code, row.Command, row.Seen = condition.Fail, CodeSecret, set, "read back from the router: it is another one than here"
	case h.err == nil && h.BadSecret != "":
		row.State, row.Code, row.Command, row.Seen = condition.Fail, CodeSecret, set, h.BadSecret
	case h.err == nil && len(h.Strangers) > 0:
		row.State, row.Code, row.Command = condition.Warn, CodeStranger, "/radius/print detail"
		row.Seen = "not yet seen: no packet came from this router, but from " + h.Strangers[0].String() + ", which is no router here"
	case matches:
		row.Seen = "matches: read back from the router, it is the one kept here"
	default:
		row.State, row.Seen = condition.Unknown, "not yet seen: no packet of the router has come since the service started"
		if h.err != nil && !errors.Is(h.err, errNobodyAsked) {
			row.Seen = "not yet seen: " + plain(h.err)
		}
		row.Next = "Open the login page with a phone and try any name: the router then asks this box, and this row can tell."
	}
	s.set(row)
}

func hostOnly(g *glimpse) string {
	if at := g.ours(); at.IsValid() {
		return at.String()
	}
	return "THIS-BOX"
}
