package router

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"iwas/internal/routeros"
)

// Sensors are /system/health. Cloud routers have none.
type Sensors struct {
	Reading
	List []Sensor
}

// Sensor is one reading of the hardware.
type Sensor struct {
	Name  string
	Unit  string  // C, V, A, W, RPM, as RouterOS writes them; "": State says it
	Value float64 //
	State string  // "ok", "fail"
}

// takeSensors reads the list of RouterOS 7 (name, value, type) and the one flat
// row of 6 (voltage=238 cpu-temperature=41).
func takeSensors(v *Vitals, _ time.Time, answers [][]routeros.Row) error {
	s := Sensors{Reading: v.Sensors.Reading}
	for _, r := range answers[0] {
		if r["name"] != "" {
			s.add(r["name"], r["value"], r["type"])
			continue
		}
		for key, value := range r {
			if key != ".id" {
				s.add(key, value, "")
			}
		}
	}
	slices.SortFunc(s.List, func(a, b Sensor) int { return strings.Compare(a.Name, b.Name) })
	v.Sensors = s
	return nil
}

func (s *Sensors) add(name, text, unit string) {
	value, err := strconv.ParseFloat(text, 64)
	switch {
	case err != nil && (text == "ok" || text == "fail"):
		s.List = append(s.List, Sensor{Name: name, State: text})
		return
	case err != nil: // a setting of version 6, such as use-fan=main
		return
	case unit == "" || unit == "state":
		if unit = unitOf(name); unit == "" {
			return
		}
	}
	s.List = append(s.List, Sensor{Name: name, Unit: unit, Value: plausible(value, unit, strings.Contains(text, "."))})
}

// unitOf guesses the unit of a flat row's key.
func unitOf(name string) string {
	switch {
	case strings.Contains(name, "temp"):
		return "C"
	case strings.Contains(name, "volt"):
		return "V"
	case strings.Contains(name, "power-consumption"):
		return "W"
	case strings.Contains(name, "current"):
		return "A"
	case strings.Contains(name, "fan") && strings.Contains(name, "speed"):
		return "RPM"
	}
	return ""
}

const (
	voltsMost   = 60  // no router takes more: a whole number above is tenths (facts.md §8)
	celsiusMost = 150 // silicon ends before
)

// plausible takes tenths for what they are.
func plausible(value float64, unit string, fraction bool) float64 {
	tenths := unit == "V" && value > voltsMost || unit == "C" && value > celsiusMost
	if tenths && !fraction {
		return value / 10
	}
	return value
}

// Limits above which a router is hot: of chips, which are made for it, and of
// everything else.
const (
	chipHot  = 90 // °C
	boardHot = 75
)

// Hot reports whether it measures a temperature that harms.
func (s Sensor) Hot() bool {
	if s.Unit != "C" || s.Value > celsiusMost {
		return false
	}
	for _, chip := range []string{"cpu", "phy", "sfp", "switch", "core"} {
		if strings.Contains(s.Name, chip) {
			return s.Value >= chipHot
		}
	}
	return s.Value >= boardHot
}

// Hottest is the highest temperature.
func (s Sensors) Hottest() (Sensor, bool) {
	var out Sensor
	found := false
	for _, x := range s.List {
		if x.Unit == "C" && x.Value <= celsiusMost && (!found || x.Value > out.Value) {
			out, found = x, true
		}
	}
	return out, found
}

// Supply is the voltage the board is fed with; of several the one so called.
func (s Sensors) Supply() (Sensor, bool) {
	at := slices.IndexFunc(s.List, func(x Sensor) bool { return x.Unit == "V" && x.Name == "voltage" })
	if at < 0 {
		at = slices.IndexFunc(s.List, func(x Sensor) bool { return x.Unit == "V" })
	}
	if at < 0 {
		return Sensor{}, false
	}
	return s.List[at], true
}
