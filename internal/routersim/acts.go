package routersim

import (
	"strings"
	"time"
)

// Acts are what others made this router do, and who was on, the oldest first: whoever holds a
// program's word against the router's counts here, and not at the program.
type Acts struct {
	Ended   []Ended   `json:"ended"`
	Written []Written `json:"written"`
	Stays   []Stay    `json:"stays"`
}

// Stay is a session from its login to its end, however that came.
type Stay struct {
	User    string    `json:"user"`
	MAC     string    `json:"mac"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"` // zero: it is on
}

// Ended is a session that somebody ended, by Disconnect-Request or over the API.
// One that ended by itself, or by its guest, is none.
type Ended struct {
	At            time.Time `json:"at"`
	User          string    `json:"user"`
	MAC           string    `json:"mac"`
	AcctSessionID string    `json:"acct_session_id"`
	Started       time.Time `json:"started"`
}

// Written is a command that changed something, or may have.
type Written struct {
	At      time.Time         `json:"at"`
	By      string            `json:"by"`
	Script  bool              `json:"script"` // of the router's own: a scheduler's, or one that was run
	Command string            `json:"command"`
	Args    map[string]string `json:"args"` // without secrets
}

const actsKept = 50_000 // of each kind; the oldest give way

// Acts returns what others made this router do.
func (s *Sim) Acts() Acts {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := Acts{append([]Ended{}, s.acts.Ended...), append([]Written{}, s.acts.Written...), append([]Stay{}, s.acts.Stays...)}
	for _, h := range s.hosts {
		if x := h.session; x != nil {
			a.Stays = append(a.Stays, Stay{User: x.user, MAC: h.mac, Started: x.started})
		}
	}
	return a
}

// noteEnded, noteStay and noteWritten are called with the lock held.
func (s *Sim) noteEnded(h *host, x *session) {
	s.acts.Ended = append(s.acts.Ended[max(0, len(s.acts.Ended)+1-actsKept):], Ended{time.Now(), x.user, h.mac, x.acctID, x.started})
}

func (s *Sim) noteStay(h *host, x *session) {
	s.acts.Stays = append(s.acts.Stays[max(0, len(s.acts.Stays)+1-actsKept):], Stay{x.user, h.mac, x.started, time.Now()})
}

func (s *Sim) noteWritten(a actor, command string, args map[string]string) {
	w := Written{At: time.Now(), By: a.user, Script: a.script != nil, Command: command, Args: map[string]string{}}
	for k, v := range args {
		if strings.Contains(k, "secret") || strings.Contains(k, "password") || k == "contents" || k == "source" {
			v = "***"
		}
		w.Args[k] = v
	}
	s.acts.Written = append(s.acts.Written[max(0, len(s.acts.Written)+1-actsKept):], w)
}
