package hotspot

import "time"

// HistoryStep is what a site said within a step of time.
type HistoryStep struct {
	At       time.Time // its begin
	Sessions *Rolled   // open; nil: nothing was heard
	Routers  map[NASID]RouterStep
}

// RouterStep is how a router did within a step. nil is not known.
type RouterStep struct {
	CPU, Memory *Rolled // percent
	Celsius     *Rolled // of the hottest sensor
	Volts       *Rolled // of the supply
	WANUp       *Rolled // 1 while a default route was active, else 0
	Down, Up    *Rolled // bits a second
	RestartedAt []time.Time
}

// Rolled is a figure summed up over a step.
type Rolled struct {
	N               int // values heard
	Low, Mean, High float64
	Last            float64 // the newest
}

// Add brings one more value in.
func (r *Rolled) Add(v float64) {
	if r.N == 0 {
		*r = Rolled{1, v, v, v, v}
		return
	}
	r.N++
	r.Low, r.High, r.Last = min(r.Low, v), max(r.High, v), v
	r.Mean += (v - r.Mean) / float64(r.N)
}
