package routersim

import "context"

// Copy starts a router that is as this one is now, with doors of its own: what is
// stored, the rows that die with the power, and what its schedulers wait for. Guests
// and connections do not come along. So a test can look at what would become of a
// router at each instant of something that goes on meanwhile.
func (s *Sim) Copy(ctx context.Context) (*Sim, error) {
	c := s.c
	for _, addr := range []*string{&c.APIListen, &c.APISSLListen, &c.RESTListen, &c.CoAListen, &c.Control} {
		if *addr != "" {
			*addr = "127.0.0.1:0"
		}
	}
	twin, err := Start(ctx, c)
	if err != nil {
		return nil, err
	}
	rows := map[string][]*row{}
	s.mu.Lock()
	for path, m := range s.menus {
		for _, r := range m.rows {
			rows[path] = append(rows[path], r.clone())
		}
	}
	knobs, next, ahead, booted := s.knobs, s.nextID, s.ahead, s.booted
	s.mu.Unlock()
	twin.mu.Lock()
	defer twin.mu.Unlock()
	for path, m := range twin.menus {
		m.rows = rows[path]
	}
	twin.knobs, twin.nextID, twin.ahead, twin.booted = knobs, next, ahead, booted
	return twin, nil
}
