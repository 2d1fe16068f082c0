package hotspot

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

func rateOf(t testing.TB, text string) RateLimit {
	t.Helper()
	r, err := ParseRateLimit(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRateLimitsAreReadAndWritten(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "",
		"0":                                   "",
		"0/0":                                 "",
		"2M":                                  "2M/2M",
		"2M/10M":                              "2M/10M",
		"1500k/10G":                           "1500k/10G",
		"2M/10M 4M/20M":                       "2M/10M 4M/20M",
		"2M/10M 4M/20M 1M/5M 10/20 5 512k/1M": "2M/10M 4M/20M 1M/5M 10/20 5 512k/1M",
		"2M/10M 4M 1M 10s 1":                  "2M/10M 4M/4M 1M/1M 10/10 1",
		"0/0 0/0 0/0 0/0 8 0/0":               "0/0 0/0 0/0 0/0 8",
	} {
		if got := rateOf(t, text).String(); got != want {
			t.Errorf("%q reads back as %q, want %q", text, got, want)
		}
	}
	for _, text := range []string{"fast", "2M/", "/2M", "2M/10M/5M", "-1M", "2,5M", "99999999999999999999", "9999999999999999G", "2M 4M 1M 1 9", "2M 4M 1M 1 0",
		"2M 4M 1M 90000", "2M 4M 1M 1 8 1M 1M"} {
		if r, err := ParseRateLimit(text); err == nil {
			t.Errorf("%q is read as %q, want an error", text, r)
		}
	}
}

func TestWhatIsWrongWithLimits(t *testing.T) {
	for name, tc := range map[string]struct {
		limits Limits
		wrong  string
	}{
		"nothing at all":              {Limits{}, ""},
		"the whole grammar":           {Limits{Rate: rateOf(t, "2M/10M 4M/20M 1M/5M 10/20 5 512k/1M")}, ""},
		"a burst of upload only":      {Limits{Rate: rateOf(t, "2M/10M 4M/0 1M/0 10/0")}, ""},
		"a burst below the speed":     {Limits{Rate: rateOf(t, "2M/10M 4M/9M")}, "rate"},
		"a burst without a speed":     {Limits{Rate: rateOf(t, "0/10M 4M/20M")}, "rate"},
		"a threshold above the burst": {Limits{Rate: rateOf(t, "2M/10M 4M/20M 5M/5M")}, "rate"},
		"a threshold without a burst": {Limits{Rate: rateOf(t, "2M/10M 0/0 1M/1M")}, "rate"},
		"a burst time without one":    {Limits{Rate: rateOf(t, "2M/10M 0/0 0/0 5/5")}, "rate"},
		"a least above the most":      {Limits{Rate: rateOf(t, "2M/10M 0/0 0/0 0/0 8 1M/11M")}, "rate"},
		"a speed of light":            {Limits{Rate: rateOf(t, "2000G")}, "rate"},
		"slower":                      {Limits{Rate: rateOf(t, "2M/10M"), SlowRate: rateOf(t, "1M/1M"), Upload: 1}, ""},
		"slower than no limit":        {Limits{SlowRate: rateOf(t, "1M/1M"), Total: 1}, ""},
		"slower without data":         {Limits{SlowRate: rateOf(t, "1M/1M")}, "slow_rate"},
		"slower is faster":            {Limits{Rate: rateOf(t, "2M/10M"), SlowRate: rateOf(t, "1M/11M"), Download: 1}, "slow_rate"},
		"slower in one direction":     {Limits{SlowRate: rateOf(t, "1M/0"), Total: 1}, "slow_rate"},
		"moves":                       {Limits{Swap: SwapMove}, ""},
		"shares":                      {Limits{Swap: "share"}, "device_swap"},
		"lists":                       {Limits{AddressLists: []string{"paid", "VIP-1.a_b"}}, ""},
		"a list without a name":       {Limits{AddressLists: []string{""}}, "address_lists"},
		"a list with a space inside":  {Limits{AddressLists: []string{"a b"}}, "address_lists"},
		"a list of 65 letters":        {Limits{AddressLists: []string{strings.Repeat("a", 65)}}, "address_lists"},
		"nine lists":                  {Limits{AddressLists: slices.Repeat([]string{"a"}, 9)}, "address_lists"},
		"hours without a day":         {Limits{Hours: Hours{{End: 5}}}, "hours"},
		"all at once": {Limits{Hours: Hours{{End: 5}}, Swap: "share", AddressLists: []string{""}, Rate: rateOf(t, "2M/10M 1M"), SlowRate: rateOf(t, "1M")},
			"address_lists device_swap hours rate slow_rate"},
	} {
		wrong := tc.limits.Validate()
		if got := strings.Join(slices.Sorted(maps.Keys(wrong)), " "); got != tc.wrong {
			t.Errorf("%s: wrong with %q (%v), want %q", name, got, wrong, tc.wrong)
		}
	}
}

func TestDataIsUsedByAnyAllowance(t *testing.T) {
	l := Limits{Upload: 10, Download: 20, Total: 25, Rate: rateOf(t, "2M"), SlowRate: rateOf(t, "1M")}
	for _, tc := range []struct {
		usage Usage
		used  bool
	}{{Usage{}, false}, {Usage{Upload: 9, Download: 15}, false}, {Usage{Upload: 10}, true}, {Usage{Download: 20}, true}, {Usage{Upload: 6, Download: 19}, true},
		{Usage{Upload: 1 << 63, Download: 1 << 63}, true}} {
		want := l.Rate
		if tc.used {
			want = l.SlowRate
		}
		if l.DataUsed(tc.usage) != tc.used || l.RateAfter(tc.usage) != want {
			t.Errorf("%+v: used %v at %q, want %v at %q", tc.usage, l.DataUsed(tc.usage), l.RateAfter(tc.usage), tc.used, want)
		}
	}
	none := Limits{Rate: rateOf(t, "2M"), SlowRate: rateOf(t, "1M")}
	if none.Slows() || none.DataUsed(Usage{Upload: 1 << 40}) || none.RateAfter(Usage{Upload: 1 << 40}) != none.Rate {
		t.Error("without an allowance nothing is used and nothing slows down")
	}
}

func FuzzParseSpan(f *testing.F) {
	for _, seed := range []string{"mon-fri 08:00-16:00", "sat,sun 22:00-02:00", "mon-sun 00:00-24:00", "sun-mon 23:59-00:00", "", "mon", ", -", "mon 24:00-24:00"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSpan(text)
		if err != nil {
			return
		}
		if (Hours{s}).Validate() != nil {
			t.Fatalf("%q is read as %+v, which is not valid", text, s)
		}
		if again, err := ParseSpan(s.String()); err != nil || again != s {
			t.Fatalf("%q is written as %q and read back as %+v, %v", text, s, again, err)
		}
	})
}

func FuzzParseRateLimit(f *testing.F) {
	for _, seed := range []string{"", "0", "2M", "2M/10M", "2M/10M 4M/20M 1M/5M 10/20 5 512k/1M", "1/2 3 4 5s 6 7", "x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRateLimit(text)
		if err != nil {
			return
		}
		if again, err := ParseRateLimit(r.String()); err != nil || again != r {
			t.Fatalf("%q is written as %q and read back as %+v, %v", text, r, again, err)
		}
	})
}
