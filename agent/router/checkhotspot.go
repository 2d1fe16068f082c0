package router

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"iwas/internal/condition"
	"iwas/internal/routeros"
)

// hotspot finds the servers in force, and whether their profiles ask us.
func (a *asker) hotspot(ctx context.Context) error {
	all, err := a.print(ctx, "/ip/hotspot", ".id,name,interface,profile,disabled,invalid")
	if err != nil && routeros.ReasonOf(err) != routeros.NoSuchCommand {
		return err
	}
	servers := enabled(all)
	if len(servers) == 0 {
		row := condition.CheckRow{Probe: "hotspot", State: condition.Fail, Code: CodeNoHotSpot, Seen: "no HotSpot server is set up"}
		if len(all) > 0 {
			row.Seen = fmt.Sprintf("HotSpot server %s on %s is disabled, or its interface is gone", all[0]["name"], all[0]["interface"])
			row.Command = "/ip/hotspot/enable [find name=" + quoted(all[0]["name"]) + "]"
		} else if err != nil {
			row.Seen = "this RouterOS has no HotSpot: its package is missing"
			row.Command = "/system/package/print"
		}
		a.set(row)
		a.set(condition.CheckRow{Probe: "hotspot-profile", State: condition.Skipped, Seen: "needs a HotSpot server"})
		return nil
	}
	var names []string
	for _, s := range servers {
		names = append(names, s["name"]+" on "+s["interface"])
	}
	a.good("hotspot", "%s", listed(names))
	profiles, err := a.print(ctx, "/ip/hotspot/profile", "")
	if err != nil {
		return err
	}
	worst := condition.CheckRow{Probe: "hotspot-profile", State: condition.OK}
	for _, p := range profiles {
		for _, s := range servers {
			if s["profile"] == p["name"] {
				worst = worse(worst, judgeProfile(p))
				break
			}
		}
	}
	if worst.Seen == "" {
		return oddAnswer{"/ip/hotspot/profile", "the profile of the HotSpot server is in none of its rows"}
	}
	worst.Probe = "hotspot-profile"
	a.set(worst)
	return nil
}

// worse returns the row to be shown of two about the same.
func worse(a, b condition.CheckRow) condition.CheckRow {
	rank := map[condition.Mark]int{condition.OK: 1, condition.Warn: 2, condition.Fail: 3}
	if a.Seen == "" || rank[b.State] > rank[a.State] {
		return b
	}
	return a
}

// judgeProfile judges a profile of the HotSpot server.
func judgeProfile(p routeros.Row) condition.CheckRow {
	set := "/ip/hotspot/profile/set [find name=" + quoted(p["name"]) + "] "
	say := func(state condition.Mark, code, seen, command string) condition.CheckRow {
		return condition.CheckRow{State: state, Code: code, Seen: p["name"] + ": " + seen, Command: set + command}
	}
	interim := p["radius-interim-update"]
	switch {
	case p["use-radius"] != "yes" && !flag(p["use-radius"]):
		return say(condition.Fail, CodeNotRADIUS, "use-radius is "+orNone(p["use-radius"])+": this box is never asked", "use-radius=yes radius-accounting=yes radius-interim-update=received")
	case !flag(p["radius-accounting"]):
		return say(condition.Fail, CodeNoUsage, "radius-accounting is "+orNone(p["radius-accounting"])+": usage is not reported", "radius-accounting=yes")
	case interim != "received" && interim != "" && interim != "0s":
		return say(condition.Warn, CodeNoUsage, "radius-interim-update is "+interim+": it overrides the interval this box asks for", "radius-interim-update=received")
	case !has(p["login-by"], "http-chap") && !has(p["login-by"], "http-pap") && !has(p["login-by"], "https"):
		return say(condition.Warn, CodeNoPage, "login-by is "+orNone(p["login-by"])+": nobody can type a name and a password", "login-by=http-chap,http-pap,mac-cookie,cookie")
	}
	return condition.CheckRow{State: condition.OK, Seen: fmt.Sprintf("%s: RADIUS with accounting, interim %s, login by %s", p["name"], orNone(interim), p["login-by"])}
}

func orNone(s string) string {
	if s == "" {
		return "not set"
	}
	return s
}

// userProfile looks at the profile that guests of RADIUS get: what it limits
// counts beside the plan.
func (a *asker) userProfile(ctx context.Context) error {
	rows, err := a.print(ctx, "/ip/hotspot/user/profile", "", "?name=default")
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		a.set(condition.CheckRow{Probe: "user-profile", State: condition.Unknown, Code: CodeOwnLimits, Seen: "no user profile is called default", Command: "/ip/hotspot/user/profile/print"})
		return nil
	}
	p := rows[0]
	var limits, undo []string
	if p["rate-limit"] != "" {
		limits, undo = append(limits, "rate-limit "+p["rate-limit"]), append(undo, `rate-limit=""`)
	}
	if d, err := routeros.ParseDuration(p["session-timeout"]); err == nil && d > 0 {
		limits, undo = append(limits, "session-timeout "+p["session-timeout"]), append(undo, "session-timeout=0s")
	}
	if len(limits) > 0 {
		a.set(condition.CheckRow{Probe: "user-profile", State: condition.Warn, Code: CodeOwnLimits, Seen: "default sets " + listed(limits),
			Command: "/ip/hotspot/user/profile/set [find name=default] " + strings.Join(undo, " ")})
		return nil
	}
	a.good("user-profile", "default adds no limits; keepalive %s, idle %s", orNone(p["keepalive-timeout"]), orNone(p["idle-timeout"]))
	return nil
}

// wayRows are the rows of what leads past the HotSpot.
var wayRows = map[string]string{CodeFasttrack: "fasttrack", CodeIPv6: "ipv6", CodeTrial: "trial", CodeGarden: "walled-garden"}

// ways looks for what leads past the HotSpot, as before each lock.
func (a *asker) ways(ctx context.Context) error {
	g, err := explore(ctx, a.l)
	if err != nil {
		return err
	}
	for _, w := range g.ways {
		a.set(condition.CheckRow{Probe: wayRows[w.code], State: condition.Fail, Code: w.code, Seen: w.text, Command: wayCommands[w.code]})
	}
	a.good("fasttrack", "connections of guests are not fasttracked")
	a.good("ipv6", "guests have no way out over IPv6")
	a.good("trial", "no profile in use offers a trial")
	a.good("walled-garden", "no rule lets guests browse without a login")
	return nil
}

// wayCommands show what each way is made of.
var wayCommands = map[string]string{
	CodeFasttrack: "/ip/firewall/filter/print where chain=forward",
	CodeIPv6:      "/ipv6/address/print where global",
	CodeTrial:     "/ip/hotspot/profile/print",
	CodeGarden:    "/ip/hotspot/walled-garden/ip/print detail where action=accept",
}

// bindings looks for bypassed ip-bindings that let more than one device through.
func (a *asker) bindings(ctx context.Context) error {
	rows, err := a.print(ctx, "/ip/hotspot/ip-binding", ".id,mac-address,address,type,bypassed,disabled")
	if err != nil {
		return err
	}
	single := 0
	var wide []string
	for _, r := range rows {
		switch {
		case !parseBinding(r).open:
		case oneDevice(r):
			single++
		default:
			wide = append(wide, orNone(r["address"]))
		}
	}
	if len(wide) > 0 {
		a.set(condition.CheckRow{Probe: "bindings", State: condition.Fail, Code: CodeBinding, Command: "/ip/hotspot/ip-binding/print where type=bypassed",
			Seen: "a bypassed binding is for no one device: its address is " + listed(wide)})
		return nil
	}
	a.good("bindings", "%d bypassed, each of one device", single)
	return nil
}

// oneDevice reports whether a binding is of one MAC or one address.
func oneDevice(r routeros.Row) bool {
	if !mac(r["mac-address"]).IsZero() {
		return true
	}
	at, err := netip.ParseAddr(r["address"])
	return err == nil && !at.IsUnspecified()
}
