package store

import (
	"encoding/json"
	"testing"
	"time"

	"pgregory.net/rapid"

	"iwas/internal/hotspot"
)

// TestTermsAreWrittenAsTheyAreRead holds what is put together by hand against
// what encoding/json makes of the same.
func TestTermsAreWrittenAsTheyAreRead(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		rate := func(name string) hotspot.Rate {
			return hotspot.Rate(rapid.SampledFrom([]uint64{0, 1, 1000, 1500, 512_000, 2_000_000, 3_000_000_000}).Draw(rt, name))
		}
		terms := hotspot.Terms{Rate: hotspot.RateLimit{Max: hotspot.Pair[hotspot.Rate]{Upload: rate("up"), Download: rate("down")}, Priority: rapid.IntRange(0, 8).Draw(rt, "priority")},
			Timeout: time.Duration(rapid.Int64Range(0, 1<<40).Draw(rt, "timeout")), Total: hotspot.Octets(rapid.Uint64Range(0, 1<<62).Draw(rt, "total")),
			AddressLists: rapid.SliceOfN(rapid.String(), 0, 3).Draw(rt, "lists")}
		want, err := json.Marshal(termsBody{Rate: terms.Rate.String(), TimeoutS: int64(terms.Timeout / time.Second), Total: uint64(terms.Total), Lists: terms.AddressLists})
		if err != nil {
			rt.Fatal(err)
		}
		if got := fromTerms(terms); got != string(want) {
			rt.Fatalf("%+v is written %s, want %s", terms, got, want)
		}
	})
}
