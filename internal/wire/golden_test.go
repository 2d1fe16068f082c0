package wire

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

var update = flag.Bool("update", false, "write golden messages that do not exist yet")

var goldenTime = time.Date(2026, 11, 24, 8, 30, 0, 123_000_000, time.UTC)

// golden holds one message of each type and each body, every field set. A file
// once released is never edited: an agent of that version sends just this.
func golden() map[string]any {
	body := func(v any) json.RawMessage {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err)
		}
		return b
	}
	session := SessionBody{ID: "s1", Permit: "permit1", Account: "acc1", Pass: "pass1", NAS: "router1", AcctSessionID: "80a00001", Username: "amina",
		MAC: "02:00:00:00:00:01", IP: "10.5.50.7", StartedAt: goldenTime, EndedAt: goldenTime.Add(time.Hour), HeardAt: goldenTime.Add(time.Hour),
		TimeMS: 3_600_000, Upload: 5 << 30, Download: 9 << 32, State: hotspot.Closed, Cause: "User-Request"}
	proof := LockProof{Account: "acc1", Revision: 42, Reason: hotspot.OffLocked, Outcome: hotspot.OutcomeEnforced, Method: "disconnect", Code: "HSP-102", Sessions: 1,
		ReceivedAt: goldenTime, At: goldenTime.Add(20 * time.Millisecond),
		Steps: []LockStep{{Name: "disconnect", At: goldenTime, TookMS: 3.5, OK: true, Detail: "Disconnect-ACK in 3 ms"}}}
	again := proof
	again.Outcome, again.Code, again.Seq = hotspot.OutcomePending, "HSP-103", 112
	limits := LimitsBody{TimeS: 3600, Clock: hotspot.Metered, ValidityS: 86400, Rate: "2M/10M", Upload: 1, Download: 2, Total: 3, Devices: 2, IdleS: 300, AddressLists: []string{"paid"}}
	evenings := LimitsBody{Rate: "2M/10M 4M/20M 1M/5M 10/10 5 512k/1M", Total: 5_000_000_000, Hours: []string{"mon-fri 18:00-24:00", "sat,sun 10:00-02:00"},
		SlowRate: "256k/512k", DeviceSwap: hotspot.SwapMove}
	events := []Event{
		{ID: "e1", Kind: EventAgentStarted, At: goldenTime, Body: body(AgentStarted{Version: "1.0.0", Boot: "boot1"})},
		{ID: "e2", Kind: EventSessionStarted, At: goldenTime, Body: body(session)},
		{ID: "e3", Kind: EventSessionUsage, At: goldenTime, Body: body(session)},
		{ID: "e4", Kind: EventSessionStopped, At: goldenTime, Body: body(session)},
		{ID: "e5", Kind: EventPassFirstUsed, At: goldenTime, Body: body(UsageBody{Pass: "pass1", Account: "acc1", FirstUsed: goldenTime})},
		{ID: "e6", Kind: EventPassUsage, At: goldenTime, Body: body(UsageBody{Pass: "pass1", Account: "acc1", FirstUsed: goldenTime, TimeMS: 60_000, Upload: 10, Download: 20})},
		{ID: "e7", Kind: EventLockReceived, At: goldenTime, Body: body(LockReceived{Account: "acc1", Revision: 42})},
		{ID: "e8", Kind: EventLockProof, At: goldenTime, Body: body(proof)},
		{ID: "e9", Kind: EventNASRestarted, At: goldenTime, Body: body(NASRestarted{NAS: "router1", On: true})},
		{ID: "e10", Kind: EventCommandResult, At: goldenTime, Body: body(CommandResult{ID: "c1", State: "done", Code: "X", Detail: "1 session ended", At: goldenTime})},
		{ID: "e11", Kind: EventGap, At: goldenTime, Body: json.RawMessage(`{"from":5,"to":9}`)},
		{ID: "e12", Kind: EventVoid, At: goldenTime},
	}
	rate, fast := "2M/10M", "5M/20M"
	begun := session
	begun.EndedAt, begun.State, begun.Cause, begun.Rate = time.Time{}, hotspot.Live, "", &rate
	changes := []Event{
		{ID: "e13", Kind: EventSessionStarted, At: goldenTime, Body: body(begun)},
		{ID: "e14", Kind: EventAdjusted, At: goldenTime, Body: body(AdjustedBody{Account: "acc1", Pass: "pass1", By: "nadia", Reason: "waited at the counter", AskedS: 3600, TimeS: 3720, ValidityS: 3600})},
		{ID: "e15", Kind: EventAdjusted, At: goldenTime, Body: body(AdjustedBody{Account: "acc1", Pass: "pass1", By: "nadia", Rate: &fast, Once: true})},
		{ID: "e16", Kind: EventSessionChanged, At: goldenTime, Body: body(SessionChanged{Session: "s1", Account: "acc1", Wanted: fast, Rate: rate, TimeoutS: 7320,
			Outcome: hotspot.ChangeNextLogin, Code: "HSP-207", Detail: "CoA-NAK, 405 Unsupported-Service", At: goldenTime})},
	}
	grants := []Event{
		{ID: "e17", Kind: EventGrantMade, At: goldenTime, Body: body(GrantMade{ID: "g1", GrantDoc: GrantDoc{List: "staff", Address: "203.0.113.7",
			Until: goldenTime.Add(2 * time.Hour), Comment: "the accountant", By: "nadia", At: goldenTime}, LeftS: 7200})},
		{ID: "e18", Kind: EventGrantMade, At: goldenTime, Body: body(GrantMade{ID: "g2", GrantDoc: GrantDoc{List: "staff", Address: "2001:db8::/64", At: goldenTime}, LeftS: 600})},
		{ID: "e19", Kind: EventGrantRemoved, At: goldenTime, Body: body(GrantRemoved{ID: "g1", By: "nadia"})},
		{ID: "e20", Kind: EventGrantSettled, At: goldenTime, Body: body(GrantSettled{State: hotspot.GrantInList, IDs: []hotspot.GrantID{"g1", "g2"}})},
	}
	commands := []Event{
		{ID: "e21", Kind: EventCommandResult, At: goldenTime, Body: body(CommandResult{ID: "c5", State: CommandDone, Detail: "2 steps", At: goldenTime, Body: body(PlanResult{NAS: "cafe1", Mode: "radius-only",
			RouterOS: "7.24 (stable)", From: SetupOfCloud, Key: "7f3a", Total: 2, Steps: []PlanStep{{Words: "ask this box about guests", Do: "/radius/add service=hotspot", Undo: "/radius/remove", Warning: "w"}},
			Cut: 1, Stops: []PlanStop{{Code: "RTR-140", Text: "in the way", Next: "remove it"}}, Notes: []string{"left as it is"}})})},
		{ID: "e22", Kind: EventCommandResult, At: goldenTime, Body: body(CommandResult{ID: "c4", State: CommandDone, At: goldenTime, Body: body(ApplyResult{NAS: "cafe1", State: "waiting", Steps: 2, LeftS: 120})})},
	}
	nadia := Who{By: "nadia", Role: hotspot.Cashier, Via: "page"}
	counter := []Event{
		{ID: "e30", Kind: EventPlanMade, At: goldenTime, Body: body(PlanMade{ID: "plan4", PlanDoc: PlanDoc{Name: "Evening", PriceMinor: 900, Currency: "EGP", Limits: limits}, Who: nadia})},
		{ID: "e31", Kind: EventPlanRemoved, At: goldenTime, Body: body(PlanRemoved{ID: "plan4", Who: nadia})},
		{ID: "e32", Kind: EventSaleMade, At: goldenTime, Body: body(SaleMade{ID: "sale1", Account: "acc4", New: &AccountDoc{Kind: hotspot.User, Username: "mara", Note: "table 4"}, Pass: "pass4",
			PassDoc: PassDoc{Account: "acc4", Plan: "plan4", PlanName: "Evening", Limits: limits, ValidUntil: goldenTime.Add(24 * time.Hour), SoldAt: goldenTime}, Username: "mara", PriceMinor: 900, Currency: "EGP", Who: nadia})},
		{ID: "e33", Kind: EventAccountPassword, At: goldenTime, Body: body(AccountPassword{Account: "acc4", Password: "sealed1:AAAA"})},
		{ID: "e34", Kind: EventLockSet, At: goldenTime, Body: body(LockSet{Account: "acc4", Reason: "paused", At: goldenTime, Pause: true, Who: nadia})},
		{ID: "e35", Kind: EventLockLifted, At: goldenTime, Body: body(LockLifted{Account: "acc4", LockedBy: "nadia (cashier)", LockedAt: goldenTime, Reason: "back", Who: nadia})},
		{ID: "e36", Kind: EventAccountKicked, At: goldenTime, Body: body(AccountKicked{Account: "acc4", Sessions: 1, Who: nadia})},
	}
	setup := RouterSetup{Mode: "whole-cafe", BoxAddress: "192.168.99.2", BoxPort: "ether5", BoxVLAN: 99, RADIUSTimeout: "2s", CoAPort: 3799, Interim: "received", WAN: "ether1", Trunk: "ether2",
		PCPorts: []string{"ether3"}, Bridge: "bridge1", Guests: &NetworkSetup{VLAN: 20, Subnet: "10.20.0.0/22", Pool: "10.20.0.10-10.20.3.254", Lease: "1h"}, PCs: &NetworkSetup{VLAN: 10},
		Management: &NetworkSetup{VLAN: 99, Ports: []string{"ether5"}}, HotSpot: &HotSpotSetup{Server: "s", Profile: "p", DNSName: "login.example", LoginBy: []string{"http-chap"}}, Portal: "wifi.icafe.com",
		BindARP: ptr(true), IPv6: "filter", Lists: []AddressListRule{{List: "banned", Match: "src", Action: "drop"}}, Harden: ptr(false), Repair: "never"}
	docs := []Doc{
		{Kind: DocSite, ID: "site1", Rev: 1, Body: body(SiteDoc{Name: "Harbour", Organization: "Blue Cup", TimeZone: "Africa/Cairo", Currency: "EGP", Language: "ar"})},
		{Kind: DocPlan, ID: "plan1", Rev: 2, Body: body(PlanDoc{Name: "One hour", PriceMinor: 1500, Currency: "EGP", Limits: limits})},
		{Kind: DocAccount, ID: "acc1", Rev: 3, Body: body(AccountDoc{Kind: hotspot.User, Username: "amina", Password: "sealed1:AAAA", Note: "table 4"})},
		{Kind: DocPass, ID: "pass1", Rev: 3, Body: body(PassDoc{Account: "acc1", Plan: "plan1", PlanName: "One hour", Limits: limits, ValidFrom: goldenTime, ValidUntil: goldenTime.Add(24 * time.Hour), SoldAt: goldenTime})},
		{Kind: DocLock, ID: "acc1", Rev: 42, Body: body(LockDoc{By: "owner", Reason: "left without paying", At: goldenTime})},
	}
	return map[string]any{
		"events":         &Batch{V: 1, Epoch: "7hk2", First: 101, Chain: "c0ffee", At: goldenTime, Events: events},
		"events-changes": &Batch{V: 1, Epoch: "7hk2", First: 113, Chain: "c0ffee", At: goldenTime, Events: changes},
		"events-grants":  &Batch{V: 1, Epoch: "7hk2", First: 117, Chain: "c0ffee", At: goldenTime, Events: grants},
		"events-gap": &Batch{V: 1, Epoch: "9xm4", First: 1, At: goldenTime, Events: []Event{
			{ID: "e21", Kind: EventGap, At: goldenTime, Body: body(Gap{Epoch: "7hk2", First: 6, Last: 9})},
			{ID: "e22", Kind: EventGap, At: goldenTime, Body: body(Gap{Epoch: "8kf3", First: 121})}}},
		"events-counter": &Batch{V: 1, Epoch: "7hk2", First: 124, Chain: "c0ffee", At: goldenTime, Events: counter},
		"events-refused": &Batch{V: 1, Epoch: "7hk2", First: 131, Chain: "c0ffee", At: goldenTime, Events: []Event{
			{ID: "e37", Kind: EventLoginRefused, At: goldenTime, Body: body(LoginRefused{ID: "r1", NAS: "cafe1", Username: "amina", MAC: "02:00:00:00:00:01", IP: "10.5.50.7", Account: "acc1",
				Reason: hotspot.ReasonBadPassword, Detail: "the password does not match", Source: "192.0.2.1", Times: 4, At: goldenTime, Until: goldenTime.Add(3 * time.Minute)})},
			{ID: "e38", Kind: EventLoginRefused, At: goldenTime, Body: body(LoginRefused{ID: "r2", Reason: hotspot.ReasonUnknownNAS, Source: "192.0.2.9", Silent: true, Others: true, Times: 20_000, At: goldenTime})}}},
		"state-counter": &State{V: 1, Lineage: "lin1", Snapshot: "snap2", Part: 1, Parts: 1, To: 47, Docs: []Doc{{Kind: DocLock, ID: "acc4", Rev: 47,
			Body: body(LockDoc{By: "nadia (cashier)", Reason: "paused", At: goldenTime, Pause: true})}}, Hash: strings.Repeat("0a", 32), Time: goldenTime, Seen: &Seen{Epoch: "7hk2", Through: 130}},
		"state-grants": &State{V: 1, Lineage: "lin1", From: 44, To: 45, Docs: []Doc{
			{Kind: DocGrant, ID: "g1", Rev: 45, Body: body(GrantDoc{List: "staff", Address: "203.0.113.7", Until: goldenTime.Add(2 * time.Hour), Comment: "the accountant", By: "nadia", At: goldenTime})},
			{Kind: DocPlan, ID: "plan3", Rev: 45, Body: body(PlanDoc{Name: "Staff", Limits: LimitsBody{AddressLists: []string{"staff"}, ListsByAPI: true}})},
		}, Gone: []DocRef{{Kind: DocGrant, ID: "g0"}}, Hash: strings.Repeat("0a", 32), Time: goldenTime},
		"state-adjusted": &State{V: 1, Lineage: "lin1", From: 43, To: 44, Docs: []Doc{{Kind: DocPass, ID: "pass1", Rev: 44,
			Body: body(PassDoc{Account: "acc1", Plan: "plan1", PlanName: "One hour", Limits: LimitsBody{TimeS: 7320, Rate: "2M/10M", Reconnect: true}, SoldAt: goldenTime, Adjusted: []string{"e14"}})}},
			Hash: strings.Repeat("0a", 32), Time: goldenTime},
		"ack":           &Ack{V: 1, Epoch: "7hk2", Through: 112, First: 101, Time: goldenTime},
		"ack-copy":      &Ack{V: 1, Copy: "boot2", Time: goldenTime},
		"events-boot":   &Batch{V: 1, Epoch: "epoch1", First: 1, At: goldenTime, Boot: "boot1", Events: events[:1]},
		"signed":        &Signed{V: 1, Certificate: "-----BEGIN CERTIFICATE-----", Body: []byte(`{"v":1}`), Signature: []byte{0x30, 0x01}},
		"renew-request": &RenewRequest{V: 1, Version: "1.0.0", At: goldenTime},
		"renew-reply":   &RenewReply{Certificate: "-----BEGIN CERTIFICATE-----", MQTTURL: "tls://mqtt.example.com:8883", MQTTCA: "-----BEGIN CERTIFICATE-----", SealKey: "AAAA", Time: goldenTime},
		"outage":        &Outage{V: 1, Boot: "boot1", N: 3, Since: goldenTime, At: goldenTime.Add(time.Minute), Code: "CLD-101", Text: "i/o timeout"},
		"outage-reply":  &OutageReply{Time: goldenTime},
		"leave-request": &LeaveRequest{V: 1, At: goldenTime},
		"leave-reply":   &LeaveReply{Time: goldenTime},
		"ack-fork":      &Ack{V: 1, Epoch: "7hk2", Through: 90, First: 101, Fork: true, Chain: "c0ffee", Time: goldenTime},
		"hello": &Hello{V: 1, Version: "1.0.0", Boot: "boot1", Epoch: "7hk2", LastSeq: 112, AckedSeq: 100, Lineage: "lin1", Revision: 42, Hash: strings.Repeat("0a", 32),
			NotInForce: []DocRef{{Kind: DocPlan, ID: "plan9"}}, At: goldenTime, ClockTrusted: true, RouterSeenAt: goldenTime,
			Conditions: []Condition{{Code: "RTR-101", Severity: "high", Text: "router does not answer", Since: goldenTime}}, Sessions: 3, Proofs: []LockProof{proof}},
		"hello-reopened": &Hello{V: 1, Version: "1.1.0", Boot: "boot1", Epoch: "7hk2", LastSeq: 112, AckedSeq: 111, Lineage: "lin1", Revision: 42, Hash: strings.Repeat("0a", 32),
			At: goldenTime, ClockTrusted: true, Proofs: []LockProof{again}},
		"hello-routers": &Hello{V: 1, Version: "1.1.0", Boot: "boot1", Epoch: "7hk2", LastSeq: 112, AckedSeq: 112, Lineage: "lin1", Revision: 42, Hash: strings.Repeat("0a", 32),
			At: goldenTime, ClockTrusted: true, RouterSeenAt: goldenTime, Sessions: 3, Routers: []RouterHealth{
				{NAS: "cafe1", Name: "Counter", At: goldenTime.Add(-12 * time.Second), UptimeS: ptr[int64](273_600), CPU: ptr(7), Memory: ptr(32), Celsius: ptr(61.5), WANUp: ptr(true),
					Down: ptr[uint64](23_400_000), Up: ptr[uint64](4_100_000), PoolUsed: ptr(61), PoolSize: ptr(245), Foreign: ptr(0)},
				{NAS: "attic"}}},
		"hello-commands": &Hello{V: 1, Version: "1.2.0", Boot: "boot1", Epoch: "7hk2", LastSeq: 122, AckedSeq: 120, Lineage: "lin1", Revision: 46, Hash: strings.Repeat("0a", 32),
			NotInForce: []DocRef{{Kind: DocRouter, ID: "attic"}}, At: goldenTime, ClockTrusted: true,
			Commands: []CommandResult{{ID: "c2", State: CommandRunning, At: goldenTime},
				{ID: "c3", State: CommandRejected, Code: "RTR-161", Detail: "no login is stored", At: goldenTime, Next: "iwas-agent router login store cafe1"}},
			Routers: []RouterHealth{{NAS: "cafe1", Setup: &SetupStanding{From: SetupOfCloud, Mode: "radius-only", State: "waiting", LeftS: 97, Login: "admin"}}, {NAS: "attic", Setup: &SetupStanding{}}}},
		"events-commands": &Batch{V: 1, Epoch: "7hk2", First: 121, Chain: "c0ffee", At: goldenTime, Events: commands},
		"events-check": &Batch{V: 1, Epoch: "7hk2", First: 123, Chain: "c0ffee", At: goldenTime, Events: []Event{{ID: "e23", Kind: EventCommandResult, At: goldenTime,
			Body: body(CommandResult{ID: "c6", State: CommandDone, Detail: "Login: refused", At: goldenTime, Body: body(CheckResult{NAS: "cafe1", At: goldenTime, TookMS: 2100, State: "fail", Verdict: "Login: refused", Cut: 1,
				Rows: []CheckRow{{Probe: "login", Title: "Login", State: "fail", Code: "RTR-105", Seen: "refused", Cause: "another password", Next: "Set it.", Command: "/user/set iwas"}, {Probe: "tcp", Title: "Connection", State: "ok", Seen: "it answers"}}})})}}},
		"state-router": &State{V: 1, Lineage: "lin1", From: 45, To: 46, Docs: []Doc{{Kind: DocRouter, ID: "cafe1", Rev: 46, Body: body(RouterDoc{RouterSetup: setup, By: "nadia", At: goldenTime})}},
			Gone: []DocRef{{Kind: DocRouter, ID: "attic"}}, Hash: strings.Repeat("0a", 32), Time: goldenTime},
		"command-router": &Command{V: 1, ID: "c4", Kind: CommandRouterApply, IssuedAt: goldenTime, TTL: 60_000, Body: body(RouterCommand{NAS: "cafe1", Plan: "7f3a"}), Time: goldenTime},
		"presence":       &Presence{V: 1, State: hotspot.Stopped, Boot: "boot1", Conn: 7, Reason: "update", At: goldenTime},
		"state-delta":    &State{V: 1, Lineage: "lin1", From: 41, To: 42, Docs: docs, Gone: []DocRef{{Kind: DocLock, ID: "acc2"}}, Hash: strings.Repeat("0a", 32), Time: goldenTime},
		"state-limits": &State{V: 1, Lineage: "lin1", From: 42, To: 43, Docs: []Doc{
			{Kind: DocPlan, ID: "plan2", Rev: 43, Body: body(PlanDoc{Name: "Evenings", PriceMinor: 900, Currency: "EGP", Limits: evenings})},
			{Kind: DocPass, ID: "pass2", Rev: 43, Body: body(PassDoc{Account: "acc1", Plan: "plan2", PlanName: "Evenings", Limits: evenings, SoldAt: goldenTime})},
		}, Hash: strings.Repeat("0a", 32), Time: goldenTime},
		"state-snapshot": &State{V: 1, Lineage: "lin1", Snapshot: "snap1", Part: 2, Parts: 3, To: 42, Docs: docs[:1], Hash: strings.Repeat("0a", 32), Time: goldenTime},
		"state-piece": &State{V: 1, Lineage: "lin1", Snapshot: "lin1-40", Through: "42|account|acc1", After: "40|plan|plan1", Ask: true, Whole: true, To: 42, Docs: docs[:1],
			Gone: []DocRef{{Kind: DocPass, ID: "pass9"}}, Hash: strings.Repeat("0a", 32), Time: goldenTime},
		"hello-staged": &Hello{V: 1, Version: "1.3.0", Boot: "boot1", Epoch: "7hk2", LastSeq: 122, AckedSeq: 122, Lineage: "lin0", Revision: 46, Hash: strings.Repeat("0a", 32),
			At: goldenTime, ClockTrusted: true, Staged: &Staged{Snapshot: "lin1-40", Through: "42|account|acc1", Whole: true}},
		"command":       &Command{V: 1, ID: "c1", Kind: CommandKick, IssuedAt: goldenTime, TTL: 60_000, Body: body(KickBody{Account: "acc1"}), Time: goldenTime},
		"enrol-request": &EnrolRequest{V: 1, Code: "ABCDEFGH", Request: "req1", CSR: "pem", SealKey: "a2V5", Version: "1.0.0", Host: "minipc", At: goldenTime},
		"enrol-offer":   &EnrolOffer{Organization: "Blue Cup", Site: "Harbour", SiteID: "site1", ExpiresAt: goldenTime.Add(time.Hour), Time: goldenTime},
		"enrol-reply": &EnrolReply{Agent: "agentone", SiteID: "site1", Site: "Harbour", Organization: "Blue Cup", Certificate: "pem", MQTTURL: "tls://mqtt.example.com:8883",
			MQTTCA: "pem", SealKey: "a2V5", CheckNumber: "417 028", Confirmed: true, Time: goldenTime},
		"problem": &Problem{Type: "about:blank", Title: "Code expired", Status: 410, Detail: "It was for 60 minutes.", Code: "CLD-110", Next: "Make a new code."},
	}
}

func TestGoldenMessagesAreUnderstoodAndMade(t *testing.T) {
	seen := map[string]bool{}
	for name, want := range golden() {
		seen[name+".json"] = true
		path := filepath.Join("testdata", "v1", name+".json")
		b, err := os.ReadFile(path)
		if os.IsNotExist(err) && *update {
			if b, err = json.MarshalIndent(want, "", "  "); err == nil {
				err = os.WriteFile(path, append(b, '\n'), 0o644)
			}
		}
		if err != nil {
			t.Fatal(err)
		}
		var golden bytes.Buffer
		if err := json.Compact(&golden, b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		made, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, golden.Bytes()) {
			t.Errorf("%s: this build makes\n%s\nwant\n%s", name, made, golden.Bytes())
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		if err := Decode(golden.Bytes(), got); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got\n%+v\nwant\n%+v", name, got, want)
		}
	}
	files, err := os.ReadDir(filepath.Join("testdata", "v1"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !seen[f.Name()] {
			t.Errorf("testdata/v1/%s is read by no test", f.Name())
		}
	}
}

// TestGoldenBodiesAreUnderstood reads each body by its kind, so that a renamed
// field in a body fails here.
func TestGoldenBodiesAreUnderstood(t *testing.T) {
	var events []Event
	for _, name := range []string{"events.json", "events-changes.json", "events-grants.json", "events-commands.json", "events-counter.json", "events-refused.json"} {
		b, err := os.ReadFile(filepath.Join("testdata", "v1", name))
		if err != nil {
			t.Fatal(err)
		}
		var batch Batch
		if err := Decode(b, &batch); err != nil {
			t.Fatal(err)
		}
		events = append(events, batch.Events...)
	}
	bodies := map[EventKind]any{
		EventAgentStarted: &AgentStarted{}, EventSessionStarted: &SessionBody{}, EventSessionUsage: &SessionBody{}, EventSessionStopped: &SessionBody{},
		EventPassFirstUsed: &UsageBody{}, EventPassUsage: &UsageBody{}, EventLockReceived: &LockReceived{}, EventLockProof: &LockProof{},
		EventNASRestarted: &NASRestarted{}, EventCommandResult: &CommandResult{},
		EventGrantMade: &GrantMade{}, EventGrantRemoved: &GrantRemoved{}, EventGrantSettled: &GrantSettled{},
		EventAdjusted: &AdjustedBody{}, EventSessionChanged: &SessionChanged{}, EventLoginRefused: &LoginRefused{},
	}
	for _, e := range events {
		body, ok := bodies[e.Kind]
		if !ok {
			continue // gap and void: read as they are
		}
		strict := json.NewDecoder(bytes.NewReader(e.Body))
		strict.DisallowUnknownFields()
		if err := strict.Decode(body); err != nil {
			t.Errorf("%s: %v", e.Kind, err)
		}
		again, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		var compact bytes.Buffer
		if err := json.Compact(&compact, e.Body); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(again, compact.Bytes()) {
			t.Errorf("%s: got %s, want %s", e.Kind, again, compact.Bytes())
		}
		delete(bodies, e.Kind)
	}
	if len(bodies) != 0 {
		t.Errorf("no golden event of kinds %v", bodies)
	}
}

// TestFieldsOfALaterBuildAreIgnored adds a field to every object of every golden
// message, in bodies too, as a later build may: what is known here reads the same.
func TestFieldsOfALaterBuildAreIgnored(t *testing.T) {
	for name, want := range golden() {
		b, err := os.ReadFile(filepath.Join("testdata", "v1", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		var tree any
		if err := json.Unmarshal(b, &tree); err != nil {
			t.Fatal(err)
		}
		added := grow(tree)
		more, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface()
		if err := Decode(more, got); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if known(t, got) != known(t, want) || added == 0 || bytes.Count(more, []byte(`"later"`)) != added {
			t.Errorf("%s with %d more fields: got\n%s\nwant\n%s", name, added, known(t, got), known(t, want))
		}
	}
}

// grow adds a field to every object.
func grow(tree any) (added int) {
	switch v := tree.(type) {
	case map[string]any:
		for _, one := range v {
			added += grow(one)
		}
		v["later"] = []int{1}
		added++
	case []any:
		for _, one := range v {
			added += grow(one)
		}
	}
	return added
}

// bodyOf returns what a body of a kind is read into, nil for one kept as it is.
func bodyOf(kind string) any {
	switch kind {
	case string(EventAgentStarted):
		return &AgentStarted{}
	case string(EventSessionStarted), string(EventSessionUsage), string(EventSessionStopped):
		return &SessionBody{}
	case string(EventPassFirstUsed), string(EventPassUsage):
		return &UsageBody{}
	case string(EventLockReceived):
		return &LockReceived{}
	case string(EventLockProof):
		return &LockProof{}
	case string(EventLockKept):
		return &LockKept{}
	case string(EventNASRestarted):
		return &NASRestarted{}
	case string(EventCommandResult):
		return &CommandResult{}
	case string(EventGap):
		return &Gap{}
	case string(EventGrantMade):
		return &GrantMade{}
	case string(EventGrantRemoved):
		return &GrantRemoved{}
	case string(EventGrantSettled):
		return &GrantSettled{}
	case string(EventAdjusted):
		return &AdjustedBody{}
	case string(EventSessionChanged):
		return &SessionChanged{}
	case string(EventLoginRefused):
		return &LoginRefused{}
	case string(CommandKick):
		return &KickBody{}
	case "doc " + string(DocSite):
		return &SiteDoc{}
	case "doc " + string(DocPlan):
		return &PlanDoc{}
	case "doc " + string(DocAccount):
		return &AccountDoc{}
	case "doc " + string(DocPass):
		return &PassDoc{}
	case "doc " + string(DocLock):
		return &LockDoc{}
	case "doc " + string(DocGrant):
		return &GrantDoc{}
	}
	return nil
}

// known is a message as this build understands it, its bodies too.
func known(t *testing.T, message any) string {
	t.Helper()
	read := func(kind string, b json.RawMessage) json.RawMessage {
		into := bodyOf(kind)
		if into == nil || len(b) == 0 {
			return nil
		}
		if err := json.Unmarshal(b, into); err != nil {
			t.Errorf("body of %s: %v", kind, err)
		}
		if r, ok := into.(*CommandResult); ok && len(r.Body) > 0 {
			r.Body = knownResult(t, r.Body)
		}
		out, err := json.Marshal(into)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	copied := reflect.New(reflect.TypeOf(message).Elem())
	copied.Elem().Set(reflect.ValueOf(message).Elem())
	switch m := copied.Interface().(type) {
	case *Batch:
		m.Events = append([]Event(nil), m.Events...)
		for i, e := range m.Events {
			m.Events[i].Body = read(string(e.Kind), e.Body)
		}
	case *State:
		m.Docs = append([]Doc(nil), m.Docs...)
		for i, d := range m.Docs {
			m.Docs[i].Body = read("doc "+string(d.Kind), d.Body)
		}
	case *Command:
		m.Body = read(string(m.Kind), m.Body)
	}
	b, err := json.MarshalIndent(copied.Interface(), "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// knownResult is the body of a command's result as this build understands it. Its kind
// is the command's, which a message alone does not say.
func knownResult(t *testing.T, b json.RawMessage) json.RawMessage {
	t.Helper()
	var into any = &ApplyResult{}
	switch {
	case bytes.Contains(b, []byte(`"mode"`)):
		into = &PlanResult{}
	case bytes.Contains(b, []byte(`"rows"`)):
		into = &CheckResult{}
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Errorf("body of a result: %v", err)
	}
	out, err := json.Marshal(into)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// TestFieldsOfAnEarlierBuildMayBeAbsent takes each field that has a meaning when
// absent out of every golden message and body, one at a time, as a build from
// before it sends them: the rest reads the same, and the field reads as nothing.
func TestFieldsOfAnEarlierBuildMayBeAbsent(t *testing.T) {
	taken := 0
	for name, want := range golden() {
		taken += withoutEach(t, name, want)
		var bodies map[string]json.RawMessage
		switch m := want.(type) {
		case *Batch:
			bodies = map[string]json.RawMessage{}
			for _, e := range m.Events {
				bodies[string(e.Kind)] = e.Body
			}
		case *State:
			bodies = map[string]json.RawMessage{}
			for _, d := range m.Docs {
				bodies["doc "+string(d.Kind)] = d.Body
			}
		}
		for kind, b := range bodies {
			into := bodyOf(kind)
			if into == nil || len(b) == 0 {
				continue
			}
			if err := json.Unmarshal(b, into); err != nil {
				t.Fatal(err)
			}
			taken += withoutEach(t, name+" "+kind, into)
		}
	}
	if taken < 60 {
		t.Errorf("only %d fields were taken out: the golden messages hold more", taken)
	}
}

func withoutEach(t *testing.T, name string, message any) (taken int) {
	t.Helper()
	value := reflect.ValueOf(message).Elem()
	for i := range value.NumField() {
		key, options, _ := strings.Cut(value.Type().Field(i).Tag.Get("json"), ",")
		if options == "" || value.Field(i).IsZero() {
			continue // always sent, or not sent here
		}
		b, err := json.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]json.RawMessage
		if err := json.Unmarshal(b, &fields); err != nil {
			t.Fatal(err)
		}
		delete(fields, key)
		fewer, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(value.Type())
		if err := Decode(fewer, got.Interface()); err != nil {
			t.Errorf("%s without %s: %v", name, key, err)
			continue
		}
		want := reflect.New(value.Type())
		want.Elem().Set(value)
		want.Elem().Field(i).SetZero()
		if !reflect.DeepEqual(got.Interface(), want.Interface()) {
			t.Errorf("%s without %s: got\n%+v\nwant\n%+v", name, key, got.Interface(), want.Interface())
		}
		taken++
	}
	return taken
}

func TestVersionsOutsideTheRangeAreRefused(t *testing.T) {
	for _, test := range []struct {
		v  int
		ok bool
	}{{0, false}, {OldestVersion - 1, false}, {OldestVersion, true}, {Version, true}, {Version + 1, false}} {
		if got := CheckVersion(test.v) == nil; got != test.ok {
			t.Errorf("version %d: got accepted %v, want %v", test.v, got, test.ok)
		}
	}
}

func ptr[T any](v T) *T { return &v }
