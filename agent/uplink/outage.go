package uplink

import (
	"cmp"
	"context"
	"time"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

// Times of telling the cloud over HTTPS why MQTT does not get through.
const (
	outageLooks = 6               // within the time below, one after the other
	outageAfter = time.Minute     // a shorter outage heals before anybody reads of it
	outageEvery = 5 * time.Minute // told again, so that its age says that the box is there
	outageMost  = time.Hour       // between tries that fail, doubling from outageEvery
)

// PostOutage returns what tells the cloud of an outage with the identity in the
// state directory.
func PostOutage(stateDir string, now func() time.Time) func(context.Context, wire.Outage) error {
	return func(ctx context.Context, o wire.Outage) error {
		id, err := LoadIdentity(stateDir)
		if err != nil {
			return err
		}
		var r wire.OutageReply
		return id.ask(ctx, "tell of the outage", wire.PathOutage, o, &r, now)
	}
}

// watchOutage tells the cloud over HTTPS why there is no MQTT connection, while
// there is none: at once when the reason is another, else every five minutes.
func (t *talk) watchOutage(ctx context.Context) {
	if t.u.Outage == nil {
		return
	}
	after := cmp.Or(t.u.OutageAfter, outageAfter)
	look := time.NewTicker(min(after, outageAfter) / outageLooks)
	defer look.Stop()
	var told string // code of the last report that arrived
	var next time.Time
	pause := outageEvery
	for n := int64(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		err := t.link.Err()
		if err == nil || fault.Code(err) == codeCopy || time.Since(t.link.Since()) < after {
			told, next, pause = "", time.Time{}, outageEvery
			continue
		}
		code := fault.Code(err)
		if time.Now().Before(next) && (told == "" || code == told) {
			continue
		}
		n++
		o := wire.Outage{V: wire.Version, Boot: t.u.Boot, N: n, At: t.u.now().UTC(), Code: code, Text: clipText(err.Error())}
		o.Since = o.At.Add(-time.Since(t.link.Since()))
		if err := t.u.Outage(ctx, o); err != nil {
			t.log.Debug("uplink: outage not told", "err", err)
			next, pause = time.Now().Add(pause), min(2*pause, outageMost)
			continue
		}
		told, next, pause = code, time.Now().Add(outageEvery), outageEvery
	}
}

// codeCopy is the reason of a box that stays away as a copy of another: it is not
// that one's outage.
const codeCopy = "CLD-112"

// clipText bounds what is told, in octets.
func clipText(s string) string { return s[:min(len(s), 200)] }
