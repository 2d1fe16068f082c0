package wire

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// A plan that is too long for one message is cut, and says by how much; a bound that
// nothing fits leaves no steps, and what stops the plan.
func TestALongPlanIsCutAndSaysSo(t *testing.T) {
	p := PlanResult{NAS: "cafe1", Total: 300, Stops: []PlanStop{{Code: "RTR-140", Text: "in the way"}}, Notes: []string{"a note"}}
	for i := range 300 {
		p.Steps = append(p.Steps, PlanStep{Words: fmt.Sprint("step ", i), Do: strings.Repeat("d", 300), Undo: strings.Repeat("u", 300)})
	}
	for _, limit := range []int{ResultBytes, 2000, 200} {
		got := p.Fit(limit)
		b, err := json.Marshal(got)
		if err != nil {
			t.Fatal(err)
		}
		if len(b) > max(limit, 200) || got.Cut == 0 || got.Cut+len(got.Steps) != got.Total || len(got.Stops) != 1 {
			t.Errorf("limit %d: %d octets, %d steps and %d cut of %d, %d stops", limit, len(b), len(got.Steps), got.Cut, got.Total, len(got.Stops))
		}
	}
	if short := (PlanResult{Total: 1, Steps: p.Steps[:1]}).Fit(ResultBytes); short.Cut != 0 || len(short.Steps) != 1 {
		t.Errorf("a short one was cut: %+v", short)
	}
}

// The bodies inside the golden messages of commands are read strictly, so that a
// renamed field fails here.
func TestGoldenBodiesOfCommands(t *testing.T) {
	g := golden()
	strict := func(b json.RawMessage, v any) {
		t.Helper()
		dec := json.NewDecoder(bytes.NewReader(b))
		dec.DisallowUnknownFields()
		if err := dec.Decode(v); err != nil {
			t.Errorf("%s: %v", b, err)
		}
	}
	var plan PlanResult
	var apply ApplyResult
	for i, into := range []any{&plan, &apply} {
		var r CommandResult
		strict(g["events-commands"].(*Batch).Events[i].Body, &r)
		strict(r.Body, into)
	}
	if plan.Cut != 1 || plan.Steps[0].Undo == "" || apply.LeftS != 120 {
		t.Errorf("got %+v and %+v", plan, apply)
	}
	var c RouterCommand
	strict(g["command-router"].(*Command).Body, &c)
	var doc RouterDoc
	strict(g["state-router"].(*State).Docs[0].Body, &doc)
	if c.NAS != "cafe1" || doc.Mode != "whole-cafe" || doc.By != "nadia" {
		t.Errorf("got %+v and %+v", c, doc)
	}
}

func TestSetUpsNobodyCanMean(t *testing.T) {
	for field, s := range map[string]RouterSetup{
		"mode":          {},
		"guests_vlan":   {Mode: "whole-cafe", Guests: &NetworkSetup{VLAN: 1}},
		"pcs_subnet":    {Mode: "whole-cafe", PCs: &NetworkSetup{Subnet: "10.0.0.1/24"}},
		"pc_ports":      {Mode: "whole-cafe", PCPorts: []string{"ether3; /system/reset"}},
		"portal":        {Mode: "whole-cafe", Portal: "https://wifi.icafe.com"},
		"repair":        {Mode: "radius-only", Repair: "sometimes"},
		"lists":         {Mode: "radius-only", Lists: []AddressListRule{{List: "a b"}}},
		"box_address":   {Mode: "radius-only", BoxAddress: "::1"},
		"coa_port":      {Mode: "radius-only", CoAPort: 70000},
		"hotspot":       {Mode: "radius-only", HotSpot: &HotSpotSetup{Server: "a\nb"}},
		"guests_subnet": {Mode: "whole-cafe", Guests: &NetworkSetup{Subnet: "2001:db8::/64"}},
	} {
		if got := s.Check(); len(got) != 1 || got[field] == nil {
			t.Errorf("%s: got %v", field, got)
		}
	}
	whole := golden()["state-router"].(*State).Docs[0].Body
	var doc RouterDoc
	if err := json.Unmarshal(whole, &doc); err != nil {
		t.Fatal(err)
	}
	if got := doc.Check(); len(got) != 0 {
		t.Errorf("a whole one: %v", got)
	}
}

// What is wrong stays longest in a check that is too long.
func TestACheckIsCutToFit(t *testing.T) {
	c := CheckResult{NAS: "r1", State: "fail"}
	for _, state := range []string{"ok", "fail", "skipped", "warn", "ok"} {
		c.Rows = append(c.Rows, CheckRow{Probe: state, State: state, Seen: strings.Repeat("a", 1000)})
	}
	states := func(c CheckResult) (out []string) {
		for _, r := range c.Rows {
			out = append(out, r.State)
		}
		return out
	}
	for limit, want := range map[int][]string{6000: {"ok", "fail", "skipped", "warn", "ok"}, 4000: {"ok", "fail", "warn"}, 2500: {"fail", "warn"}, 1500: {"fail"}, 10: nil} {
		got := c.Fit(limit)
		if !slices.Equal(states(got), want) || got.Cut != 5-len(want) || len(c.Rows) != 5 || limit > 10 && length(got) > limit {
			t.Errorf("within %d: %v, %d cut, %d octets, want %v", limit, states(got), got.Cut, length(got), want)
		}
	}
}
