package console

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

func TestARouterIsShownAsFarAsItIsKnown(t *testing.T) {
	_, s, f, _ := start(t, hotspot.Owner)
	body := func(site hotspot.SiteID) []routerView {
		st, err := f.Site(t.Context(), "cafe", site)
		if err != nil {
			t.Fatal(err)
		}
		return siteBody{Clock: s.clock("UTC"), Status: st}.Routers()
	}
	words := func(v routerView) string {
		var out []string
		for _, x := range v.Figures {
			out = append(out, x.Name+" "+x.Value+" ("+x.Note+")")
		}
		return strings.Join(out, "; ")
	}
	main := body("main")
	if len(main) != 2 || main[0].Name != "Counter" || !strings.Contains(string(main[0].Age), "40 s ago") || main[1].Name != "attic" || !main[1].Nothing || main[1].Age != "" {
		t.Fatalf("got %+v", main)
	}
	want := "Internet Up (a default route is active); Traffic 23.4 Mbit/s (0 bit/s up); Processor 7 % (busy); Memory 32 % (in use); Addresses 61 of 245 (given out to guests); " +
		"Temperature 62 °C (hottest sensor); Up for " + webui.Duration(76*time.Hour) + " (); Not ours 2 (online, and not let in by the box)"
	if got := words(main[0]); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := words(body("harbour")[0]); got != "Internet Down (no default route is active)" {
		t.Errorf("got %s, want what is known only", got)
	}
}

// TestRouterAgesAreOurClocks: a site's clock may be days off.
func TestRouterAgesAreOurClocks(t *testing.T) {
	up := true
	st := hotspot.SiteStatus{HeardAt: noon.Add(-time.Second), ClockOffset: -48 * time.Hour, Routers: []hotspot.RouterHealth{{NAS: "a", At: noon.Add(-48*time.Hour - 20*time.Second), WANUp: &up}, {NAS: "b"}}}
	b, err := json.Marshal(toAPISite(st, noon).Routers)
	want := `[{"nas":"a","at":"` + noon.Add(-48*time.Hour-20*time.Second).UTC().Format("2006-01-02T15:04:05Z") + `","age_s":20,"wan_up":true},{"nas":"b"}]`
	if err != nil || string(b) != want {
		t.Errorf("got %s, %v, want %s", b, err, want)
	}
}
