package routersim

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"
)

// serveControl is the HTTP control, loopback by its default address: what a
// person at the cafe or a test would do to router and guests.
//
//	GET  /guests                 all guests as they experience it
//	GET  /guests/{mac}           one
//	POST /guests/{mac}/arrive    {"ip":""}
//	POST /guests/{mac}/login     Login; 403 with {"error":…} when the page refuses
//	POST /guests/{mac}/use       {"upload":…,"download":…,"connections":…}
//	POST /guests/{mac}/logout    /leave /roam
//	POST /guests/{mac}/live      Life: the guest lives by itself
//	POST /router/reboot          {"power_cut":true,"dark_ms":0}
//	POST /router/paste           {"user":"admin","text":"…"}: at the router's console
//	GET, PUT /router/knobs       Knobs
//	GET  /router/counters        Counters
//	GET  /router/acts            Acts
//	POST /router/connections     {"n":5000}
func (s *Sim) serveControl() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /guests", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Guests(), nil) })
	mux.HandleFunc("GET /guests/{mac}", func(w http.ResponseWriter, r *http.Request) {
		g, err := s.Guest(r.PathValue("mac"))
		answer(w, g, err)
	})
	mux.HandleFunc("POST /guests/{mac}/arrive", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ IP string }
		if !read(w, r, &in) {
			return
		}
		g, err := s.Arrive(r.PathValue("mac"), in.IP)
		answer(w, g, err)
	})
	mux.HandleFunc("POST /guests/{mac}/login", func(w http.ResponseWriter, r *http.Request) {
		var in Login
		if !read(w, r, &in) {
			return
		}
		if err := s.Login(r.PathValue("mac"), in); err != nil {
			if !errors.Is(err, ErrNoDevice) {
				err = refusal{err}
			}
			answer(w, nil, err)
			return
		}
		g, err := s.Guest(r.PathValue("mac"))
		answer(w, g, err)
	})
	mux.HandleFunc("POST /guests/{mac}/use", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Upload, Download uint64
			Connections      int
		}
		if !read(w, r, &in) {
			return
		}
		online, err := s.Use(r.PathValue("mac"), in.Upload, in.Download, min(in.Connections, 1000))
		answer(w, map[string]bool{"online": online}, err)
	})
	mux.HandleFunc("POST /guests/{mac}/live", func(w http.ResponseWriter, r *http.Request) {
		var in Life
		if !read(w, r, &in) {
			return
		}
		answer(w, map[string]bool{"lives": true}, s.Live(r.PathValue("mac"), in))
	})
	for name, act := range map[string]func(string) error{"logout": s.Logout, "leave": s.Leave,
		"roam": func(mac string) error { _, err := s.Roam(mac); return err }} {
		mux.HandleFunc("POST /guests/{mac}/"+name, func(w http.ResponseWriter, r *http.Request) {
			answer(w, map[string]bool{"done": true}, act(r.PathValue("mac")))
		})
	}
	mux.HandleFunc("POST /router/reboot", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			PowerCut bool  `json:"power_cut"`
			DarkMS   int64 `json:"dark_ms"`
		}
		if !read(w, r, &in) {
			return
		}
		s.reboot(!in.PowerCut, time.Duration(in.DarkMS)*time.Millisecond)
		answer(w, map[string]bool{"booted": true}, nil)
	})
	mux.HandleFunc("POST /router/paste", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ User, Text string }
		if !read(w, r, &in) {
			return
		}
		out, err := s.Paste(in.User, in.Text)
		refused := ""
		if err != nil {
			refused = err.Error()
		}
		answer(w, map[string]string{"shown": out, "refused": refused}, nil)
	})
	// What only a person at the router changes: by its button, or by its plug.
	mux.HandleFunc("PUT /router/device-mode", func(w http.ResponseWriter, r *http.Request) {
		var in map[string]string
		if read(w, r, &in) {
			for feature, value := range in {
				s.Give("system/device-mode", "", feature, value)
			}
			answer(w, in, nil)
		}
	})
	mux.HandleFunc("GET /router/knobs", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Knobs(), nil) })
	mux.HandleFunc("PUT /router/knobs", func(w http.ResponseWriter, r *http.Request) {
		var k Knobs
		if read(w, r, &k) {
			s.SetKnobs(k)
			answer(w, k, nil)
		}
	})
	mux.HandleFunc("GET /router/counters", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Counters(), nil) })
	mux.HandleFunc("GET /router/acts", func(w http.ResponseWriter, r *http.Request) { answer(w, s.Acts(), nil) })
	mux.HandleFunc("POST /router/connections", func(w http.ResponseWriter, r *http.Request) {
		var in struct{ N int }
		if read(w, r, &in) {
			s.AddConnections(min(in.N, 100000))
			answer(w, map[string]int{"added": in.N}, nil)
		}
	})
	srv := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	s.serve(srv, true, func() error { return srv.Serve(s.control) })
}

func read(w http.ResponseWriter, r *http.Request, into any) bool {
	if r.ContentLength == 0 {
		return true
	}
	dec := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		answer(w, nil, err)
		return false
	}
	return true
}

// refusal is what the login page said: no fault of the request.
type refusal struct{ error }

// answer writes v, or an error: 403 what the page refused, 404 no such device,
// 400 anything else.
func answer(w http.ResponseWriter, v any, err error) {
	w.Header().Set("Content-Type", "application/json")
	var refused refusal
	switch {
	case err == nil:
	case errors.As(err, &refused):
		w.WriteHeader(http.StatusForbidden)
	case errors.Is(err, ErrNoDevice):
		w.WriteHeader(http.StatusNotFound)
	default:
		w.WriteHeader(http.StatusBadRequest)
	}
	if err != nil {
		v = map[string]string{"error": err.Error()}
	}
	_ = json.NewEncoder(w).Encode(v) // the caller went away
}

// Life is a guest that lives by itself: it logs in, uses data every second, logs
// out, and comes back.
type Life struct {
	Login  Login  `json:"login"`
	OnS    int    `json:"on_s"`    // seconds online before it logs out; 0 is for ever
	OffS   int    `json:"off_s"`   // seconds away before it comes back
	Up     uint64 `json:"up"`      // bytes a second
	Down   uint64 `json:"down"`    // bytes a second
	AfterS int    `json:"after_s"` // seconds before it first arrives
}

// Live starts or replaces a guest's life.
func (s *Sim) Live(mac string, l Life) error {
	if mac = canonical(mac); mac == "" {
		return errBadMAC
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.mu.Lock()
	if old := s.lives[mac]; old != nil {
		old()
	}
	s.lives[mac] = cancel
	s.mu.Unlock()
	if !s.run(func() {
		defer cancel()
		s.live(ctx, mac, l)
	}) {
		cancel()
	}
	return nil
}

func (s *Sim) live(ctx context.Context, mac string, l Life) {
	pause := func(d time.Duration) bool {
		select {
		case <-time.After(d):
			return true
		case <-ctx.Done():
			return false
		}
	}
	if !pause(time.Duration(l.AfterS) * time.Second) {
		return
	}
	for {
		g, err := s.Arrive(mac, "")
		if err != nil { // the router is off, or full
			if !pause(time.Second) {
				return
			}
			continue
		}
		if !g.Online && l.Login.Method != "mac" {
			_ = s.Login(mac, l.Login) // the page says why; the phone tries again below
		}
		for n := 0; l.OnS == 0 || n < l.OnS; n++ {
			if !pause(time.Second) {
				return
			}
			jitter := s.jitter()
			online, err := s.Use(mac, uint64(float64(l.Up)*jitter), uint64(float64(l.Down)*jitter), 0)
			if err != nil { // the router rebooted: the phone finds the network again
				break
			}
			switch {
			case online || n%5 != 4:
			case l.Login.Method != "mac":
				_ = s.Login(mac, l.Login)
			default: // nobody types: a device without internet drops the WiFi and joins again
				if err := s.Leave(mac); err == nil {
					_, _ = s.Arrive(mac, "") // the router tries its address anew; the loop sees what came of it
				}
			}
		}
		_ = s.Logout(mac) // it may be off already
		if !pause(time.Duration(max(1, l.OffS)) * time.Second) {
			return
		}
	}
}

func (s *Sim) jitter() float64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return 0.5 + s.rng.Float64()
}
