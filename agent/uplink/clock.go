package uplink

import "time"

const (
	oneWayUnknown = 5 * time.Second // uncertainty of a message whose travel time is not known
	driftPerHour  = time.Second     // how fast a measurement ages: 280 ppm, a poor quartz
)

// clock estimates the cloud's clock minus ours from the times in its messages.
type clock struct {
	known       bool
	offset      time.Duration
	uncertainty time.Duration
	at          time.Time // of the measurement, by our clock
}

// sample takes in the cloud's time of a message received at our time at.
// roundTrip is how long the question took to be answered; 0 when nothing was
// asked. A worse measurement replaces a better one only when that has aged, or
// when both cannot be true: then a clock was set meanwhile.
func (c *clock) sample(cloud, at time.Time, roundTrip time.Duration) {
	if cloud.IsZero() {
		return
	}
	s := clock{known: true, offset: cloud.Sub(at), uncertainty: oneWayUnknown, at: at}
	if roundTrip > 0 {
		s.offset += roundTrip / 2
		s.uncertainty = roundTrip / 2
	}
	aged := c.uncertainty + time.Duration(at.Sub(c.at).Hours()*float64(driftPerHour)).Abs()
	apart := (s.offset - c.offset).Abs()
	if !c.known || s.uncertainty <= aged || apart > s.uncertainty+aged {
		*c = s
	}
}

// Stepped says that our date was set by so much: what was measured moves with it.
func (u *Uplink) Stepped(by time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.clock.offset -= by
	u.clock.at = u.clock.at.Add(by)
}
