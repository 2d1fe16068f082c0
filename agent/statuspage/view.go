package statuspage

import (
	"fmt"
	"strconv"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// board is the page's view of a snapshot.
type board struct {
	Snapshot
	webui.Clock
	Verdict webui.Verdict
	Alerts  []webui.Alert
	Tiles   []webui.Tile
}

func newBoard(s Snapshot) board {
	b := board{Snapshot: s, Clock: webui.Clock{Now: s.At, Zone: time.Local}}
	b.Verdict = b.verdict()
	b.Alerts = b.alerts()
	b.Tiles = []webui.Tile{b.cloudTile(), b.routerTile(), b.radiusTile(), b.clockTile(), b.storeTile(), b.outboxTile(), b.sessionsTile(), b.versionTile()}
	return b
}

// verdict answers the one question a technician comes with.
func (b board) verdict() webui.Verdict {
	v := webui.Verdict{Tone: webui.Good, Title: "Guests can log in", Source: "Checked", Age: b.Ago(b.At)}
	if ok, why, next := b.Ready(); !ok {
		v.Tone, v.Title, v.Detail = webui.Bad, "Guests cannot log in: "+why, next
		return v
	}
	switch {
	case b.secretSuspected():
		v.Tone, v.Detail = webui.Warn, "But packets of a router fail the check of the shared secret: see below."
	case b.RADIUS.LastAnswer.IsZero():
		v.Tone, v.Detail = webui.Info, "Nothing was asked of RADIUS yet. Let one device join the guest WiFi to see it work."
	case b.Cloud.Enrolled && !b.Cloud.Connected:
		v.Tone, v.Detail = webui.Info, "The cloud is away. Logins, limits and counting go on here; everything travels up when it is back."
	}
	return v
}

func (b board) secretSuspected() bool {
	for _, o := range b.RADIUS.Offenders {
		if suspectsSecret(o.Reason) && b.At.Sub(o.Last) < 5*time.Minute {
			return true
		}
	}
	return false
}

func suspectsSecret(reason string) bool {
	switch reason {
	case "bad_authenticator", "bad_message_authenticator", "undecodable_password":
		return true
	}
	return false
}

// alerts are what is wrong now, worst first, each with its next step.
func (b board) alerts() []webui.Alert {
	var out []webui.Alert
	for _, r := range b.Routers {
		if r.API && r.Problem != "" {
			out = append(out, webui.Alert{Tone: webui.Warn, Title: fmt.Sprintf("Router %s does not answer: %s", r.Name, r.Problem),
				Text: "Logins and limits go on; locks end “acknowledged, not proven” until it is back. " + r.Next, Code: r.Code})
		}
		if !r.API {
			out = append(out, webui.Alert{Tone: webui.Info, Title: fmt.Sprintf("Router %s has no API configured", r.Name),
				Text: "Locks are acknowledged by the router, but cannot be proven. Set [nas.router] url, user and password_file."})
		}
	}
	if b.Cloud.Problem != "" {
		out = append(out, webui.Alert{Tone: webui.Warn, Title: "Cloud link: " + b.Cloud.Problem, Code: b.Cloud.Code})
	}
	if b.Cloud.NotInForce > 0 {
		out = append(out, webui.Alert{Tone: webui.Warn, Title: fmt.Sprintf("%d documents from the cloud cannot be applied by this program", b.Cloud.NotInForce),
			Text: "They are kept. Update iwas-agent: a newer program most likely understands them."})
	}
	return out
}

func tile(icon, label string, tone webui.Tone, state, value, unit string) webui.Tile {
	return webui.Tile{Icon: icon, Label: label, Badge: webui.Badge{Tone: tone, Text: state}, Value: value, Unit: unit}
}

func (b board) cloudTile() webui.Tile {
	t := tile("cloud", "Cloud link", webui.Good, "Connected", "revision "+strconv.FormatInt(b.Cloud.Revision, 10), "")
	switch {
	case !b.Cloud.Enrolled:
		t.Badge, t.Value = webui.Badge{Tone: webui.Calm, Text: "Not enrolled"}, "–"
		t.Detail = "Run: iwas-agent enroll"
	case !b.Cloud.Connected:
		t.Badge = webui.Badge{Tone: webui.Warn, Text: "Away"}
	}
	if !b.Cloud.LastContact.IsZero() {
		t.Detail, t.Age = "Last message", b.Ago(b.Cloud.LastContact)
	}
	return t
}

func (b board) routerTile() webui.Tile {
	up, configured := 0, 0
	var seen time.Time
	detail := ""
	for _, r := range b.Routers {
		if r.API {
			configured++
		}
		if r.Reachable {
			up++
			detail = r.Identity + " · RouterOS " + r.Version
		}
		if r.SeenAt.After(seen) {
			seen = r.SeenAt
		}
	}
	t := tile("router", "Router", webui.Good, "Answers", fmt.Sprintf("%d of %d", up, len(b.Routers)), "reachable")
	switch {
	case len(b.Routers) == 0:
		t.Badge = webui.Badge{Tone: webui.Bad, Text: "None"}
	case configured == 0:
		t.Badge = webui.Badge{Tone: webui.Info, Text: "No API"}
	case up < configured:
		t.Badge = webui.Badge{Tone: webui.Bad, Text: "Does not answer"}
	}
	t.Detail, t.Age = detail, b.Ago(seen)
	return t
}

func (b board) radiusTile() webui.Tile {
	t := tile("wifi", "RADIUS", webui.Good, "Answers", strconv.FormatUint(b.RADIUS.Accepts, 10), "accepted since start")
	switch {
	case b.RADIUS.Problem != "" || !b.RADIUS.Bound:
		t.Badge = webui.Badge{Tone: webui.Bad, Text: "Not answering"}
	case b.RADIUS.LastAnswer.IsZero():
		t.Badge = webui.Badge{Tone: webui.Info, Text: "Waiting"}
	}
	t.Detail = fmt.Sprintf("%d rejected, %d accounting, %d met with silence", b.RADIUS.Rejects, b.RADIUS.Accounting, b.RADIUS.Dropped)
	if b.RADIUS.P95 > 0 {
		t.Detail += "; 95 % within " + webui.Took(b.RADIUS.P95)
	}
	t.Age = b.Ago(b.RADIUS.LastAnswer)
	return t
}

func (b board) clockTile() webui.Tile {
	t := tile("clock", "Clock", webui.Calm, "Not compared", b.At.UTC().Format("15:04:05"), "UTC")
	if b.Cloud.OffsetKnown {
		off := time.Duration(b.Cloud.OffsetMS) * time.Millisecond
		t.Badge = webui.Badge{Tone: webui.Good, Text: "Agrees"}
		if off.Abs() > 2*time.Second {
			t.Badge = webui.Badge{Tone: webui.Warn, Text: "Off"}
		}
		t.Detail = fmt.Sprintf("The cloud's clock is %+d ms from ours", b.Cloud.OffsetMS)
	}
	t.Age = b.Ago(b.At)
	return t
}

func (b board) storeTile() webui.Tile {
	t := tile("database", "Disk and database", webui.Good, "Sound", webui.Bytes(hotspot.Octets(b.Store.Bytes)), "database")
	if !b.Store.Open {
		t.Badge = webui.Badge{Tone: webui.Bad, Text: "Not open"}
	}
	if free := b.Store.DiskFree; free > 0 {
		t.Detail = webui.Bytes(hotspot.Octets(free)) + " free on its disk"
		if free < 500<<20 {
			t.Badge = webui.Badge{Tone: webui.Warn, Text: "Disk low"}
		}
	}
	t.Age = b.Ago(b.At)
	return t
}

func (b board) outboxTile() webui.Tile {
	t := tile("arrow-up", "Outbox", webui.Good, "Empty", strconv.FormatInt(b.Outbox.Waiting, 10), "facts wait for the cloud")
	if b.Outbox.Waiting > 0 {
		t.Badge = webui.Badge{Tone: webui.Info, Text: "Waiting"}
		if b.At.Sub(b.Outbox.Oldest) > 15*time.Minute {
			t.Badge = webui.Badge{Tone: webui.Warn, Text: "Old"}
		}
		t.Detail = "The oldest is from"
		t.Age = b.Ago(b.Outbox.Oldest)
	}
	if !b.Cloud.Enrolled {
		t.Badge = webui.Badge{Tone: webui.Calm, Text: "Kept here"}
	}
	return t
}

func (b board) sessionsTile() webui.Tile {
	t := tile("users", "Sessions now", webui.Good, "Counted", strconv.Itoa(len(b.Sessions)), "open")
	var newest time.Time
	for _, s := range b.Sessions {
		if s.HeardAt.After(newest) {
			newest = s.HeardAt
		}
	}
	if len(b.Sessions) > 0 {
		t.Detail, t.Age = "Last accounting", b.Ago(newest)
	}
	return t
}

func (b board) versionTile() webui.Tile {
	t := tile("info", "Version", webui.Calm, "Running", b.Version, "")
	t.Detail, t.Age = "Started", b.Ago(b.Started)
	return t
}
