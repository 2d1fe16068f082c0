package console

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"iwas/internal/hotspot"
	"iwas/internal/webui"
)

// Sales is a day of which one sale is of the counter, with something to know of it.
func (f *fakeCloud) Sales(_ context.Context, _ hotspot.OrganizationID, site hotspot.SiteID, from, to time.Time, _ int, _ string) ([]hotspot.Sale, []hotspot.Money, string, error) {
	all := []hotspot.Sale{
		{ID: "s2", Site: site, At: noon, By: hotspot.Staff{Name: "maria", Role: hotspot.Cashier, At: "page"}, PlanName: "Hour", Price: hotspot.Money{Minor: 250, Currency: "EUR"},
			Account: "a2", Username: "AB2C-D3EFG-2", Pass: "p2", New: true, OnSite: true, Remark: "The name AB2C-D3EFG is another guest's here: this one is now called AB2C-D3EFG-2."},
		{ID: "s1", Site: site, At: noon.Add(-time.Hour), By: hotspot.Staff{Name: "Owner", Role: hotspot.Owner, At: "console"}, PlanName: "Day", Price: hotspot.Money{Minor: 1000, Currency: "EUR"}, Account: "a1", Username: "amira", Pass: "p1", New: true},
	}
	var sales []hotspot.Sale
	sum := hotspot.Money{Currency: "EUR"}
	for _, s := range all {
		if !s.At.Before(from) && s.At.Before(to) {
			sales, sum.Minor = append(sales, s), sum.Minor+s.Price.Minor
		}
	}
	if len(sales) == 0 {
		return nil, nil, "", nil
	}
	return sales, []hotspot.Money{sum}, "", nil
}

func TestSalesByTheAPIAndOnThePage(t *testing.T) {
	srv, _, _, _ := start(t, hotspot.Owner)
	const path = "/api/v1/sites/main/sales"
	for _, tc := range []struct {
		role     hotspot.Role
		path     string
		want     int
		has, not string
	}{
		{hotspot.Owner, path, 200, `"by":"maria","role":"cashier","via":"page","on_site":true`, ""},
		{hotspot.Cashier, path + "?to=2026-11-24T13:30:00Z", 200, `"username":"amira"`, `AB2C`},
		{hotspot.Manager, path + "?from=2026-11-23T00:00:00Z&to=2026-11-23T12:00:00Z", 200, `"items":[]`, "amira"},
		{hotspot.Technician, path, 403, "", "amira"},
		{hotspot.Owner, "/api/v1/sites/rival/sales", 404, "", "amira"},
		{hotspot.Owner, path + "?from=yesterday", 422, "", "amira"},
	} {
		status, body, _ := ask(t, srv, http.MethodGet, tc.path, "", bearer(tc.role, "cafe"))
		if status != tc.want || !strings.Contains(body, tc.has) || tc.not != "" && strings.Contains(body, tc.not) {
			t.Errorf("%s %s: got %d %s, want %d with %q and without %q", tc.role, tc.path, status, body, tc.want, tc.has, tc.not)
		}
	}
}

func TestADayOfSalesIsADayOfTheSite(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for day, hours := range map[string]int{"2026-03-29": 23, "2026-10-25": 25, "2026-11-23": 24, "2027-01-01": 24, "x": 24} {
		c := webui.Clock{Now: noon, Zone: zone}
		from, to, today := dayOf(day, c)
		if got := int(to.Sub(from).Hours()); got != hours || from.In(zone).Hour() != 0 || today != (day == "2027-01-01" || day == "x") {
			t.Errorf("%s: from %v to %v, %d hours, today %v; want %d hours", day, from, to, got, today, hours)
		}
	}
}

// TestDaysOfSalesFollowEachOther where the clock jumps over midnight (Cairo in April,
// Santiago in September) or shows it twice (Havana in November): going back day by day
// and forth again meets each moment once.
func TestDaysOfSalesFollowEachOther(t *testing.T) {
	srv, _, f, cookies := start(t, hotspot.Owner)
	for name, days := range map[string][]string{"Africa/Cairo": {"2026-04-23", "2026-04-24", "2026-04-25"}, "America/Santiago": {"2026-09-05", "2026-09-06", "2026-09-07"}, "America/Havana": {"2026-10-31", "2026-11-01", "2026-11-02"}} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		c := webui.Clock{Now: noon, Zone: zone}
		_, last, _ := dayOf(days[0], c)
		for i, day := range days[1:] {
			from, to, today := dayOf(day, c)
			if !from.Equal(last) || from.Format(time.DateOnly) != day || today {
				t.Errorf("%s: %s is from %v to %v, today %v; the day before ended %v", name, day, from, to, today, last)
			}
			last = to
			f.mu.Lock()
			f.sites[0].Site.TimeZone = name
			f.mu.Unlock()
			_, body := pageOf(t, srv, "/sites/main/sales?day="+day, cookies)
			if !strings.Contains(body, "day="+days[i]+`"`) || i+2 < len(days) && !strings.Contains(body, "day="+days[i+2]+`"`) {
				t.Errorf("%s: the page of %s does not lead to the days around it", name, day)
			}
		}
	}
}
