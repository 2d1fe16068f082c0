package statuspage

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// tile makes a tile whose state needs nobody; each func below makes it worse
// where the facts say so.
func tile(icon, label, state, value, unit string) webui.Tile {
	return webui.Tile{Icon: icon, Label: label, Badge: webui.Badge{Tone: webui.Good, Text: state}, Value: value, Unit: unit}
}

func badge(tone webui.Tone, text string) webui.Badge { return webui.Badge{Tone: tone, Text: text} }

func (b board) cloudTile() webui.Tile {
	t := tile("cloud", "Cloud link", "Connected", strconv.FormatInt(b.Cloud.Revision, 10), "is the revision held")
	switch {
	case !b.Cloud.Enrolled:
		t.Badge, t.Value, t.Unit = badge(webui.Calm, "Not enrolled"), "–", ""
		t.Detail = "Run: iwas-agent enroll"
	case !b.Cloud.Connected:
		t.Badge = badge(webui.Warn, "Away")
		t.Detail = "No message from it yet"
	default:
		t.Detail = "No message from it yet"
	}
	if !b.Cloud.LastContact.IsZero() {
		t.Detail, t.Age = "", "Last message "+b.Ago(b.Cloud.LastContact)
	}
	return t
}

func (b board) routerTile() webui.Tile {
	up, configured := 0, 0
	var seen time.Time
	for _, r := range b.Routers {
		if r.API {
			configured++
		}
		if r.Reachable {
			up++
		}
		if r.SeenAt.After(seen) {
			seen = r.SeenAt
		}
	}
	t := tile("router", "Router", "Answers", fmt.Sprintf("%d of %d", up, configured), "answer over the API")
	switch {
	case len(b.Routers) == 0:
		t.Badge, t.Value, t.Unit = badge(webui.Bad, "None"), "0", "configured"
		return t
	case configured == 0:
		t.Badge, t.Value, t.Unit = badge(webui.Info, "No API"), strconv.Itoa(len(b.Routers)), "configured, RADIUS only"
		t.Detail = "Locks cannot be proven without it"
		return t
	case up < configured:
		t.Badge = badge(webui.Bad, "Does not answer")
	}
	t.Detail = "Never seen since the start"
	if !seen.IsZero() {
		t.Detail, t.Age = "", "Last seen "+b.Ago(seen)
	}
	return t
}

func (b board) radiusTile() webui.Tile {
	t := tile("wifi", "RADIUS", "Answers", strconv.FormatUint(b.RADIUS.Accepts, 10), "logins accepted since the start")
	t.Detail = fmt.Sprintf("%d refused, %d accounting, %d met with silence.", b.RADIUS.Rejects, b.RADIUS.Accounting, b.RADIUS.Dropped)
	if b.RADIUS.P95 > 0 {
		t.Detail += " 95 % of answers within " + webui.Took(b.RADIUS.P95) + "."
	}
	if b.RADIUS.Lost > 0 {
		t.Detail += fmt.Sprintf(" %d lost by the system, its buffer being full.", b.RADIUS.Lost)
	}
	switch {
	case b.RADIUS.Problem != "":
		t.Badge = badge(webui.Bad, "Not answering")
	case !b.RADIUS.Bound:
		t.Badge = badge(webui.Info, "Starting")
	case b.RADIUS.LastAnswer.IsZero():
		t.Badge = badge(webui.Info, "Waiting")
		t.Detail = "No router has asked yet"
	case slices.ContainsFunc(offendersFound(b.Snapshot), func(f condition.Finding) bool { return f.Code != codeFlood }):
		t.Badge = badge(webui.Warn, "Some unanswered")
	}
	if !b.RADIUS.LastAnswer.IsZero() {
		t.Age = "Last answer " + b.Ago(b.RADIUS.LastAnswer)
	}
	return t
}

func (b board) clockTile() webui.Tile {
	t := tile("clock", "Clock", "Agrees", b.At.In(b.Zone).Format("15:04"), "in "+b.ZoneName())
	t.Badge, t.Detail = badge(webui.Calm, "Not compared"), "The cloud's clock was not heard yet"
	if b.Cloud.OffsetKnown {
		off := time.Duration(b.Cloud.OffsetMS) * time.Millisecond
		t.Badge = badge(webui.Good, "Agrees")
		if off.Abs() > ClockOff {
			t.Badge = badge(webui.Warn, "Off")
		}
		t.Detail = "The cloud's clock is " + drift(off) + " this one"
	}
	t.Age = "Checked " + b.Ago(b.At)
	return t
}

func (b board) storeTile() webui.Tile {
	t := tile("database", "Disk and database", "Sound", webui.Bytes(hotspot.Octets(b.Store.Bytes)), "database")
	if free := b.Store.DiskFree; free > 0 {
		t.Detail = webui.Bytes(hotspot.Octets(free)) + " free on its disk"
		if free < DiskLow {
			t.Badge = badge(webui.Warn, "Disk low")
		}
	}
	if !b.Store.Open {
		t.Badge, t.Value, t.Unit = badge(webui.Bad, "Not open"), "–", ""
	}
	t.Age = "Checked " + b.Ago(b.At)
	return t
}

func (b board) outboxTile() webui.Tile {
	t := tile("inbox", "Outbox", "Empty", strconv.FormatInt(b.Outbox.Waiting, 10), "facts wait for the cloud")
	t.Age = "Checked " + b.Ago(b.At)
	if b.Outbox.Waiting > 0 {
		t.Badge = badge(webui.Info, "Waiting")
		if b.At.Sub(b.Outbox.Oldest) > outboxOld && b.Cloud.Enrolled {
			t.Badge = badge(webui.Warn, "Old")
		}
		t.Age = "The oldest is from " + b.Ago(b.Outbox.Oldest)
	}
	if !b.Cloud.Enrolled {
		t.Badge = badge(webui.Calm, "Kept here")
	}
	if b.Outbox.Full {
		t.Badge = badge(webui.Warn, "Full")
	}
	return t
}

func (b board) sessionsTile() webui.Tile {
	open, suspect := 0, 0
	var newest time.Time
	for _, s := range b.Snapshot.Sessions {
		if s.State == hotspot.Live || s.State == hotspot.Suspect {
			open++
		}
		if s.State == hotspot.Suspect {
			suspect++
		}
		if s.HeardAt.After(newest) {
			newest = s.HeardAt
		}
	}
	t := tile("users", "Sessions now", "Counted", strconv.Itoa(open), "open")
	if suspect > 0 {
		t.Badge = badge(webui.Warn, strconv.Itoa(suspect)+" not confirmed")
	}
	t.Detail, t.Age = "Nobody is online", "Checked "+b.Ago(b.At)
	if open > 0 && !newest.IsZero() {
		t.Detail, t.Age = "", "Last accounting "+b.Ago(newest)
	}
	return t
}

func (b board) versionTile() webui.Tile {
	t := tile("info", "Version", "Running", b.Version, "")
	t.Badge = badge(webui.Calm, "Running")
	t.Age = "Started " + b.Ago(b.Started)
	return t
}
