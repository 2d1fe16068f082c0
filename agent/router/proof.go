package router

import (
	"cmp"
	"fmt"
	"maps"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// Methods by which an account went off (hotspot.Proof.Method).
const (
	methodAPI        = "api"           // removed over the API
	methodDisconnect = "disconnect"    // Disconnect-Request was acknowledged
	methodNothing    = "nothing_to_do" // the router shows that nobody was on
	methodReject     = "reject_only"   // no session known and no API to look: new logins are refused
)

// methodRank orders methods: what was done counts before what was found.
var methodRank = map[string]int{"": 0, methodReject: 1, methodNothing: 2, methodDisconnect: 3, methodAPI: 4}

// outcomeRank orders outcomes: an account is as badly off as on its worst NAS.
var outcomeRank = map[hotspot.Outcome]int{hotspot.OutcomeEnforced: 0, hotspot.OutcomeLeaks: 1, hotspot.OutcomeUnproven: 2, hotspot.OutcomePending: 3}

// outcome says how the attempt ended on its NAS, and by which code it is known.
func (a *attempt) outcome() (hotspot.Outcome, string) {
	if a.n.Dial == nil {
		switch {
		case a.answers.silent > 0 || a.answers.err != nil:
			return hotspot.OutcomePending, CodeNoAnswer
		case a.answers.refused > 0:
			return hotspot.OutcomePending, CodeNotEnded
		case a.open > 0:
			return hotspot.OutcomePending, CodeNoStop
		}
		return hotspot.OutcomeUnproven, ""
	}
	switch {
	case a.err != nil:
		return hotspot.OutcomePending, cmp.Or(fault.Code(a.err), CodeStillOn)
	case !a.clean: // it ended before the read-back
		if code := a.cause.Load(); code != nil {
			return hotspot.OutcomePending, *code
		}
		return hotspot.OutcomePending, CodeStillOn
	case len(a.ways) > 0:
		return hotspot.OutcomeLeaks, a.ways[0].code
	}
	return hotspot.OutcomeEnforced, ""
}

func (a *attempt) method() string {
	switch {
	case a.removed:
		return methodAPI
	case a.answers.ack > 0:
		return methodDisconnect
	case a.n.Dial == nil && len(a.sessions) == 0:
		return methodReject
	}
	return methodNothing
}

// conclude makes one proof of the attempts on all NASes. earlier is what
// attempts before did; what was done since is returned for the next.
func conclude(t hotspot.Target, attempts []*attempt, earlier record, now time.Time) (hotspot.Proof, record) {
	p := hotspot.Proof{Account: t.Account, Reason: t.Reason, Outcome: hotspot.OutcomeEnforced, At: now}
	if t.Lock != nil {
		p.Revision = t.Lock.Revision
	}
	if len(attempts) == 0 { // a site without a NAS: nobody can be on
		p.Outcome, p.Method = hotspot.OutcomeUnproven, methodReject
	}
	done := record{method: earlier.method, extra: earlier.extra, ended: map[hotspot.SessionID]bool{}, shown: map[hotspot.SessionID]bool{}, devices: map[hotspot.MAC]bool{}}
	maps.Copy(done.ended, earlier.ended)
	maps.Copy(done.shown, earlier.shown)
	for _, a := range attempts {
		o, code := a.outcome()
		if outcomeRank[o] > outcomeRank[p.Outcome] {
			p.Outcome = o
			p.Code = cmp.Or(code, p.Code)
		} else if p.Code == "" {
			p.Code = code
		}
		if m := a.method(); methodRank[m] > methodRank[p.Method] {
			p.Method = m
		}
		maps.Copy(done.ended, a.ended)
		maps.Copy(done.shown, a.shown)
		maps.Copy(done.devices, a.devices)
		done.extra += a.extra
	}
	if outcomeRank[p.Outcome] < outcomeRank[hotspot.OutcomePending] && unseen(attempts, done) > 0 {
		p.Outcome, p.Code = hotspot.OutcomePending, CodeUnseen
	}
	if methodRank[done.method] > methodRank[p.Method] {
		p.Method = done.method
	}
	if p.Method == methodAPI || p.Method == methodDisconnect {
		done.method = p.Method
	}
	p.Sessions = len(done.ended) + done.extra
	p.Steps = mergeSteps(t, attempts)
	return p, done
}

// unseen counts the sessions that are live by their accounting and that no
// router could show: neither was such an entry on its list, nor did it end one.
// Where accounting went on after an answer of success, the answer says nothing.
// Either the router read back is not the one that keeps them, or their Stop was
// lost; their accounting, or its silence, tells.
func unseen(attempts []*attempt, done record) int {
	n := 0
	for _, a := range attempts {
		for _, s := range a.sessions {
			if a.n.Dial != nil && s.State == hotspot.Live && !done.shown[s.ID] && (s.Outlived() || !done.ended[s.ID]) {
				n++
			}
		}
	}
	return n
}

// mergeSteps makes one list of the steps on all NASes: a step is done when it
// is done on the last, and well if it was on all.
func mergeSteps(t hotspot.Target, attempts []*attempt) []hotspot.Step {
	steps := []hotspot.Step{{Name: hotspot.StepReceived, At: t.ReceivedAt, OK: true}}
	for _, name := range []string{hotspot.StepCookies, hotspot.StepDisconnect, hotspot.StepStop, hotspot.StepActive, hotspot.StepLists, hotspot.StepConnections, hotspot.StepReadBack} {
		var merged *hotspot.Step
		var details []string
		for _, a := range attempts {
			for _, s := range a.steps {
				if s.Name != name {
					continue
				}
				if len(attempts) > 1 {
					s.Detail = fmt.Sprintf("%s: %s", a.n.NAS, s.Detail)
				}
				details = append(details, s.Detail)
				if merged == nil {
					merged = &s
					continue
				}
				merged.OK = merged.OK && s.OK
				merged.Took = max(merged.Took, s.Took)
				if s.At.After(merged.At) {
					merged.At = s.At
				}
			}
		}
		if merged != nil {
			merged.Detail = strings.Join(details, "; ")
			steps = append(steps, *merged)
		}
	}
	return steps
}

// problem says in words why the account is not proven off; "" if it is.
func problem(attempts []*attempt, done record) string {
	for i, a := range attempts {
		if o, _ := a.outcome(); o != hotspot.OutcomePending && unseen(attempts[i:i+1], done) == 0 {
			continue
		}
		switch {
		case a.err != nil:
			return a.err.Error()
		case a.answers.err != nil:
			return a.answers.err.Error()
		case a.n.Dial != nil && a.clean:
			return "accounting speaks of a session that this router does not show"
		}
		for _, s := range a.steps {
			if !s.OK {
				return s.Detail
			}
		}
	}
	return ""
}
