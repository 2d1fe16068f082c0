package router

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/routeros"
)

// oldest is the oldest RouterOS this program is made for.
var oldest = [2]int{7, 16}

const (
	clockApart  = 5 * time.Second // the router tells whole seconds, and an answer takes time
	fewSessions = checkLanes + 3  // connections of the service, of a check, and of a person
)

// policies are the rights the service user's group needs, and what for.
var policies = []struct{ name, why string }{
	{"read", "to read sessions and settings"}, {"write", "to end sessions and to keep address-lists"},
	{"sensitive", "to compare the RADIUS secret"}, {"test", "to measure and to fetch"},
}

// rights compares the group's policies with what is needed.
func (a *asker) rights(ctx context.Context) error {
	row := condition.CheckRow{Probe: "rights", State: condition.Fail, Code: routeros.CodeRightMissing}
	users, err := a.print(ctx, "/user", ".id,name,group", "?name="+a.API.User)
	if routeros.ReasonOf(err) == routeros.NoRights {
		row.Seen = "the group lacks read (" + policies[0].why + "): without it nothing more can be said of the others"
		row.Command = "/user/group/set [find name=iwas] policy=" + a.wanted()
		a.set(row)
		return nil
	}
	if err != nil {
		return err
	}
	if len(users) != 1 {
		return oddAnswer{"/user", fmt.Sprintf("%d users are called %s", len(users), a.API.User)}
	}
	groups, err := a.print(ctx, "/user/group", ".id,name,policy", "?name="+users[0]["group"])
	if err != nil {
		return err
	}
	if len(groups) != 1 {
		return oddAnswer{"/user/group", fmt.Sprintf("%d groups are called %s", len(groups), users[0]["group"])}
	}
	group := groups[0]
	var lacks, named []string
	for _, p := range policies {
		if !has(group["policy"], p.name) {
			lacks, named = append(lacks, p.name), append(named, p.name+" ("+p.why+")")
		}
	}
	if len(lacks) == 0 {
		a.good("rights", "group %s has %s", group["name"], strings.ReplaceAll(a.wanted(), ",", ", "))
		return nil
	}
	row.Seen = fmt.Sprintf("group %s lacks %s", group["name"], listed(named))
	row.Command = "/user/group/set [find name=" + quoted(group["name"]) + "] policy=" + a.wanted()
	a.set(row)
	return nil
}

// wanted is the policy list a group needs for the door in use.
func (a *asker) wanted() string {
	door := "api"
	if d, err := routeros.DoorOf(a.API.URL); err == nil && d.REST {
		door = "rest-api"
	}
	return "read,write,sensitive,test," + door
}

func (a *asker) version(ctx context.Context) error {
	r, err := a.single(ctx, "/system/resource", "version")
	if err != nil {
		return err
	}
	var major, minor int
	if _, err := fmt.Sscanf(r["version"], "%d.%d", &major, &minor); err != nil {
		return oddAnswer{"/system/resource", fmt.Sprintf("version %q cannot be read", r["version"])}
	}
	seen := fmt.Sprintf("%s on %s", r["version"], r["board-name"])
	if up, err := routeros.ParseDuration(r["uptime"]); err == nil {
		seen += ", up for " + routeros.FormatDuration(up.Truncate(time.Second))
	}
	if slices.Compare([]int{major, minor}, oldest[:]) < 0 {
		a.set(condition.CheckRow{Probe: "version", State: condition.Fail, Code: CodeTooOld, Command: "/system/package/update/check-for-updates",
			Seen: fmt.Sprintf("%s; the oldest supported is %d.%d", seen, oldest[0], oldest[1])})
		return nil
	}
	a.good("version", "%s", seen)
	return nil
}

// deviceMode reads which features a person at the router has allowed.
func (a *asker) deviceMode(ctx context.Context) error {
	r, err := a.single(ctx, "/system/device-mode", "mode")
	if routeros.ReasonOf(err) == routeros.NoSuchCommand {
		a.set(condition.CheckRow{Probe: "device-mode", State: condition.Skipped, Seen: "this RouterOS has no device-mode"})
		return nil
	}
	if err != nil {
		return err
	}
	seen, allow := []string{}, []string{}
	for _, feature := range []string{"hotspot", "scheduler", "fetch"} {
		value, told := r[feature]
		if !told {
			continue // this version does not know the flag
		}
		word := "yes"
		if !flag(value) {
			word = "no"
			allow = append(allow, feature+"=yes")
		}
		seen = append(seen, feature+" "+word)
	}
	text := "mode " + r["mode"] + ": " + strings.Join(seen, ", ")
	row := condition.CheckRow{Probe: "device-mode", State: condition.Warn, Code: routeros.CodeDeviceMode, Seen: text}
	if flag(r["flagged"]) {
		row.State, row.Seen = condition.Fail, text+"; RouterOS has flagged its configuration as suspicious"
		allow = append(allow, "flagged=no")
	}
	if len(allow) == 0 {
		a.good("device-mode", "%s", text)
		return nil
	}
	if slices.Contains(allow, "hotspot=yes") {
		row.State, row.Code = condition.Fail, CodeHotSpotLocked
	}
	row.Command = "/system/device-mode/update " + strings.Join(allow, " ")
	row.Next = "Paste the command at the router, and within five minutes press its button or take its power away, as it asks: only a person there can allow this. It restarts."
	a.set(row)
	return nil
}

// service reads what /ip/service lets in by the door we use. One row stands for
// the service, and one for each of its connections (facts.md §2).
func (a *asker) service(ctx context.Context) error {
	where, err := routeros.DoorOf(a.API.URL)
	if err != nil {
		return err
	}
	rows, err := a.print(ctx, "/ip/service", "")
	if err != nil {
		return err
	}
	var own routeros.Row
	used := 0
	for _, r := range rows {
		switch {
		case r["name"] != where.Service:
		case flag(r["dynamic"]) || flag(r["connection"]):
			used++
		default:
			own = r
		}
	}
	if own == nil {
		return oddAnswer{"/ip/service", "no row is called " + where.Service}
	}
	from := own["address"]
	if from == "" {
		from = "any address"
	}
	seen := fmt.Sprintf("%s lets in %s", where.Service, from)
	most, err := strconv.Atoi(own["max-sessions"])
	if err == nil { // a property since 7.16
		seen += fmt.Sprintf(", %d of %d sessions in use", used, most)
	}
	set := "/ip/service/set " + where.Service + " "
	switch {
	case err == nil && (most < fewSessions || used >= most):
		a.set(condition.CheckRow{Probe: "service", State: condition.Warn, Code: CodeFewSessions, Seen: seen, Command: set + "max-sessions=20"})
	case own["address"] == "":
		a.set(condition.CheckRow{Probe: "service", State: condition.Warn, Code: CodeOpenService, Seen: seen, Command: set + "address=" + hostPrefix(a.seen)})
	default:
		a.good("service", "%s", seen)
	}
	return nil
}

func hostPrefix(g *glimpse) string {
	if at := g.ours(); at.IsValid() {
		return fmt.Sprintf("%s/%d", at, at.BitLen())
	}
	return "THIS-BOX"
}

// clock compares the two clocks. Which of them is right is not said.
func (a *asker) clock(ctx context.Context) error {
	begun := a.Now()
	r, err := a.single(ctx, "/system/clock", "time")
	if err != nil {
		return err
	}
	halfway := begun.Add(a.Now().Sub(begun) / 2)
	at, err := routeros.ParseTime(r["date"]+" "+r["time"], time.UTC)
	if err != nil {
		return oddAnswer{"/system/clock", err.Error()}
	}
	offset, err := zoneOffset(r["gmt-offset"])
	if err != nil {
		return err
	}
	ahead := at.Add(-offset).Sub(halfway)
	seen := fmt.Sprintf("%s %s (%s), ", r["date"], r["time"], r["gmt-offset"])
	switch {
	case ahead > clockApart:
		seen += routeros.FormatDuration(ahead.Truncate(time.Second)) + " ahead of this box"
	case ahead < -clockApart:
		seen += routeros.FormatDuration((-ahead).Truncate(time.Second)) + " behind this box"
	default:
		a.good("clock", "%sthe same as this box's", seen)
		return nil
	}
	a.set(condition.CheckRow{Probe: "clock", State: condition.Warn, Code: CodeClocks, Seen: seen, Command: "/system/ntp/client/print"})
	return nil
}

// zoneOffset reads "+01:00".
func zoneOffset(text string) (time.Duration, error) {
	at, err := time.Parse("-07:00", text)
	if err != nil {
		return 0, oddAnswer{"/system/clock", fmt.Sprintf("gmt-offset %q cannot be read", text)}
	}
	_, seconds := at.Zone()
	return time.Duration(seconds) * time.Second, nil
}

// licensed is how many HotSpot users each level of license allows at a time; 0
// is no limit. Levels of cloud routers limit speed, not users.
var licensed = map[string]int{"0": 1, "1": 1, "3": 1, "4": 200, "5": 500, "6": 0, "free": 0, "p1": 0, "p10": 0, "p-unlimited": 0}

func (a *asker) license(ctx context.Context) error {
	rows, err := a.print(ctx, "/system/license", "")
	if err != nil {
		return err
	}
	if len(rows) != 1 {
		return oddAnswer{"/system/license", fmt.Sprintf("%d rows for one", len(rows))}
	}
	level := rows[0]["level"] // "nlevel" on routers with a software-id
	if level == "" {
		level = rows[0]["nlevel"]
	}
	most, known := licensed[level]
	if !known {
		a.set(condition.CheckRow{Probe: "license", State: condition.Unknown, Code: CodeLicense, Seen: fmt.Sprintf("level %q: how many guests it allows is not known here", level)})
		return nil
	}
	active, err := a.print(ctx, "/ip/hotspot/active", ".id")
	if err != nil {
		return err
	}
	on := fmt.Sprintf("%d guests are on", len(active))
	if most == 0 {
		a.good("license", "level %s sets no limit; %s", level, on)
		return nil
	}
	row := condition.CheckRow{Probe: "license", Code: CodeLicense, Seen: fmt.Sprintf("level %s allows %d at a time; %s", level, most, on), Command: "/system/license/print"}
	switch {
	case len(active) >= most:
		row.State = condition.Fail
	case most == 1 || len(active)*10 >= most*8:
		row.State = condition.Warn
	default:
		row.State, row.Code, row.Command = condition.OK, "", ""
	}
	a.set(row)
	return nil
}
