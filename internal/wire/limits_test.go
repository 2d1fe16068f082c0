package wire

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"iwas/internal/hotspot"
)

// everyLimit sets every field of hotspot.Limits.
func everyLimit(t *testing.T) hotspot.Limits {
	t.Helper()
	rate, err := hotspot.ParseRateLimit("2M/10M 4M/20M 1M/5M 10/20 5 512k/1M")
	if err != nil {
		t.Fatal(err)
	}
	slow, err := hotspot.ParseRateLimit("128k/256k")
	if err != nil {
		t.Fatal(err)
	}
	hours, err := hotspot.ParseHours([]string{"mon-fri 08:00-16:00", "sat,sun 22:00-02:00"})
	if err != nil {
		t.Fatal(err)
	}
	return hotspot.Limits{Time: time.Hour, Clock: hotspot.Metered, Validity: 24 * time.Hour, Hours: hours, Rate: rate, Upload: 1, Download: 2, Total: 3,
		ListsByAPI: true, SlowRate: slow, Devices: 2, Swap: hotspot.SwapMove, IdleTimeout: time.Minute, AddressLists: []string{"paid"}, Reconnect: true}
}

func TestLimitsCrossTheWireWhole(t *testing.T) {
	want := everyLimit(t)
	for i, v := 0, reflect.ValueOf(want); i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not set: this test proves nothing of it", v.Type().Field(i).Name)
		}
	}
	b, err := json.Marshal(FromLimits(want))
	if err != nil {
		t.Fatal(err)
	}
	var body LimitsBody
	if err := json.Unmarshal(b, &body); err != nil {
		t.Fatal(err)
	}
	if got, err := body.Limits(); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
}

// TestWhatAbsenceMeans: bodies of builds before a field, and values of later
// ones, read as the comment of the field says.
func TestWhatAbsenceMeans(t *testing.T) {
	for text, want := range map[string]hotspot.Limits{
		`{}`:                                  {},
		`{"time_s":60}`:                       {Time: time.Minute},
		`{"device_swap":"refuse"}`:            {},
		`{"device_swap":"ask the owner"}`:     {},
		`{"hours":[],"slow_rate":""}`:         {},
		`{"later_field":{"x":1},"devices":2}`: {Devices: 2},
	} {
		var body LimitsBody
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			t.Fatal(err)
		}
		if got, err := body.Limits(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %+v, %v; want %+v", text, got, err, want)
		}
	}
	// What an older agent is sent for a plan without the new limits is, to the
	// byte, what it was sent before.
	b, err := json.Marshal(FromLimits(hotspot.Limits{Time: time.Hour, Devices: 1, Swap: hotspot.SwapRefuse}))
	if err != nil || string(b) != `{"time_s":3600,"devices":1}` {
		t.Errorf("got %s, %v", b, err)
	}
}

func TestLimitsThatCannotBeMeantAreRefused(t *testing.T) {
	for _, text := range []string{`{"hours":["weekdays"]}`, `{"hours":["mon 08:00-08:00"]}`, `{"slow_rate":"slow"}`, `{"rate":"2M/10M 4M/20M 1M/5M 10/10 9"}`,
		`{"rate":"1M 1M 1M 1 8 1M 1M"}`, `{"time_s":-1}`, `{"devices":-1}`, `{"clock":"weekdays"}`, `{"idle_s":9999999999}`} {
		var body LimitsBody
		if err := json.Unmarshal([]byte(text), &body); err != nil {
			t.Fatal(err)
		}
		if got, err := body.Limits(); err == nil {
			t.Errorf("%s reads as %+v, want an error", text, got)
		}
	}
}
