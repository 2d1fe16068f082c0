package main

import (
	"cmp"
	"context"
	"slices"
	"time"
	_ "time/tzdata" // the site lives in a zone of its own; small machines have no zone files

	"iwas/agent/radius"
	"iwas/agent/router"
	"iwas/agent/statuspage"
	"iwas/agent/store"
	"iwas/agent/uplink"
	"iwas/internal/buildinfo"
	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/metrics"
	"iwas/internal/webui"
)

const (
	rejectsRead = 200 // many of them are devices that only appeared
	locksShown  = 50
)

// snapshot gathers what every part says of itself.
func (s *site) snapshot(ctx context.Context) statuspage.Snapshot {
	out := statuspage.Snapshot{At: s.wall.Now(), Version: buildinfo.Version(), Started: s.started, Agent: string(s.identity.Agent), Site: s.identity.SiteName}
	out.Store.DiskFree = diskFree(s.cfg.StateDir)
	for _, n := range s.cfg.NAS {
		out.Routers = append(out.Routers, statuspage.Router{NAS: hotspot.NASID(n.ID), Name: nameOf(n), API: n.Router.URL != ""})
		if k, ok := s.checks.Last(hotspot.NASID(n.ID)); ok {
			out.Routers[len(out.Routers)-1].Check = &k
		}
	}
	if k, ok := s.checks.Last(thisBox); ok {
		out.Check = &k
	}
	out.Findings = append(s.setups.Findings(), s.wall.findings()...)
	if file := s.cfg.Status.MetricsTokenFile; file != "" {
		if _, err := metrics.ReadToken(file); err != nil {
			out.Findings = append(out.Findings, condition.Finding{Code: metrics.CodeTokenFile, Text: err.Error()})
		}
	}
	if s.db == nil {
		out.Store.Problem, out.Store.Next, out.Store.Code = s.dbErr.Error(), fault.Hint(s.dbErr), fault.Code(s.dbErr)
		_, err := uplink.LoadIdentity(s.cfg.StateDir)
		out.Cloud.Enrolled = err == nil // the link waits for the database
		return out
	}
	out.Findings = append(out.Findings, s.careFindings(out.At)...)
	out.Findings = append(out.Findings, s.edlFindings(out.At)...)
	s.storeFacts(ctx, &out)
	s.radiusFacts(&out)
	s.routerFacts(&out)
	s.cloudFacts(&out)
	return out
}

func nameOf(n nasConfig) string {
	if n.Name != "" {
		return n.Name
	}
	return n.ID
}

func (s *site) storeFacts(ctx context.Context, out *statuspage.Snapshot) {
	fail := func(err error) {
		if fault.Code(err) == store.CodeNoRoom && out.Store.Open { // likewise
			return
		}
		out.Store.Open, out.Store.Problem, out.Store.Next, out.Store.Code = false, err.Error(), fault.Hint(err), fault.Code(err)
	}
	c, err := s.db.Counts(ctx)
	if known := s.counts.Load(); fault.Code(err) == store.CodeNoRoom && known != nil { // it is open, and tells what it can: see careFindings
		c, err = *known, nil
	}
	if err != nil {
		fail(err)
		return
	}
	s.counts.Store(&c)
	out.Store.Open, out.Store.Bytes, out.Store.Accounts = true, c.Bytes, c.Accounts
	if c.Accounts == 0 {
		if plans, err := s.db.Plans(ctx); err != nil {
			fail(err)
		} else if len(plans) > 0 {
			out.Store.Plan = plans[0].Name
		}
	}
	if _, err := s.db.WriteTrouble(); err != nil && fault.Code(err) != store.CodeNoRoom { // a full disk keeps few out: see careFindings
		out.Store.Unwritable, out.Store.UnwritableNext = err.Error(), "Free room on the disk of "+s.cfg.StateDir+", or look why it takes no write: dmesg | tail"
	}
	out.Outbox = statuspage.Outbox{Waiting: c.Waiting, Oldest: c.OldestWaits, Full: c.LogFull, Folded: c.Folded}
	out.Cloud.Revision, out.Cloud.NotInForce = c.Revision, c.NotInForce
	out.Site, out.TimeZone = cmp.Or(c.Site, out.Site), c.TimeZone
	sessions, err := s.db.OpenSessions(ctx)
	if err != nil {
		fail(err)
	}
	routers := s.enforcer.Health()
	if out.Foreign, err = s.strangers(ctx, routers, sessions); err != nil {
		fail(err)
	}
	for _, x := range sessions {
		one := statuspage.Session{Username: x.Username, MAC: x.MAC.Masked(), NAS: x.NAS, State: x.State, StartedAt: x.StartedAt, HeardAt: x.HeardAt,
			Upload: x.Upload, Download: x.Download}
		if x.IP.IsValid() {
			one.IP = x.IP.String()
		}
		if x.Rate != nil {
			rate := x.Rate.String()
			one.Rate = &rate
		}
		one.Queue, one.QueueAt = queueOf(routers, x)
		one.Device = deviceOf(routers, x)
		out.Sessions = append(out.Sessions, one)
	}
	rejects, err := s.db.Rejects(ctx, rejectsRead)
	if err != nil {
		fail(err)
	}
	for _, r := range rejects {
		out.Rejects = append(out.Rejects, rejectOf(r))
	}
	locks, err := s.db.Locks(ctx, locksShown)
	if err != nil {
		fail(err)
	}
	for _, l := range locks {
		row := statuspage.Lock{Username: l.Username, Reason: l.Reason, By: l.By, AskedAt: l.At, ReceivedAt: l.ReceivedAt, Outcome: l.Outcome}
		if l.Outcome.Final() {
			row.EndedAt = l.ProvenAt
		}
		out.Locks = append(out.Locks, row)
	}
	s.lockFacts(out, locks, sessions)
	if out.Commands, err = s.commandFacts(ctx); err != nil {
		fail(err)
	}
}

// lockFacts adds what the reconciler knows of those who must be off.
func (s *site) lockFacts(out *statuspage.Snapshot, locks []store.LockInfo, sessions []hotspot.Session) {
	ways, looked := map[hotspot.AccountID][]router.Way{}, true
	for _, h := range s.enforcer.Health() {
		looked = looked && (!h.API || h.Reachable && !h.WaysAt.IsZero())
		for _, w := range h.Ways {
			ways[w.Account] = append(ways[w.Account], w)
		}
	}
	names := map[hotspot.AccountID]string{}
	for _, x := range sessions {
		names[x.Account] = x.Username
	}
	waiting := map[hotspot.AccountID]router.Waiting{}
	list := s.enforcer.Waiting()
	for _, w := range list {
		waiting[w.Account] = w
	}
	for i, l := range locks {
		names[l.Account] = l.Username
		row := &out.Locks[i]
		if w, ok := waiting[l.Account]; ok && w.Lock && !l.Outcome.Final() {
			row.Tries, row.Code, row.Problem = w.Tries, w.Code, w.Err
		}
		if l.Outcome == hotspot.OutcomeLeaks {
			row.Code, row.Problem = leakNow(append(ways[l.Account], ways[""]...), looked)
		}
	}
	slices.SortFunc(list, func(a, b router.Waiting) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(a.Account, b.Account))
	})
	for _, w := range list {
		out.Waiting = append(out.Waiting, statuspage.Waiting{Username: names[w.Account], Lock: w.Lock, Since: w.Since, Tries: w.Tries, Code: w.Code, Problem: w.Err})
	}
}

// leakNow says what leads past a lock that ended with a leak, as the routers are
// now: what was found then may be closed since.
func leakNow(open []router.Way, looked bool) (code, problem string) {
	switch {
	case len(open) > 0:
		c, _ := condition.Lookup(open[0].Code)
		return open[0].Code, cmp.Or(c.Title, open[0].Text)
	case looked:
		return "", "No way round is seen any more. It is being proven anew."
	}
	return "", ""
}

func (s *site) radiusFacts(out *statuspage.Snapshot) {
	select {
	case <-s.radius.Ready():
		out.RADIUS.Bound = true
	default:
	}
	st := s.radius.Stats()
	out.RADIUS.Addresses = joinHostPorts(s.cfg.RADIUS.Auth, s.cfg.RADIUS.Acct)
	out.RADIUS.P95 = st.P95
	for _, n := range st.NASes {
		if n.NAS == loopbackNAS { // this box's own tests say nothing of the routers
			continue
		}
		if n.LastAnswer.After(out.RADIUS.LastAnswer) {
			out.RADIUS.LastAnswer = n.LastAnswer
		}
		for i := range out.Routers {
			if r := &out.Routers[i]; r.NAS == n.NAS {
				r.SignsRequests, r.PreviousSecret, r.PreviousUntil = n.SignsRequests, n.Previous, n.PreviousUntil
				if s.isOne(n.NAS) {
					r.ProvenAt = n.ProvenAt
				}
			}
		}
	}
	socketFacts(st.Sockets, &out.RADIUS)
	if st.BindErr != nil {
		out.RADIUS.Bound, out.RADIUS.Problem, out.RADIUS.Next = false, st.BindErr.Error(), fault.Hint(st.BindErr)
	}
	for _, c := range st.Counts {
		switch {
		case c.NAS == loopbackNAS:
		case c.Result == "dropped":
			out.RADIUS.Dropped += c.N
		case c.Kind == "access" && c.Result == "accept":
			out.RADIUS.Accepts += c.N
		case c.Kind == "access" && c.Result != "repeated":
			out.RADIUS.Rejects += c.N
		case c.Kind == "accounting":
			out.RADIUS.Accounting += c.N
		}
	}
	for _, o := range st.Offenders {
		out.RADIUS.Offenders = append(out.RADIUS.Offenders, statuspage.Offender{Source: o.Source.String(), NAS: o.NAS, Reason: o.Reason, Meaning: o.Meaning(), N: o.N, Last: o.Last})
	}
}

// isOne reports whether a NAS is one router, by the one address it may have: of
// several that share a section one may have the secret and another not.
func (s *site) isOne(id hotspot.NASID) bool {
	for _, n := range s.nases {
		if n.ID == id {
			return n.Network.IsSingleIP() && len(n.Also) == 0
		}
	}
	return false
}

// socketFacts sums up the sockets: what is lost is known if each counts it, and
// the smallest buffer is full first.
func socketFacts(sockets []radius.SocketStats, out *statuspage.RADIUS) {
	out.LostKnown = len(sockets) > 0
	for _, k := range sockets {
		out.Lost += k.Lost
		out.LostKnown = out.LostKnown && k.LostKnown
		if k.Buffer > 0 && (out.Buffer == 0 || k.Buffer < out.Buffer) {
			out.Buffer = k.Buffer
		}
		if k.LostAt.After(out.LostAt) {
			out.LostAt = k.LostAt
		}
	}
}

// heard is the part of a snapshot that tells of packets.
func (s *site) heard(context.Context) (statuspage.Snapshot, error) {
	out := statuspage.Snapshot{At: s.wall.Now()}
	for _, n := range s.cfg.NAS {
		out.Routers = append(out.Routers, statuspage.Router{NAS: hotspot.NASID(n.ID)})
	}
	s.radiusFacts(&out)
	return out, nil
}

func (s *site) routerFacts(out *statuspage.Snapshot) {
	for _, h := range s.enforcer.Health() {
		for i := range out.Routers {
			r := &out.Routers[i]
			if r.NAS != h.NAS {
				continue
			}
			r.Reachable, r.SeenAt, r.Identity, r.Version, r.Board, r.Uptime = h.Reachable, h.SeenAt, h.Identity, h.Version, h.Board, h.Uptime
			r.Problem, r.Code, r.Next, r.Silent = h.Err, h.Code, h.Hint, h.Silent
			r.WaysAt = h.WaysAt
			if l := h.Lists; l.Wanted > 0 || !l.Late.IsZero() {
				r.Lists = &statuspage.Lists{Wanted: l.Wanted, In: l.In, Foreign: l.Foreign, LateSince: l.Late, Problem: l.Err}
			}
			if h.API {
				r.Health = healthOf(h.Vitals)
			}
			for _, w := range h.Ways {
				r.Ways = append(r.Ways, statuspage.Way{Code: w.Code, Text: w.Text})
			}
		}
	}
}

func (s *site) cloudFacts(out *statuspage.Snapshot) {
	if s.uplink == nil {
		return
	}
	u := s.uplink.Status()
	out.Cloud.Enrolled, out.Cloud.Connected, out.Cloud.Since, out.Cloud.LastContact = true, u.Connected, u.Since, u.LastContact
	out.Cloud.OffsetMS, out.Cloud.OffsetKnown = u.ClockOffset.Milliseconds(), u.ClockKnown
	out.Cloud.Problem, out.Cloud.Code = u.Problem, u.Code
	if s.renewer == nil {
		return
	}
	if text := s.renewer.Trouble(); text != "" {
		out.Findings = append(out.Findings, condition.Finding{Code: "CLD-111", Text: text})
	}
	if seen := u.CopySeen; !seen.IsZero() && out.At.Sub(seen) < copyShown {
		out.Findings = append(out.Findings, condition.Finding{Code: "CLD-104", Text: "the cloud heard it " + webui.Age(out.At.Sub(seen)) + " and refuses it"})
	}
}

// copyShown is how long after the cloud last heard a second copy of this box people
// are told: a copy that is left on is refused again and again.
const copyShown = 24 * time.Hour
