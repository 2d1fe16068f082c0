package router

import (
	"context"
	"fmt"
	"math/rand/v2"

	"iwas/internal/condition"
	"iwas/internal/routeros"
)

const (
	addressLists = "/ip/firewall/address-list"
	// checkList is named by no rule: an empty list matches nothing (facts.md §6).
	checkList    = "iwas-check"
	checkComment = "IWAS check; it goes by itself"
	checkTimeout = "1m" // the router drops the entry even if we die
)

// addressList reads the list of our own, and puts an entry on it and takes it
// away. The two are told apart: either may fail alone.
func (a *asker) addressList(ctx context.Context) error {
	left, err := a.print(ctx, addressLists, ".id,address", "?list="+checkList)
	if late(err) {
		return err
	}
	if err != nil {
		a.setList("address-list-read", CodeListRead, err)
		a.set(condition.CheckRow{Probe: "address-list-write", State: condition.Skipped, Seen: "needs to be read back"})
		return nil
	}
	a.good("address-list-read", "read; %d entries on the list %s", len(left), checkList)
	if err := a.writeEntry(ctx); err != nil {
		a.setList("address-list-write", CodeListWrite, err)
		return nil
	}
	a.good("address-list-write", "an entry was added with a timeout, read back, and removed")
	return nil
}

// setList tells what the router refused from what it did not answer.
func (a *asker) setList(probe, code string, err error) {
	r := failure(probe, err, a.API.URL)
	if r.State == condition.Fail {
		if r.Code == routeros.CodeRightMissing {
			r.Seen += "; the row on rights names what is missing"
		}
		r.Code, r.Next = code, ""
		r.Command = "/ip/firewall/address-list/print where list=" + checkList
	}
	a.set(r)
}

// writeEntry adds an entry, reads it back and removes it. An address that an
// earlier check left is not used again.
func (a *asker) writeEntry(ctx context.Context) error {
	var id, at string
	for try := range 3 {
		at = fmt.Sprintf("192.0.2.%d", 1+rand.IntN(254)) // RFC 5737: nobody's
		rows, err := a.l.do(ctx, addressLists+"/add", "=list="+checkList, "=address="+at, "=timeout="+checkTimeout, "=comment="+checkComment)
		if routeros.ReasonOf(err) == routeros.Duplicate && try < 2 {
			continue
		}
		if err != nil {
			return err
		}
		if len(rows) > 0 {
			id = rows[len(rows)-1]["ret"]
		}
		break
	}
	rows, err := a.print(ctx, addressLists, ".id,address,timeout", "?list="+checkList)
	if err != nil {
		return err
	}
	there := false
	for _, r := range rows {
		if r["address"] == at {
			id, there = r[".id"], true
		}
	}
	if !there {
		return oddAnswer{addressLists, "the entry that was just added is not there"}
	}
	_, err = remove(ctx, a.l, addressLists, []string{id}, false)
	return err
}
