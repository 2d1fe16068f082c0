package provision

import (
	"testing"

	"iwas/internal/fault"
	"iwas/internal/routersim"
)

// What a router answers is not believed: a set-up is read back, over both doors and on
// both versions. Writes that are refused and done all the same count; those that are
// answered and not done take everything back; a HotSpot that is off when it is added is
// put on.
func TestARouterThatMisbehavesIsSetUpOrAsBefore(t *testing.T) {
	for name, tc := range map[string]struct {
		knobs routersim.Knobs
		code  string // it fails with; "": it is set up
	}{
		"a new HotSpot is off":   {routersim.Knobs{HotSpotOff: true}, ""},
		"refused and done":       {routersim.Knobs{RefuseDone: "ip/hotspot"}, ""},
		"rules refused and done": {routersim.Knobs{RefuseDone: "ip/firewall/filter"}, ""},
		"answered and not done":  {routersim.Knobs{WriteIgnored: "ip/hotspot"}, CodeFailed},
	} {
		for _, door := range []string{"api-ssl", "www-ssl"} {
			for _, version := range []string{"7.16.2 (stable)", "7.24 (stable)"} {
				t.Run(name+" "+door+" "+version, func(t *testing.T) {
					t.Parallel()
					s := start(t, door, version, true)
					setup := cafeSetup()
					setup.CoAPort = int(s.CoAAddr().Port())
					before := s.everything()
					s.SetKnobs(tc.knobs)
					rec, err := s.applier(setup).Apply(t.Context())
					s.SetKnobs(routersim.Knobs{})
					if tc.code != "" {
						if fault.Code(err) != tc.code || rec.State != Reverted {
							t.Errorf("got %v, %v, want %s and all taken back", rec.State, err, tc.code)
						}
						check(t, "after it failed", s.everything(), before)
						return
					}
					if err != nil || rec.State != Waiting {
						t.Fatalf("got %v, %v, want it set up", rec.State, err)
					}
					if p := s.plan(setup); !p.Empty() {
						t.Errorf("a second plan: %+v %+v", p.Steps, p.Stops)
					}
					if h := s.do("/ip/hotspot/print"); len(h) != 1 || flag(h[0]["disabled"]) {
						t.Errorf("the HotSpot is %v, want it on", h)
					}
				})
			}
		}
	}
}
