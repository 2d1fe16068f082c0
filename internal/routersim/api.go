package routersim

import (
	"bufio"
	"context"
	"errors"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	loginWait    = 10 * time.Second // from the connection to the login
	maxLogins    = 3                // wrong ones of one connection
	maxListeners = 16
	listenPause  = 50 * time.Millisecond // between two looks at a table
)

// throttle makes commands cost what facts.md §1 says, shared over all
// connections: a burst at 1 ms each, then 20 ms each.
type throttle struct {
	mu   sync.Mutex
	left float64 // commands of the burst
	at   time.Time
}

func (t *throttle) wait() {
	t.mu.Lock()
	defer t.mu.Unlock()
	const burst, perSecond = 150, 50
	now := time.Now()
	if t.at.IsZero() {
		t.left = burst
	}
	t.left = min(burst, t.left+now.Sub(t.at).Seconds()*perSecond)
	cost := time.Millisecond
	if t.left < 1 {
		cost = 20 * time.Millisecond
	} else {
		t.left--
	}
	time.Sleep(cost) // with the lock: the router has one hand
	t.at = time.Now()
}

// apiSession is one API connection.
type apiSession struct {
	s       *Sim
	id      int // of its row in /user/active
	service string
	conn    net.Conn
	since   time.Time
	user    string // "" before the login; written with the lock of s
	wrong   int    // logins refused
	write   sync.Mutex
	mu      sync.Mutex           // guards listens
	listens map[string]*listener // by tag
}

// listener is one listen command under way.
type listener struct {
	stop context.CancelFunc
	done chan struct{}
}

func (l *listener) end() { l.stop(); <-l.done }

// serveAPI is the door of /ip/service api or api-ssl.
func (s *Sim) serveAPI(service string, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			if s.ctx.Err() != nil || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		s.mu.Lock()
		a := &apiSession{s: s, id: s.id(), service: service, conn: c, since: time.Now(), listens: map[string]*listener{}}
		taken := !s.knobs.APIDown && !s.dark && s.ctx.Err() == nil && s.opens(service, c.RemoteAddr())
		if taken {
			s.apiConns[c] = a
		}
		s.mu.Unlock()
		if !taken || !s.run(a.serve) {
			_ = c.Close() // as a service does that is off, full, or not for this peer
		}
	}
}

func (a *apiSession) serve() {
	defer func() {
		_ = a.conn.Close()
		a.mu.Lock()
		defer a.mu.Unlock()
		for _, l := range a.listens {
			l.end()
		}
		a.s.mu.Lock()
		defer a.s.mu.Unlock()
		delete(a.s.apiConns, a.conn)
	}()
	if err := a.conn.SetReadDeadline(time.Now().Add(loginWait)); err != nil {
		return
	}
	r := bufio.NewReaderSize(a.conn, 64<<10)
	for {
		words, length := 1024, maxWord
		if a.user == "" {
			words, length = 16, 1024
		}
		sentence, err := readSentence(r, words, length)
		if err != nil {
			return
		}
		if len(sentence) > 0 && !a.handle(sentence) {
			return
		}
	}
}

func (a *apiSession) send(words ...string) {
	_ = a.put(appendSentence(nil, words...)) // a cut connection ends the reader
}

// put writes sentences, whole.
func (a *apiSession) put(sentences []byte) error {
	a.write.Lock()
	defer a.write.Unlock()
	if err := a.conn.SetWriteDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return err
	}
	_, err := a.conn.Write(sentences)
	return err
}

// chunk is how much of a long answer is written at once, so that the client reads
// while the rest is made.
const chunk = 16 << 10

// command is one parsed sentence.
type command struct {
	path, verb string
	args       map[string]string
	query      []string
	tag        []string // the .tag word, echoed
	proplist   []string
	tagValue   string
}

func parseCommand(sentence []string) command {
	c := command{args: map[string]string{}}
	full := strings.Trim(strings.ReplaceAll(sentence[0], " ", "/"), "/")
	if i := strings.LastIndex(full, "/"); i >= 0 {
		c.path, c.verb = full[:i], full[i+1:]
	} else {
		c.verb = full
	}
	for _, w := range sentence[1:] {
		switch {
		case strings.HasPrefix(w, ".tag="):
			c.tag, c.tagValue = []string{w}, w[len(".tag="):]
		case strings.HasPrefix(w, "?"):
			c.query = append(c.query, w[1:])
		case strings.HasPrefix(w, "="):
			k, v, _ := strings.Cut(w[1:], "=")
			c.args[k] = v
		}
	}
	if p, ok := c.args[".proplist"]; ok {
		c.proplist = strings.Split(p, ",")
		delete(c.args, ".proplist")
	}
	return c
}

// handle answers one sentence and reports whether the connection goes on.
func (a *apiSession) handle(sentence []string) bool {
	c := parseCommand(sentence)
	if a.user == "" {
		return a.login(c)
	}
	switch c.verb {
	case "quit":
		a.send("!fatal", "session terminated on request")
		return false
	case "cancel":
		a.cancel(c)
		return true
	case "listen":
		a.listen(c, false)
		return true
	case "monitor":
		if _, once := c.args["once"]; !once {
			a.listen(c, true) // streams until it is cancelled
			return true
		}
	case "print":
		_, follow := c.args["follow"]
		if _, only := c.args["follow-only"]; follow || only {
			delete(c.args, "follow")
			delete(c.args, "follow-only")
			a.listen(c, follow)
			return true
		}
	}
	s := a.s
	s.charge()
	if s.stall(c.path, 0, nil) != goesOn {
		return false
	}
	rows, ret, err := s.Command(a.user, c.path, c.verb, c.args, c.query)
	if err != nil {
		a.trap(c, err)
		return true
	}
	if _, counting := c.args["count-only"]; counting {
		a.send(append([]string{"!done", "=ret=" + ret}, c.tag...)...)
		return true
	}
	var out []byte
	for _, v := range rows {
		if out = appendRow(out, v, c); len(out) > chunk {
			if a.put(out) != nil {
				return false
			}
			out = out[:0]
		}
	}
	if len(rows) == 0 && (c.verb == "print" || c.verb == "getall") && atLeast(s.c.Version, 7, 18) {
		out = appendSentence(out, append([]string{"!empty"}, c.tag...)...)
	}
	done := []string{"!done"}
	if ret != "" {
		done = append(done, "=ret="+ret)
	}
	return a.put(appendSentence(out, append(done, c.tag...)...)) == nil
}

// charge counts a command of either door, and makes it cost what it costs.
func (s *Sim) charge() {
	s.mu.Lock()
	s.counters.Commands++
	costly := s.knobs.CommandCost
	s.mu.Unlock()
	if costly {
		s.throttle.wait()
	}
}

// stall keeps a command waiting as the knob says, and reports whether its caller
// is still there, within a limit (0 is none). gone is closed when the caller leaves; nil is never.
func (s *Sim) stall(path string, limit time.Duration, gone <-chan struct{}) waited {
	s.mu.Lock()
	d, at := s.knobs.Stall, s.knobs.StallAt
	s.mu.Unlock()
	if d == 0 || at != "" && at != path {
		return goesOn
	}
	return s.hold(d, limit, gone)
}

// appendRow writes a row: what was asked for, in that order, or everything, .id
// first, then by name.
func appendRow(b []byte, v view, c command) []byte {
	keys := c.proplist
	if keys == nil {
		keys = slices.Sorted(maps.Keys(v))
	}
	b = append(appendLength(b, len("!re")), "!re"...)
	for _, k := range keys {
		if value, has := v[k]; has {
			b = appendLength(b, len(k)+len(value)+2)
			b = append(append(append(append(b, '='), k...), '='), value...)
		}
	}
	return appendSentence(b, c.tag...)
}

func (a *apiSession) trap(c command, err error) {
	words := []string{"!trap"}
	if t, ok := err.(*trap); ok && t.category >= 0 {
		words = append(words, "=category="+string(rune('0'+t.category)))
	}
	a.send(append(append(words, "=message="+err.Error()), c.tag...)...)
	a.send(append([]string{"!done"}, c.tag...)...)
}

func (a *apiSession) login(c command) bool {
	if c.verb != "login" || c.path != "" {
		a.send("!fatal", "not logged in")
		return false
	}
	if !a.s.checkUser(c.args["name"], c.args["password"], "api", a.conn.RemoteAddr()) {
		a.s.note("system,error,critical", "login failure for user "+c.args["name"]+" from "+hostOf(a.conn.RemoteAddr().String())+" via api")
		a.send(append([]string{"!trap", "=message=invalid user name or password (6)"}, c.tag...)...)
		a.send(append([]string{"!done"}, c.tag...)...)
		a.wrong++
		return a.wrong < maxLogins
	}
	a.s.mu.Lock()
	a.user = c.args["name"]
	a.s.mu.Unlock()
	if err := a.conn.SetReadDeadline(time.Time{}); err != nil {
		return false
	}
	a.send(append([]string{"!done"}, c.tag...)...)
	return true
}

// listen streams changed rows until cancelled: a removed row is its .id with
// .dead=true. With first, the rows of now come before.
func (a *apiSession) listen(c command, first bool) {
	a.s.charge()
	last, err := a.snapshot(c) // before the next command is read
	if err != nil {
		a.trap(c, err)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if old := a.listens[c.tagValue]; old != nil {
		old.end()
		delete(a.listens, c.tagValue)
	}
	if len(a.listens) >= maxListeners {
		a.trap(c, trapf(4, "failure: too many listeners"))
		return
	}
	ctx, stop := context.WithCancel(a.s.ctx)
	l := &listener{stop, make(chan struct{})}
	a.listens[c.tagValue] = l
	go func() { // ended by serve or cancel
		defer close(l.done)
		defer stop()
		if first {
			for _, id := range slices.Sorted(maps.Keys(last)) {
				_ = a.put(appendRow(nil, last[id], c))
			}
		}
		a.follow(ctx, c, last)
	}()
}

// snapshot is a menu as this user may read it, by id.
func (a *apiSession) snapshot(c command) (map[string]view, error) {
	verb := "print"
	if c.verb == "monitor" {
		verb = c.verb
	}
	rows, _, err := a.s.Command(a.user, c.path, verb, maps.Clone(c.args), c.query)
	out := make(map[string]view, len(rows))
	for _, v := range rows {
		out[v[".id"]] = v
	}
	return out, err
}

func (a *apiSession) follow(ctx context.Context, c command, last map[string]view) {
	t := time.NewTicker(listenPause)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
		now, err := a.snapshot(c)
		if err != nil {
			return // the user's rights were taken away
		}
		for _, id := range slices.Sorted(maps.Keys(now)) {
			if old, ok := last[id]; !ok || !steady(old, now[id]) {
				_ = a.put(appendRow(nil, now[id], c))
			}
		}
		for _, id := range slices.Sorted(maps.Keys(last)) {
			if _, ok := now[id]; !ok {
				a.send(append([]string{"!re", "=.id=" + id, "=.dead=true"}, c.tag...)...)
			}
		}
		last = now
	}
}

// steady compares rows without the figures that move by themselves.
func steady(a, b view) bool {
	moving := []string{"uptime", "idle-time", "session-time-left", "bytes-in", "bytes-out", "packets-in", "packets-out", "timeout", "expires-in", "keepalive-timeout"}
	for k, v := range b {
		if !slices.Contains(moving, k) && a[k] != v {
			return false
		}
	}
	return len(a) == len(b)
}

// cancel ends the listen of a tag, or all without one. The listener hears the
// trap, the canceller its done, then the listener its own (facts.md §1).
func (a *apiSession) cancel(c command) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var ended []string
	for tag, l := range a.listens {
		if want, one := c.args["tag"]; one && want != tag {
			continue
		}
		l.end()
		delete(a.listens, tag)
		a.send("!trap", "=category=2", "=message=interrupted", ".tag="+tag)
		ended = append(ended, tag)
	}
	a.send(append([]string{"!done"}, c.tag...)...)
	for _, tag := range ended {
		a.send("!done", ".tag="+tag)
	}
}
