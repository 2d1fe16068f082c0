package statuspage

import (
	"cmp"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"iwas/internal/condition"
	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Codes of the catalogue that follow from a snapshot.
const (
	codeClock       = "CLK-101"
	codeCloud       = "CLD-101"
	codeNotEnrolled = "CLD-106"
	codeRouter      = "RTR-101"
	codeNoRouter    = "RTR-109"
	codeNoAPI       = "RTR-110"
	codeLists       = "RTR-131"
	codePort        = "RAD-101"
	codeStranger    = "RAD-102"
	codeSecret      = "RAD-103"
	codeSilent      = "RAD-104"
	codeFlood       = "RAD-106"
	codeFellBack    = "RAD-107"
	codeOldSecret   = "RAD-108"
	codeDiskLow     = "DB-102"
	codeUnwritable  = "DB-103"
	codeStore       = "DB-108"
	codeNoRoom      = "DB-111"
	codeOutbox      = "OUT-101"
	codeOutboxFull  = "OUT-102"
	codeNotInForce  = "UPD-101"
)

const (
	recent     = 5 * time.Minute  // an offender heard longer ago is history
	ClockOff   = 2 * time.Second  // from the cloud's date; more is wrong
	DiskLow    = 500 << 20        // octets free; fewer is low
	outboxOld  = 15 * time.Minute // with the link up
	quietAfter = time.Minute      // bad packets with no good one for this long: nobody gets in
)

// Found returns the conditions that follow from a snapshot, each with what
// exactly and where. It is pure.
func Found(s Snapshot) []condition.Finding {
	var out []condition.Finding
	add := func(code, subject, text string) {
		out = append(out, condition.Finding{Code: code, Subject: subject, Text: text})
	}
	if !s.Store.Open {
		add(cmp.Or(s.Store.Code, codeStore), "", s.Store.Problem)
	}
	if s.Store.Unwritable != "" {
		add(codeUnwritable, "", s.Store.Unwritable)
	}
	if s.Store.DiskFree > 0 && s.Store.DiskFree < DiskLow {
		add(codeDiskLow, "", webui.Bytes(hotspot.Octets(s.Store.DiskFree))+" are free on the disk of the database")
	}
	if s.RADIUS.Problem != "" {
		add(cmp.Or(s.RADIUS.Code, codePort), "", s.RADIUS.Problem)
	}
	if len(s.Routers) == 0 {
		add(codeNoRouter, "", "")
	}
	out = append(out, routersFound(s)...)
	out = withWaiting(out, s)
	out = append(out, offendersFound(s)...)
	if s.RADIUS.Lost > 0 && s.At.Sub(s.RADIUS.LostAt) <= recent && !slices.ContainsFunc(out, func(f condition.Finding) bool { return f.Code == codeFlood }) {
		add(codeFlood, "", fmt.Sprintf("the system lost %d datagrams before they could be read: its buffer of %s was full", s.RADIUS.Lost, webui.Bytes(hotspot.Octets(s.RADIUS.Buffer))))
	}
	out = append(out, cloudFound(s)...)
	return append(out, s.Findings...)
}

func routersFound(s Snapshot) (out []condition.Finding) {
	for _, r := range s.Routers {
		add := func(code, text string) {
			out = append(out, condition.Finding{Code: code, Subject: string(r.NAS), Text: r.Name + ": " + text})
		}
		switch {
		case !r.API:
			add(codeNoAPI, "locks are acknowledged and cannot be proven")
		case r.Problem != "":
			add(cmp.Or(r.Code, codeRouter), r.Problem)
		}
		if r.PreviousSecret {
			until := "without end"
			if !r.PreviousUntil.IsZero() {
				until = "until " + r.PreviousUntil.In(zoneOf(s)).Format("2006-01-02 15:04 MST")
			}
			add(codeOldSecret, "its last packet proved the previous secret, which is accepted "+until)
		}
		if r.Silent && !r.API {
			add(codeSilent, "it did not answer the last Disconnect-Request")
		}
		if l := r.Lists; l != nil && !l.LateSince.IsZero() {
			add(codeLists, fmt.Sprintf("%d of %d entries are known to be there; %s", l.In, l.Wanted, l.Problem))
		}
		for code, text := range byCode(r.Ways) {
			add(code, text)
		}
		out = append(out, healthFound(r, s)...)
	}
	return out
}

// byCode yields the ways round a router once for each code.
func byCode(ways []Way) iter.Seq2[string, string] {
	return func(yield func(code, text string) bool) {
		for i, w := range ways {
			same := func(o Way) bool { return o.Code == w.Code }
			if slices.ContainsFunc(ways[:i], same) {
				continue
			}
			text := w.Text
			for _, o := range ways[i+1:] {
				if same(o) && o.Text != w.Text {
					text += "; " + o.Text
				}
			}
			if !yield(w.Code, text) {
				return
			}
		}
	}
}

// withWaiting adds why guests who must be off are not proven off. Where a router
// is known to have that trouble, it says who waits for it.
func withWaiting(out []condition.Finding, s Snapshot) []condition.Finding {
	var codes []string
	for _, w := range s.Waiting {
		if w.Code != "" && !slices.Contains(codes, w.Code) {
			codes = append(codes, w.Code)
		}
	}
	for _, code := range codes {
		who, problem := waitingFor(code, s.Waiting)
		known := slices.IndexFunc(out, func(f condition.Finding) bool { return f.Code == code })
		switch {
		case known >= 0:
			out[known].Text += "; " + who
		case len(s.Routers) == 1:
			r := s.Routers[0]
			out = append(out, condition.Finding{Code: code, Subject: string(r.NAS), Text: fmt.Sprintf("%s: %s: %s", r.Name, who, problem)})
		default: // on which router is not known
			out = append(out, condition.Finding{Code: code, Text: fmt.Sprintf("%s: %s", who, problem)})
		}
	}
	return out
}

const namesShown = 3 // of those who wait; the rest is counted

// waitingFor words who waits for one trouble, and how it was met last.
func waitingFor(code string, all []Waiting) (who, problem string) {
	var names []string
	n, locked := 0, false
	for _, w := range all {
		if w.Code != code {
			continue
		}
		n, locked = n+1, locked || w.Lock
		if w.Username != "" && len(names) < namesShown {
			names = append(names, w.Username)
		}
		problem = cmp.Or(problem, w.Problem)
	}
	who = cmp.Or(strings.Join(names, ", "), "a guest not known here")
	if more := n - max(1, len(names)); more > 0 {
		who += fmt.Sprintf(" and %d more", more)
	}
	if locked {
		return "the lock of " + who + " is not proven", problem
	}
	return who + " must be off, which is not proven", problem
}

// offendersFound tells the two ways apart in which RADIUS meets silence that
// people run into, and overload.
func offendersFound(s Snapshot) (out []condition.Finding) {
	seen := map[condition.Finding]bool{} // without text: the newest of a kind speaks
	for _, o := range s.RADIUS.Offenders {
		if s.At.Sub(o.Last) > recent || badSecret(o.Reason) && provenSince(s.Routers, o) {
			continue
		}
		f := condition.Finding{Subject: cmp.Or(string(o.NAS), o.Source)}
		switch {
		case o.Reason == "unknown_nas":
			f.Code = codeStranger
		case badSecret(o.Reason):
			f.Code = codeSecret
		case o.Reason == "message_authenticator_fell_back":
			f.Code = codeFellBack
		case o.Reason == "queue_full":
			f.Code, f.Subject = codeFlood, ""
		default:
			continue
		}
		if seen[f] {
			continue
		}
		seen[f] = true
		f.Text = fmt.Sprintf("%s, %s: %s", o.Source, times(o.N), o.Meaning)
		out = append(out, f)
	}
	return out
}

// provenSince reports whether the router has shown that its secret is right since
// it was met with silence.
func provenSince(routers []Router, o Offender) bool {
	return slices.ContainsFunc(routers, func(r Router) bool { return r.NAS == o.NAS && r.ProvenAt.After(o.Last) })
}

func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// badSecret reports whether the reason of an offender points at the secret.
func badSecret(reason string) bool {
	switch reason {
	case "bad_authenticator", "bad_message_authenticator", "undecodable_password":
		return true
	}
	return false
}

func cloudFound(s Snapshot) (out []condition.Finding) {
	add := func(code, text string) { out = append(out, condition.Finding{Code: code, Text: text}) }
	c := s.Cloud
	switch {
	case !s.Store.Open: // there is no link without a database
	case !c.Enrolled:
		add(codeNotEnrolled, "")
	case c.Problem != "":
		add(cmp.Or(c.Code, codeCloud), c.Problem)
	case !c.Connected:
		add(codeCloud, "")
	case s.Outbox.Waiting > 0 && s.At.Sub(s.Outbox.Oldest) > outboxOld && s.At.Sub(c.Since) > outboxOld:
		add(codeOutbox, fmt.Sprintf("%d facts wait; the oldest is from %s", s.Outbox.Waiting, webui.Age(s.At.Sub(s.Outbox.Oldest))))
	}
	if s.Outbox.Full {
		add(codeOutboxFull, fmt.Sprintf("%d facts wait; %d readings in between were folded since the start", s.Outbox.Waiting, s.Outbox.Folded))
	}
	if off := time.Duration(c.OffsetMS) * time.Millisecond; c.OffsetKnown && off.Abs() > ClockOff {
		add(codeClock, "the cloud's clock is "+drift(off)+" this box's")
	}
	if c.NotInForce > 0 {
		add(codeNotInForce, fmt.Sprintf("%d documents are kept and not in force", c.NotInForce))
	}
	return out
}

// drift words how far the cloud's clock is from ours: "3 min 2 s ahead of".
func drift(off time.Duration) string {
	if off < 0 {
		return webui.Took(-off) + " behind"
	}
	return webui.Took(off) + " ahead of"
}
