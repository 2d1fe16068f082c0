package console

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// setupsOfFake are the routers' set-ups of the fake: one applied from here and waiting
// for a confirmation, one of the box's own, one that the site cannot take.
func (f *fakeCloud) setupsOfFake() {
	doc := wire.RouterDoc{RouterSetup: wire.RouterSetup{Mode: "whole-cafe", PCPorts: []string{"ether3", "ether4"}, Portal: "wifi.icafe.com", Lists: []wire.AddressListRule{{List: "banned", Match: "src", Action: "drop"}}},
		By: "owner@cafe.example", At: noon.Add(-20 * time.Minute)}
	f.setups = map[string]wire.RouterDoc{"main counter": doc, "main attic": doc, "harbour pier": doc}
	for i := range f.sites {
		st := &f.sites[i]
		for j := range st.Routers {
			switch r := &st.Routers[j]; r.NAS {
			case "counter":
				r.Setup = &hotspot.SetupStanding{From: "cloud", Mode: "whole-cafe", Login: "admin"}
			case "attic":
				r.Setup = &hotspot.SetupStanding{From: "box", Mode: "radius-only", State: "confirmed"}
			}
		}
	}
	plan := wire.PlanResult{NAS: "counter", Mode: "whole-cafe", RouterOS: "7.24 (stable)", From: "cloud", Key: "7f3a11aa", Total: 3, Cut: 1, Steps: []wire.PlanStep{
		{Words: "make the bridge iwas-bridge, without VLANs yet", Do: "/interface/bridge/add name=iwas-bridge vlan-filtering=no comment=\"iwas:bridge\"", Undo: "/interface/bridge/remove [find comment=\"iwas:bridge\"]"},
		{Words: "guests never reach PCs", Do: "/ip/firewall/filter/add chain=forward action=drop in-interface=vlan20-guest out-interface=vlan10-pc comment=\"iwas:guest-pc\" place-before=0", Undo: "/ip/firewall/filter/remove [find comment=\"iwas:guest-pc\"]", Warning: "connections between the two end"}},
		Notes: []string{"the rule \"defconf: drop invalid\" of somebody else stays where it is"}}
	body, err := json.Marshal(plan)
	if err != nil {
		panic(err) // strings and numbers
	}
	c := func(id, kind string, state hotspot.CommandState, ago time.Duration, detail string) hotspot.Command {
		return hotspot.Command{ID: id, Site: "main", Kind: kind, Subject: "counter", Body: "{}", By: "owner@cafe.example", AskedAt: noon.Add(-ago), ExpiresAt: noon.Add(time.Minute - ago), State: state, SentAt: noon.Add(-ago), EndedAt: noon.Add(2*time.Second - ago), Detail: detail}
	}
	made := c("c2", "router.plan", hotspot.CommandExecuted, 5*time.Minute, "3 steps")
	made.Result = string(body)
	refused := c("c1", "router.apply", hotspot.CommandRejected, 15*time.Minute, "no login with all rights is stored on the box for counter")
	refused.Code, refused.Next = "RTR-161", "On the box: iwas-agent router apply counter, which asks for the login and forgets it."
	check := wire.CheckResult{NAS: "counter", At: noon.Add(-20 * time.Minute), TookMS: 2100, State: "fail", Verdict: "RADIUS entry: timeout is 300ms (and 1 more)", Cut: 1, Rows: []wire.CheckRow{
		{Probe: "login", Title: "Login", State: "ok", Seen: "as iwas, of group iwas"},
		{Probe: "radius", Title: "RADIUS entry", State: "fail", Code: "RTR-121", Seen: "timeout is 300ms", Cause: "A login that waits for the disk is given up too early.", Next: "Set the timeout to 3 seconds.", Command: "/radius/set [find address=192.168.88.2] timeout=3s"},
		{Probe: "license", Title: "License", State: "unknown", Seen: "it was not come to"},
		{Probe: "bindings", Title: "Bypassed bindings", State: "warn", Code: "RTR-133", Seen: "1 device goes past the HotSpot"},
		{Probe: "trial", Title: "Trial logins", State: "skipped", Seen: "no HotSpot server"}}}
	if body, err = json.Marshal(check); err != nil {
		panic(err) // strings and numbers
	}
	checked := c("c0", "router.check", hotspot.CommandExecuted, 20*time.Minute, check.Verdict)
	checked.Result = string(body)
	f.commands = []hotspot.Command{made, refused, checked}
}

// waiting has an application of the counter's router wait to be confirmed.
func (f *fakeCloud) waiting() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i := range f.sites {
		for j := range f.sites[i].Routers {
			if r := &f.sites[i].Routers[j]; r.NAS == "counter" {
				r.Setup = &hotspot.SetupStanding{From: "cloud", Mode: "whole-cafe", State: "waiting", Left: 110 * time.Second, Login: "admin"}
			}
		}
	}
	f.commands = append([]hotspot.Command{{ID: "c3", Site: "main", Kind: "router.apply", Subject: "counter", By: "owner@cafe.example", AskedAt: noon.Add(-40 * time.Second), ExpiresAt: noon, State: hotspot.CommandExecuted,
		EndedAt: noon.Add(-23 * time.Second), Detail: "3 steps are done and read back", Result: `{"nas":"counter","state":"waiting","steps":3,"left_s":120}`}}, f.commands...)
}

func (f *fakeCloud) Commands(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, subject string, limit int) (out []hotspot.Command, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.commands {
		if c.Site == site && (subject == "" || c.Subject == subject) && len(out) < limit && slices.ContainsFunc(f.sites, func(s hotspot.SiteStatus) bool { return s.Site.ID == site && s.Site.Organization == org }) {
			out = append(out, c)
		}
	}
	return out, nil
}

func (f *fakeCloud) Command(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, id string) (hotspot.Command, error) {
	all, err := f.Commands(ctx, org, site, "", 1000)
	for _, c := range all {
		if c.ID == id {
			return c, err
		}
	}
	return hotspot.Command{}, gone("command")
}

func (f *fakeCloud) RouterSetup(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID, nas hotspot.NASID) (wire.RouterDoc, int64, bool, error) {
	if _, err := f.Site(ctx, org, site); err != nil {
		return wire.RouterDoc{}, 0, false, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	doc, ok := f.setups[string(site)+" "+string(nas)]
	return doc, 41, ok, nil
}

func (f *fakeCloud) SetRouterSetup(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, nas hotspot.NASID, setup *wire.RouterSetup) error {
	if _, err := f.Site(ctx, actor.Organization, site); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key := string(site) + " " + string(nas)
	if setup == nil {
		delete(f.setups, key)
		f.calls = append(f.calls, fmt.Sprintf("forget setup of %s by %s", key, actor.Role))
		return nil
	}
	b, err := json.Marshal(setup)
	f.calls = append(f.calls, fmt.Sprintf("setup of %s %s by %s", key, b, actor.Role))
	f.setups[key] = wire.RouterDoc{RouterSetup: *setup, By: actor.Email, At: noon}
	return err
}

func (f *fakeCloud) Ask(ctx context.Context, actor hotspot.Operator, c hotspot.Command, ttl time.Duration) (hotspot.Command, error) {
	if _, err := f.Site(ctx, actor.Organization, c.Site); err != nil {
		return c, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return c, f.fail
	}
	f.calls = append(f.calls, fmt.Sprintf("%s %s %s for %s by %s", c.Kind, c.Subject, c.Body, ttl, actor.Role))
	c.ID, c.By, c.AskedAt, c.ExpiresAt, c.State = fmt.Sprint("new", len(f.commands)), actor.Email, noon, noon.Add(ttl), hotspot.CommandQueued
	f.commands = append([]hotspot.Command{c}, f.commands...)
	return c, nil
}
