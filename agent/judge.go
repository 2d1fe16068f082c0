package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"iwas/agent/aaa"
	"iwas/agent/store"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// judge answers Access-Requests (radius.Decider). The store decides, on facts
// and in the order of its commits; judge does what a decision may need of
// others first: it slows guessing down, has the routers asked for ghosts before
// a device is refused for its number, and has the old device put off where the
// plan moves a pass to the new one.
type judge struct {
	store   judgeStore
	routers judgeRouters
	log     *slog.Logger
	now     func() time.Time

	mu         sync.Mutex // guards what follows; nothing is called under it
	throttle   aaa.Throttle
	language   string // of the site, for refusals that the store does not see
	languageAt time.Time
}

// judgeStore decides, and keeps what the routers say.
type judgeStore interface {
	// Authorize judges; an Accept returns once it is on disk.
	Authorize(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error)
	// CloseGhosts closes sessions that are on no router, and voids reservations.
	CloseGhosts(ctx context.Context, ids []hotspot.SessionID) error
	// UsedBefore reports whether a device was let in with this login name before.
	UsedBefore(ctx context.Context, username string, mac hotspot.MAC) (bool, error)
	// Language returns the language of the site's guests.
	Language(ctx context.Context) (string, error)
}

// judgeRouters speaks for all routers. Both return in time for a login that waits.
type judgeRouters interface {
	// Gone returns the sessions that are on no router.
	Gone(ctx context.Context, sessions []hotspot.Session) []hotspot.SessionID
	// End puts sessions off and returns those that are.
	End(ctx context.Context, account hotspot.AccountID, sessions []hotspot.Session) []hotspot.SessionID
}

// languageKept is how long the site's language is taken as read.
const languageKept = time.Minute

// Authorize answers one Access-Request. An error means that no judgement was
// possible; the NAS then hears nothing and asks again.
func (j *judge) Authorize(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error) {
	j.mu.Lock()
	throttled := j.throttle.Ask(&r, j.now())
	j.mu.Unlock()
	known := false
	if throttled.Leave == aaa.LeaveKnown {
		var err error
		if known, err = j.store.UsedBefore(ctx, r.Username, r.MAC); err != nil {
			return hotspot.Verdict{}, err
		}
	}
	if throttled.Leave != aaa.LeaveJudge && !known {
		return aaa.TooManyTries(throttled, j.languageOf(ctx)), nil
	}
	v, err := j.decide(ctx, r)
	if fault.Code(err) == store.CodeNoRoom { // said, where silence would have the guest try for ever
		j.log.Error("the first use of a pass was refused: the disk takes no more", "code", store.CodeNoRoom, "nas", r.NAS)
		return aaa.Refusal(hotspot.ReasonNoRoom, j.languageOf(ctx)), nil
	}
	if err != nil {
		return v, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.throttle.Tell(&r, &v, j.now())
	return v, nil
}

// decide judges, and judges again when room could be made for the device.
func (j *judge) decide(ctx context.Context, r hotspot.Request) (hotspot.Verdict, error) {
	v, err := j.store.Authorize(ctx, r)
	if err != nil || !crowded(v) {
		return v, err
	}
	if gone := j.routers.Gone(ctx, v.Others); len(gone) > 0 {
		if err := j.store.CloseGhosts(ctx, gone); err != nil {
			return v, err
		}
		j.log.Info("ghosts were in the way of a login", "user_ref", v.Account, "nas", r.NAS, "ghosts", len(gone))
		if v, err = j.store.Authorize(ctx, r); err != nil || !crowded(v) {
			return v, err
		}
	}
	if !v.Move {
		return v, nil
	}
	// The router enforces Port-Limit itself: the old device must be off before
	// the Accept arrives there.
	wanted := v.Others[:v.Ends]
	ended := j.routers.End(ctx, v.Account, wanted)
	if len(ended) > 0 {
		if err := j.store.CloseGhosts(ctx, ended); err != nil {
			return v, err
		}
	}
	if len(ended) < len(wanted) {
		v.Detail += "; the old device could not be ended in time to move the pass"
		j.log.Warn("a pass could not be moved to a new device", "user_ref", v.Account, "nas", r.NAS, "ended", len(ended), "of", len(wanted))
		return v, nil
	}
	return j.store.Authorize(ctx, r)
}

// crowded reports whether a refusal may end once sessions in the way do.
func crowded(v hotspot.Verdict) bool {
	return !v.Accept && v.Reason == hotspot.ReasonTooManyDevices && len(v.Others) > 0
}

// Refuse is the refusal of a request for its form alone.
func (j *judge) Refuse(ctx context.Context, reason hotspot.Reason) hotspot.Verdict {
	return aaa.Refusal(reason, j.languageOf(ctx))
}

// languageOf returns the site's language as last read; a store that cannot be
// read costs the guest the translation, not the answer.
func (j *judge) languageOf(ctx context.Context) string {
	now := j.now()
	j.mu.Lock()
	language, age := j.language, now.Sub(j.languageAt)
	j.mu.Unlock()
	if language != "" && age >= 0 && age < languageKept {
		return language
	}
	language, err := j.store.Language(ctx)
	if err != nil {
		j.log.Warn("read the site's language", "err", err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.language, j.languageAt = language, now
	return language
}
