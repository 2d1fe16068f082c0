package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"iwas/agent/provision"
	"iwas/agent/store"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/lanes"
	"iwas/internal/wire"
)

// Bounds of commands from the cloud. What finds no room is asked again.
const (
	commandWorkers = 4 // routers at once
	commandDepth   = 8 // waiting for one router
)

// remote carries out what the cloud commands, one after the other for each router.
// Every command is in the inbox before it comes here.
type remote struct {
	site  *site
	lanes lanes.Lanes[hotspot.NASID, wire.Command]
	times commandTimes
}

func (s *site) newRemote() *remote {
	r := &remote{site: s}
	r.lanes.Workers, r.lanes.Depth, r.lanes.Do = commandWorkers, commandDepth, r.do
	return r
}

// carry puts a command in the lane of its router; a kick has one of its own.
func (r *remote) carry(_ context.Context, c wire.Command) {
	var about wire.RouterCommand
	if c.Kind != wire.CommandKick {
		_ = json.Unmarshal(c.Body, &about) // said by do
	}
	r.times.received(c, about.NAS, r.site.wall.Now())
	if !r.lanes.Push(about.NAS, c) {
		r.site.log.Warn("commands: too many for one router; the cloud asks again", "nas", about.NAS, "command_id", c.ID)
	}
}

func (r *remote) do(ctx context.Context, _ hotspot.NASID, c wire.Command) {
	if err := r.answer(ctx, c); err != nil && ctx.Err() == nil {
		r.site.log.Error("commands: not answered; the cloud asks again", "command_id", c.ID, "kind", c.Kind, "err", err)
	}
}

// answer carries one command out and keeps what became of it.
func (r *remote) answer(ctx context.Context, c wire.Command) error {
	db := r.site.db
	var about wire.RouterCommand
	var run func(context.Context, wire.RouterCommand) (any, string, error)
	switch c.Kind {
	case wire.CommandKick:
		var b wire.KickBody
		if err := json.Unmarshal(c.Body, &b); err != nil {
			return db.FinishCommand(ctx, wire.CommandResult{ID: c.ID, State: wire.CommandRejected, Detail: "it cannot be read: " + err.Error()})
		}
		r.times.started(c.ID, r.site.wall.Now())
		return db.Kick(ctx, c.ID, b.Account)
	case wire.CommandRouterPlan:
		run = r.plan
	case wire.CommandRouterCheck:
		run = r.check
	case wire.CommandRouterApply:
		run = r.apply
	case wire.CommandRouterConfirm:
		run = r.confirm
	case wire.CommandRouterRollback:
		run = r.rollback
	default:
		return db.FinishCommand(ctx, wire.CommandResult{ID: c.ID, State: wire.CommandRejected, Code: "CLD-302",
			Detail: fmt.Sprintf("this version of iwas-agent does not know commands of kind %q", c.Kind), Next: "Update iwas-agent on the box."})
	}
	if err := json.Unmarshal(c.Body, &about); err != nil {
		return db.FinishCommand(ctx, wire.CommandResult{ID: c.ID, State: wire.CommandRejected, Detail: "it cannot be read: " + err.Error()})
	}
	begun, err := db.BeginCommand(ctx, c.ID)
	if err != nil || !begun {
		return err
	}
	r.times.started(c.ID, r.site.wall.Now())
	result := wire.CommandResult{ID: c.ID, State: wire.CommandDone}
	body, detail, err := run(ctx, about)
	if result.Detail = detail; err != nil {
		result.State, result.Code, result.Detail, result.Next = wire.CommandFailed, fault.Code(err), reason(err), fault.Hint(err)
		if refused(err) {
			result.State = wire.CommandRejected
		}
	}
	if body != nil {
		text, jerr := json.Marshal(body)
		if jerr != nil {
			return jerr
		}
		result.Body = text
	}
	r.site.log.Info("commands: carried out", "command_id", c.ID, "kind", c.Kind, "nas", about.NAS, "state", result.State, "code", result.Code)
	// The effect is there: its answer is kept also while this program stops.
	return db.FinishCommand(context.WithoutCancel(ctx), result)
}

// refusal marks an error before which nothing was tried.
type refusal struct{ error }

func (r refusal) Unwrap() error { return r.error }

func refused(err error) bool {
	_, ok := err.(refusal)
	return ok
}

// reason is an error for the console, bounded.
func reason(err error) string {
	text := err.Error()
	if len(text) > 2000 {
		text = text[:2000] + " …"
	}
	return text
}

// wantedSetup is what is wanted of a router, and who wants it: the box's own
// configuration goes first. nil: nobody wants anything.
func (s *site) wantedSetup(ctx context.Context, n nasConfig) (*wire.RouterSetup, string, error) {
	if n.Setup != nil {
		return n.Setup, wire.SetupOfBox, nil
	}
	doc, found, err := s.db.RouterSetup(ctx, hotspot.NASID(n.ID))
	if err != nil || !found {
		return nil, "", err
	}
	return &doc.RouterSetup, wire.SetupOfCloud, nil
}

// router finds a router of this box.
func (r *remote) router(nas hotspot.NASID) (nasConfig, error) {
	n, err := r.site.cfg.nas(string(nas))
	if err != nil || nas == "" {
		return n, refusal{fault.New(fault.NotFound, fmt.Sprintf("this box has no router %q", nas), err).WithCode(provision.CodeNoSetup, "iwas-agent router show lists those there are.")}
	}
	return n, nil
}

// applier finds a router and its set-up. needs says that there must be one.
func (r *remote) applier(ctx context.Context, nas hotspot.NASID, needs bool) (nasConfig, *provision.Applier, string, error) {
	n, err := r.router(nas)
	if err != nil {
		return n, nil, "", err
	}
	setup, from, err := r.site.wantedSetup(ctx, n)
	switch {
	case fault.Is(err, fault.Invalid) && needs:
		return n, nil, "", refusal{err}
	case err != nil && !fault.Is(err, fault.Invalid):
		return n, nil, "", err
	case setup == nil && needs:
		return n, nil, "", refusal{fault.New(fault.NotFound, "router "+n.ID+" has no set-up", nil).WithCode(provision.CodeNoSetup, "Say in the console what is wanted of it, or in the box's configuration under [nas.setup].")}
	case setup == nil:
		setup = &wire.RouterSetup{}
	}
	a, err := r.site.cfg.applierOf(n, *setup, r.site.paces[n.ID])
	return n, a, from, err
}

func (r *remote) plan(ctx context.Context, c wire.RouterCommand) (any, string, error) {
	n, a, from, err := r.applier(ctx, c.NAS, true)
	if err != nil {
		return nil, "", err
	}
	d, err := a.Look(ctx)
	if err != nil {
		return nil, "", err
	}
	plan := planTold(d.Plan, hotspot.NASID(n.ID), from)
	text := fmt.Sprintf("%d steps", plan.Total)
	switch {
	case len(plan.Stops) > 0:
		text = "it cannot be applied: " + plan.Stops[0].Text
	case plan.Total == 0:
		text = "nothing to do: the router is set up as wanted"
	case plan.Total == 1:
		text = "1 step"
	}
	return plan, text, nil
}

// check looks at everything between this box and a router. Rows that failed are what
// was asked for: the command is done.
func (r *remote) check(ctx context.Context, c wire.RouterCommand) (any, string, error) {
	n, err := r.router(c.NAS)
	if err != nil {
		return nil, "", err
	}
	report, err := r.site.checks.look(ctx, n, nil)
	if err != nil {
		return nil, "", err
	}
	return checkTold(report), report.Verdict, nil
}

// checkTold is a check on the wire, cut where it is too long.
func checkTold(r condition.CheckReport) wire.CheckResult {
	out := wire.CheckResult{NAS: hotspot.NASID(r.Subject), At: r.At.UTC(), TookMS: r.Took.Milliseconds(), State: string(r.State), Verdict: r.Verdict, Rows: []wire.CheckRow{}}
	for _, row := range r.Rows {
		out.Rows = append(out.Rows, wire.CheckRow{Probe: row.Probe, Title: row.Title, State: string(row.State), Code: row.Code, Seen: row.Seen, Cause: row.Cause, Next: row.Next, Command: row.Command})
	}
	return out.Fit(wire.ResultBytes)
}

// planTold is a plan on the wire, cut where it is too long.
func planTold(p provision.Plan, nas hotspot.NASID, from string) wire.PlanResult {
	out := wire.PlanResult{NAS: nas, Mode: p.Mode, RouterOS: p.Version, From: from, Key: p.Key(), Total: len(p.Steps), Steps: []wire.PlanStep{}, Notes: p.Notes}
	for _, s := range p.Steps {
		out.Steps = append(out.Steps, wire.PlanStep{Words: s.Words, Do: s.Command, Undo: s.Undo, Warning: s.Warning})
	}
	for _, s := range p.Stops {
		out.Stops = append(out.Stops, wire.PlanStop{Code: s.Code, Text: s.Text, Next: s.Next})
	}
	return out.Fit(wire.ResultBytes)
}

func (r *remote) apply(ctx context.Context, c wire.RouterCommand) (any, string, error) {
	n, a, _, err := r.applier(ctx, c.NAS, true)
	if err != nil {
		return nil, "", err
	}
	user, password, err := r.site.cfg.openLogin(n.ID)
	if err != nil {
		return nil, "", refusal{err}
	}
	a.Window = r.site.window
	a.Dial, a.User, a.Expect = r.site.cfg.dialRouter(n, user, password, r.site.paces[n.ID]), user, c.Plan
	rec, err := a.Apply(ctx)
	switch {
	case err != nil && rec.Done == 0 && (fault.Is(err, fault.Invalid) || fault.Is(err, fault.Denied) || fault.Is(err, fault.Conflict)):
		return nil, "", refusal{err}
	case err != nil:
		return applyTold(rec, n.ID), "", err
	case rec.State == provision.Waiting:
		time.AfterFunc(time.Until(rec.Deadline)+overdue, r.site.look)
		return applyTold(rec, n.ID), fmt.Sprintf("%d steps are done and read back; the router takes them back by itself unless it is confirmed in time", rec.Done), nil
	}
	return applyTold(rec, n.ID), "nothing to do: the router is set up as wanted", nil
}

// overdue is how long after a person's time was over the router is looked at.
const overdue = 3 * time.Second

// look has the set-ups compared now.
func (s *site) look() {
	select {
	case s.lookNow <- struct{}{}:
	default:
	}
}

func (r *remote) confirm(ctx context.Context, c wire.RouterCommand) (any, string, error) {
	n, a, _, err := r.applier(ctx, c.NAS, false)
	if err != nil {
		return nil, "", err
	}
	rec, err := a.Confirm(ctx)
	if fault.Is(err, fault.NotFound) {
		err = refusal{err}
	}
	if err != nil {
		return applyTold(rec, n.ID), "", err
	}
	r.site.look()
	return applyTold(rec, n.ID), "the new set-up stays", nil
}

func (r *remote) rollback(ctx context.Context, c wire.RouterCommand) (any, string, error) {
	n, a, _, err := r.applier(ctx, c.NAS, false)
	if err != nil {
		return nil, "", err
	}
	rec, err := a.Rollback(ctx)
	if fault.Is(err, fault.NotFound) {
		err = refusal{err}
	}
	if err != nil {
		return applyTold(rec, n.ID), "", err
	}
	r.site.look()
	return applyTold(rec, n.ID), fmt.Sprintf("%d steps were taken back, and the router shows it", rec.Done), nil
}

func applyTold(rec provision.Record, nas string) wire.ApplyResult {
	return wire.ApplyResult{NAS: hotspot.NASID(nas), State: string(rec.State), Steps: rec.Done, LeftS: leftToConfirm(rec)}
}

func leftToConfirm(rec provision.Record) int64 {
	if rec.State != provision.Waiting {
		return 0
	}
	return int64(max(0, time.Until(rec.Deadline)) / time.Second)
}

// setupStanding is what a hello tells of a router's set-up.
func (s *site) setupStanding(ctx context.Context, n nasConfig) *wire.SetupStanding {
	out := &wire.SetupStanding{}
	setup, from, err := s.wantedSetup(ctx, n)
	if err != nil && !fault.Is(err, fault.Invalid) {
		return nil // not known now
	}
	if setup != nil {
		out.From, out.Mode = from, setup.Mode
	}
	if rec, ok, err := provision.Keeper(s.cfg.setupFile(n.ID)).Load(); err == nil && ok {
		out.State, out.LeftS = string(rec.State), leftToConfirm(rec)
	}
	if l, ok, err := s.cfg.loginStored(n.ID); err == nil && ok {
		out.Login = l.User
	}
	return out
}

// setupAsk names a router, of whom a command asks the service what is wanted.
type setupAsk struct {
	NAS string `json:"nas"`
}

// setupDoor answers `iwas-agent router plan` and its sisters: what the cloud wants of a
// router is in the service's store.
func setupDoor(mux *http.ServeMux, db *store.DB) {
	mux.HandleFunc("POST /v1/router/setup", func(w http.ResponseWriter, r *http.Request) {
		reply(w, r, func(ctx context.Context, in setupAsk) (wire.RouterDoc, error) {
			doc, found, err := db.RouterSetup(ctx, hotspot.NASID(in.NAS))
			if err == nil && !found {
				err = fault.New(fault.NotFound, "the cloud wants nothing of router "+in.NAS, nil)
			}
			return doc, err
		})
	})
}
