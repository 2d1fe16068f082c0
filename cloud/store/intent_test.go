package store_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

func TestAccountGoesDownWithItsPassSealedToTheAgent(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		c := w.last()
		if c.site != w.site.ID || c.agent != w.agent || c.state.To != c.state.From+1 || len(c.state.Docs) != 2 {
			w.Fatalf("got change %+v, want one revision of two documents for agent %s", c, w.agent)
		}
		var doc wire.AccountDoc
		decode(w.TB, c.state.Docs[0].Body, &doc)
		if got, err := w.key.Open(doc.Password); err != nil || got != "geheim" {
			w.Errorf("got password %q (%v), want it sealed to the agent", got, err)
		}
		g := w.guest(id)
		if g.Account.Username != "amal" || g.Pass == nil || g.Pass.Limits.Time != time.Hour || g.Pass.Limits.Devices != 2 || !g.Pass.ValidUntil.Equal(w.now().Add(24*time.Hour)) {
			w.Errorf("got %+v with pass %+v, want amal with the plan's limits until tomorrow", g, g.Pass)
		}
		if g.Lock.State != hotspot.LockNone {
			w.Errorf("got lock %q, want unlocked", g.Lock.State)
		}
	})
}

func TestWhatIsHandedToTheGuest(t *testing.T) {
	onBoth(t, func(w *world) {
		create := func(n hotspot.NewAccount) (hotspot.Guest, hotspot.Password) {
			n.Site, n.Plan = w.site.ID, w.plan.ID
			id, p, err := w.db.CreateAccount(w.Context(), w.owner, n)
			must(w.TB, err)
			return w.guest(id), p
		}
		g, p := create(hotspot.NewAccount{Kind: hotspot.Voucher})
		if code := g.Account.Username; len(code) != 9 || code[4] != '-' || strings.ContainsAny(code, "0O1IL") || strings.ToUpper(code) != code || p.Reveal() != code {
			w.Errorf("got voucher %q handed out as %q, want XXXX-XXXX without look-alikes, handed out as it is", code, p.Reveal())
		}
		if g, p := create(hotspot.NewAccount{Kind: hotspot.User, Username: "nour"}); g.Account.Username != "nour" || len(p) != 8 {
			w.Errorf("got user %q with a password of %d, want nour with one of 8", g.Account.Username, len(p))
		}
		if g, p := create(hotspot.NewAccount{Kind: hotspot.Device, Username: "aabb.ccdd.ee0f"}); g.Account.Username != "AA:BB:CC:DD:EE:0F" || p != "" {
			w.Errorf("got device %q, password of %d, want AA:BB:CC:DD:EE:0F and none", g.Account.Username, len(p))
		}
	})
}

func TestAccountsThatAreRefused(t *testing.T) {
	onBoth(t, func(w *world) {
		w.user("amal")
		_, rev, hash, err := w.db.Wanted(w.Context(), w.site.ID)
		must(w.TB, err)
		for _, tt := range []struct {
			name string
			n    hotspot.NewAccount
			want fault.Kind
		}{
			{"taken name", hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: "amal", Plan: w.plan.ID}, fault.Conflict},
			{"no name", hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Plan: w.plan.ID}, fault.Invalid},
			{"control character", hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: "a\x00b", Plan: w.plan.ID}, fault.Invalid},
			{"not a MAC", hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.Device, Username: "zz", Plan: w.plan.ID}, fault.Invalid},
			{"chosen voucher", hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.Voucher, Username: "FREE", Plan: w.plan.ID}, fault.Invalid},
			{"unknown kind", hotspot.NewAccount{Site: w.site.ID, Kind: "king", Username: "a", Plan: w.plan.ID}, fault.Invalid},
			{"unknown plan", hotspot.NewAccount{Site: w.site.ID, Kind: hotspot.User, Username: "b", Plan: "none"}, fault.NotFound},
			{"unknown site", hotspot.NewAccount{Site: "none", Kind: hotspot.User, Username: "b", Plan: w.plan.ID}, fault.NotFound},
		} {
			if _, _, err := w.db.CreateAccount(w.Context(), w.owner, tt.n); !fault.Is(err, tt.want) {
				w.Errorf("%s: got %v, want kind %v", tt.name, err, tt.want)
			}
		}
		if _, after, afterHash, _ := w.db.Wanted(w.Context(), w.site.ID); after != rev || afterHash != hash {
			w.Errorf("got revision %d, want %d: a refused change leaves nothing", after, rev)
		}
	})
}

func TestAnotherOrganizationSeesAndChangesNothing(t *testing.T) {
	onBoth(t, func(w *world) {
		id := w.user("amal")
		stranger, err := w.db.EnsureOwner(w.Context(), "Red Cafe", "red@example.org", "hash")
		must(w.TB, err)
		org := stranger.Organization
		_, err = w.db.Guest(w.Context(), org, id)
		wantKind(w.TB, err, fault.NotFound)
		_, err = w.db.Site(w.Context(), org, w.site.ID)
		wantKind(w.TB, err, fault.NotFound)
		_, _, err = w.db.Guests(w.Context(), org, w.site.ID, "", 10, "")
		wantKind(w.TB, err, fault.NotFound)
		_, err = w.db.Sessions(w.Context(), org, w.site.ID, false, 10)
		wantKind(w.TB, err, fault.NotFound)
		_, err = w.db.Agents(w.Context(), org, w.site.ID)
		wantKind(w.TB, err, fault.NotFound)
		_, err = w.db.DeadEvents(w.Context(), org, w.site.ID, 10)
		wantKind(w.TB, err, fault.NotFound)
		wantKind(w.TB, w.db.Lock(w.Context(), stranger, id, ""), fault.NotFound)
		wantKind(w.TB, w.db.Unlock(w.Context(), stranger, id, ""), fault.NotFound)
		_, err = w.db.RevokeAgent(w.Context(), stranger, w.agent)
		wantKind(w.TB, err, fault.NotFound)
		_, _, err = w.db.ConfirmAgent(w.Context(), stranger, w.agent)
		wantKind(w.TB, err, fault.NotFound)
		wantKind(w.TB, w.db.AddEnrolmentCode(w.Context(), stranger, w.site.ID, []byte("x"), w.now()), fault.NotFound)
		if sites, err := w.db.Sites(w.Context(), org); err != nil || len(sites) != 0 {
			w.Errorf("got %d sites (%v), want none", len(sites), err)
		}
		if plans, err := w.db.Plans(w.Context(), org); err != nil || len(plans) != 0 {
			w.Errorf("got %d plans (%v), want none", len(plans), err)
		}
	})
}

func TestPlanReachesEverySite(t *testing.T) {
	onBoth(t, func(w *world) {
		second := w.newSite("Second St")
		before := len(w.mine)
		w.pass(time.Second)
		p, err := w.db.CreatePlan(w.Context(), w.owner, hotspot.Plan{Name: "Day"})
		must(w.TB, err)
		seen := map[hotspot.SiteID]bool{}
		for _, c := range w.mine[before:] {
			if len(c.state.Docs) == 1 && c.state.Docs[0].Kind == wire.DocPlan && c.state.Docs[0].ID == string(p.ID) {
				seen[c.site] = true
			}
		}
		if !seen[w.site.ID] || !seen[second.ID] || len(seen) != 2 {
			w.Errorf("got the plan at %v, want it at both sites", seen)
		}
		if plans, err := w.db.Plans(w.Context(), w.owner.Organization); err != nil || len(plans) != 2 || plans[0].Limits.Clock != hotspot.Metered {
			w.Errorf("got %+v (%v), want both plans with their limits, the oldest first", plans, err)
		}
	})
}

func TestPlanKeepsEveryLimit(t *testing.T) {
	onBoth(t, func(w *world) {
		w.pass(time.Second)
		want := hotspot.Limits{Hours: hotspot.Hours{{Days: hotspot.EveryDay, Begin: 22 * 60, End: 2 * 60}}, Total: 5e9, Swap: hotspot.SwapMove,
			Rate:     hotspot.RateLimit{Max: hotspot.Pair[hotspot.Rate]{Upload: 2e6, Download: 1e7}},
			SlowRate: hotspot.RateLimit{Max: hotspot.Pair[hotspot.Rate]{Upload: 1e5, Download: 2e5}}}
		made, err := w.db.CreatePlan(w.Context(), w.owner, hotspot.Plan{Name: "Night", Limits: want})
		must(w.TB, err)
		plans, err := w.db.Plans(w.Context(), w.owner.Organization)
		if err != nil || len(plans) != 2 || !reflect.DeepEqual(plans[1].Limits, want) {
			w.Errorf("got %+v (%v), want the limits of %s as they were written", plans, err, made.ID)
		}
		for name, limits := range map[string]hotspot.Limits{
			"no length of hours": {Hours: hotspot.Hours{{Days: 1, Begin: 5, End: 5}}},
			"slow without data":  {SlowRate: want.SlowRate},
			"a swap nobody has":  {Swap: "share"},
			"a list of spaces":   {AddressLists: []string{" "}},
		} {
			if _, err := w.db.CreatePlan(w.Context(), w.owner, hotspot.Plan{Name: "x", Limits: limits}); !fault.Is(err, fault.Invalid) {
				w.Errorf("%s: got %v, want a fault of kind Invalid", name, err)
			}
		}
	})
}

func TestNewAgentGetsEveryPasswordSealedToItself(t *testing.T) {
	onBoth(t, func(w *world) {
		w.user("amal")
		w.user("nour")
		old := w.agent
		agent, key := w.enrol(w.site.ID, w.owner)
		if _, err := w.db.AgentSite(w.Context(), agent); !fault.Is(err, fault.Denied) {
			w.Errorf("got %v, want an agent nobody confirmed refused", err)
		}
		w.pass(time.Second)
		_, retired, err := w.db.ConfirmAgent(w.Context(), w.owner, agent)
		must(w.TB, err)
		if len(retired) != 1 || retired[0] != old {
			w.Errorf("got retired %v, want %s", retired, old)
		}
		c := w.last()
		if c.agent != agent || len(c.state.Docs) != 2 {
			w.Fatalf("got %d documents for %s, want both accounts anew for %s", len(c.state.Docs), c.agent, agent)
		}
		for _, d := range c.state.Docs {
			var doc wire.AccountDoc
			decode(w.TB, d.Body, &doc)
			if got, err := key.Open(doc.Password); err != nil || got != "geheim" {
				w.Errorf("got %q (%v), want the password sealed to the new agent", got, err)
			}
		}
		_, err = w.db.AgentSite(w.Context(), old)
		wantKind(w.TB, err, fault.Denied)
		if site, err := w.db.AgentSite(w.Context(), agent); err != nil || site != w.site.ID {
			w.Errorf("got site %q (%v), want %q", site, err, w.site.ID)
		}
		_, _, err = w.db.ConfirmAgent(w.Context(), w.owner, old)
		wantKind(w.TB, err, fault.Conflict)
	})
}

func TestPasswordWaitsForAnAgent(t *testing.T) {
	onBoth(t, func(w *world) {
		_, err := w.db.RevokeAgent(w.Context(), w.owner, w.agent)
		must(w.TB, err)
		w.user("amal")
		c := w.last()
		var doc wire.AccountDoc
		decode(w.TB, c.state.Docs[0].Body, &doc)
		if c.agent != "" || doc.Password != "" {
			w.Errorf("got agent %q and password %q in the document, want neither", c.agent, doc.Password)
		}
	})
}

func TestOperatorsSessionsAndTokens(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx := w.Context()
		o, hash, err := w.db.OperatorByEmail(ctx, " OWNER@example.org ")
		if err != nil || o.ID != w.owner.ID || hash != "hash" || o.Role != hotspot.Owner {
			w.Errorf("got %+v %q (%v), want the owner", o, hash, err)
		}
		again, err := w.db.EnsureOwner(ctx, "Other", "owner@example.org", "other hash")
		if err != nil || again != w.owner {
			w.Errorf("got %+v (%v), want the owner as made first", again, err)
		}
		if _, hash, _ := w.db.OperatorByEmail(ctx, "owner@example.org"); hash != "hash" {
			w.Error("a second start changed the owner's password")
		}
		_, _, err = w.db.OperatorByEmail(ctx, "nobody@example.org")
		wantKind(w.TB, err, fault.NotFound)

		_, err = w.db.CreateOperatorSession(ctx, o.ID, []byte("cookie"), w.now().Add(time.Hour))
		must(w.TB, err)
		if got, err := w.db.OperatorBySession(ctx, []byte("cookie")); err != nil || got != o {
			w.Errorf("got %+v (%v), want the owner", got, err)
		}
		w.pass(time.Hour)
		_, err = w.db.OperatorBySession(ctx, []byte("cookie"))
		wantKind(w.TB, err, fault.NotFound)
		_, err = w.db.CreateOperatorSession(ctx, o.ID, []byte("cookie2"), w.now().Add(time.Hour))
		must(w.TB, err)
		must(w.TB, w.db.DeleteOperatorSession(ctx, []byte("cookie2")))
		_, err = w.db.OperatorBySession(ctx, []byte("cookie2"))
		wantKind(w.TB, err, fault.NotFound)

		must(w.TB, w.db.CreateToken(ctx, o, []byte("token"), "demo"))
		must(w.TB, w.db.CreateToken(ctx, o, []byte("token"), "demo"))
		if got, err := w.db.OperatorByToken(ctx, []byte("token")); err != nil || got != o {
			w.Errorf("got %+v (%v), want the owner", got, err)
		}
		_, err = w.db.OperatorByToken(ctx, []byte("cookie"))
		wantKind(w.TB, err, fault.NotFound)
	})
}
