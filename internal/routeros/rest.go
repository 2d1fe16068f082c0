package routeros

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

const (
	// restLimit is how long RouterOS works on one REST call before it ends it
	// with "Session closed" (facts.md §2); we wait a little longer for its word.
	restLimit = 65 * time.Second
	// restPause follows a call that was not answered in time: RouterOS then
	// holds back or mixes up what the same user asks next (facts.md §2).
	restPause = 3 * time.Second
)

// rest is a Conn over REST. Every command is a POST of its words as JSON, with
// ids in the body, where an asterisk needs no care; only a print without a query
// is a GET, because RouterOS answers 500 to the POST of it on some singletons.
//
// A call is never cut short: an aborted one spoils the answers of others for
// seconds. When its caller gives up it goes on by itself, and the next command
// waits for its end and a pause.
type rest struct {
	base     string // https://host:443/rest
	where    place
	user     string
	password secret.Value
	timeout  time.Duration
	pace     *Pace
	http     *http.Client

	turn chan struct{} // capacity one: whoever holds it may use what follows
	dead error         // why the connection must not be used again
}

// Pace keeps the REST connections to one router from asking while a call that
// nobody waits for any more is still being worked on, and for a pause after it.
// The zero value works.
type Pace struct {
	Pause time.Duration // 0 is 3 s

	mu    sync.Mutex // guards what follows
	late  int        // calls that go on without their caller
	until time.Time
	ended chan struct{} // closed, and made anew, when a late call ends
}

// leave counts a call whose caller gave up.
func (p *Pace) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.late++
	if p.ended == nil {
		p.ended = make(chan struct{})
	}
}

// arrive ends a late call.
func (p *Pace) arrive() {
	p.mu.Lock()
	defer p.mu.Unlock()
	pause := p.Pause
	if pause == 0 {
		pause = restPause
	}
	p.late--
	p.until = time.Now().Add(pause)
	close(p.ended)
	p.ended = make(chan struct{})
}

// wait returns when the router may be asked again, or with ctx's error.
func (p *Pace) wait(ctx context.Context) error {
	for {
		p.mu.Lock()
		late, ended, pause := p.late, p.ended, time.Until(p.until)
		p.mu.Unlock()
		if late == 0 && pause <= 0 {
			return nil
		}
		t := time.NewTimer(max(pause, 0))
		passed := t.C
		if late > 0 {
			passed = nil
		}
		select {
		case <-passed:
		case <-ended:
		case <-ctx.Done():
		}
		t.Stop()
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// Drain returns when no call is left that its caller gave up: a program that
// ends before would cut it short. Calls are bounded by the router's own minute.
func (p *Pace) Drain(ctx context.Context) error {
	for {
		p.mu.Lock()
		late, ended := p.late, p.ended
		p.mu.Unlock()
		if late == 0 {
			return nil
		}
		select {
		case <-ended:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Late reports how many such calls there are.
func (p *Pace) Late() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.late
}

// dialREST makes a client for the router's REST door and proves who we are.
func dialREST(ctx context.Context, o Options, where place, pin string) (Conn, error) {
	d := dialer()
	t := &http.Transport{
		DialContext: d.DialContext, MaxConnsPerHost: 1, MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute,
		DisableCompression: true, MaxResponseHeaderBytes: 64 << 10,
	}
	scheme := "http"
	if where.tls {
		scheme = "https"
		t.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := d.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			secured, err := handshake(ctx, conn, pin)
			if err != nil {
				conn.Close()
				return nil, err
			}
			return secured, nil
		}
	}
	c := &rest{
		base: scheme + "://" + where.address + "/rest", where: where, user: o.User, password: o.Password, timeout: o.RunTimeout, pace: o.Pace,
		http: &http.Client{Transport: t, Timeout: restLimit, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
		turn: make(chan struct{}, 1),
	}
	if c.pace == nil {
		c.pace = new(Pace)
	}
	// The cheapest thing every group with rest-api may read.
	if _, err := c.Run(ctx, "/system/identity/print"); err != nil {
		c.http.CloseIdleConnections()
		return nil, err
	}
	return c, nil
}

// Close forgets the connection. A call under way is left to finish.
func (c *rest) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Run implements Conn.
func (c *rest) Run(ctx context.Context, sentence ...string) ([]Row, error) {
	call, err := newRESTCall(sentence)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	select {
	case c.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, explain(call.command, c.where, ctx.Err())
	}
	if c.dead != nil {
		defer func() { <-c.turn }()
		return nil, fault.New(fault.Unavailable, call.command+": connection ended earlier", c.dead)
	}
	if err := c.pace.wait(ctx); err != nil {
		<-c.turn
		return nil, explain(call.command, c.where, err)
	}
	type outcome struct {
		rows []Row
		err  error
	}
	done, late := make(chan outcome, 1), make(chan bool, 1)
	go func() { // ends with the call, within restLimit
		rows, err := c.exchange(context.WithoutCancel(ctx), call)
		if err != nil && !Refused(err) {
			c.dead = err
		}
		<-c.turn
		done <- outcome{rows, err}
		if <-late {
			c.pace.arrive()
		}
	}()
	select {
	case o := <-done:
		late <- false
		return o.rows, o.err
	case <-ctx.Done():
		c.pace.leave()
		late <- true
		return nil, explain(call.command, c.where, ctx.Err())
	}
}

// exchange makes one HTTP call and reads its answer whole.
func (c *rest) exchange(ctx context.Context, call restCall) ([]Row, error) {
	var body io.Reader
	if call.body != nil {
		body = bytes.NewReader(call.body)
	}
	// The address is written out: url.URL would escape what RouterOS wants literal.
	req, err := http.NewRequestWithContext(ctx, call.method, c.base+call.path, body)
	if err != nil {
		return nil, fault.New(fault.Invalid, "routeros: "+call.command, err)
	}
	req.SetBasicAuth(c.user, c.password.Reveal())
	if body != nil {
		req.Header.Set("Content-Type", "application/json") // exactly: a charset was a 415 once
	}
	resp, err := c.http.Do(req)
	if err != nil {
		if asked := (*url.Error)(nil); errors.As(err, &asked) {
			err = asked.Err // the command and the router are named anyway
		}
		return nil, explain(call.command, c.where, err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxReply+1))
	switch {
	case err != nil:
		return nil, explain(call.command, c.where, err)
	case len(text) > maxReply:
		return nil, c.unexpected(call, fmt.Errorf("an answer of more than %d octets", maxReply))
	case resp.StatusCode >= 300:
		return nil, c.refusal(call, resp.StatusCode, text)
	}
	rows, err := restRows(text)
	if err != nil {
		return nil, c.unexpected(call, err)
	}
	return rows, nil
}

// unexpected is an answer that no RouterOS gives: something else listens there,
// or another request's answer came (facts.md §2 "Robustness").
func (c *rest) unexpected(call restCall, err error) error {
	return fault.New(fault.Internal, call.command, err).
		WithCode(CodeUnexpected, "What answers at "+c.base+" does not speak RouterOS's REST: check the address, and that no other web server or proxy has that port.")
}

// refusal turns an error body into the Trap the API would have sent.
func (c *rest) refusal(call restCall, status int, text []byte) error {
	var body struct {
		Error   int    `json:"error"`
		Message string `json:"message"`
		Detail  string `json:"detail"`
	}
	if err := json.Unmarshal(text, &body); err != nil || body.Error == 0 {
		if status == http.StatusNotFound { // a web page: RouterOS before 7.1, or WebFig alone
			return fault.New(fault.NotFound, call.command, fmt.Errorf("HTTP %d without a REST error", status)).
				WithCode(CodeNoREST, "This router has no REST on that port: it needs RouterOS 7.1 or newer and the service www-ssl (/ip/service/print), or use api-ssl://.")
		}
		return c.unexpected(call, fmt.Errorf("HTTP %d, and not RouterOS's words", status))
	}
	trap := &Trap{Command: call.command, Message: body.Detail, Category: -1}
	if trap.Message == "" {
		trap.Message = body.Message
	}
	trap.Reason = reasonOf(trap.Message)
	switch {
	case status == http.StatusUnauthorized:
		trap.Reason, trap.Fatal = BadLogin, true
	case status == http.StatusForbidden:
		trap.Reason = NoRights
	case status == http.StatusNotFound && body.Detail == "":
		trap.Message, trap.Reason = "no such item", NoSuchItem
	case strings.Contains(strings.ToLower(body.Detail), "session closed"):
		trap.Reason, trap.Fatal = Interrupted, true // its minute was over
	}
	return trap.fault()
}

// restRows reads an answer: rows, one row of a singleton, {"ret": …}, or nothing.
// All values are strings (facts.md §2).
func restRows(text []byte) ([]Row, error) {
	text = bytes.TrimSpace(text)
	switch {
	case len(text) == 0:
		return nil, nil
	case text[0] == '[':
		var rows []Row
		err := json.Unmarshal(text, &rows)
		if err == nil && slices.ContainsFunc(rows, func(r Row) bool { return r == nil }) {
			err = errors.New("a row that is null")
		}
		return rows, err
	case text[0] == '{':
		var row Row
		err := json.Unmarshal(text, &row)
		if err == nil && len(row) == 0 {
			return nil, nil
		}
		return []Row{row}, err
	}
	return nil, errors.New("neither a list nor an object")
}

// restCall is one command as HTTP carries it.
type restCall struct {
	command, method, path string // path begins with /
	body                  []byte
}

// newRESTCall turns the words of a sentence into a call.
func newRESTCall(sentence []string) (restCall, error) {
	if err := checkSentence(sentence); err != nil {
		return restCall{}, err
	}
	c := restCall{command: sentence[0], method: http.MethodPost, path: sentence[0]}
	args, query := map[string]any{}, []string{}
	for _, w := range sentence[1:] {
		switch {
		case strings.HasPrefix(w, "="):
			k, v, _ := strings.Cut(w[1:], "=")
			args[k] = v
		case strings.HasPrefix(w, "?"):
			query = append(query, w[1:])
		default:
			return c, fault.New(fault.Invalid, fmt.Sprintf("routeros: %s: the word %q is no argument and no query", c.command, w), nil)
		}
	}
	verb := c.command[strings.LastIndex(c.command, "/")+1:]
	if err := checkEnds(c.command, verb, args); err != nil {
		return c, err
	}
	properties, _ := args[".proplist"].(string)
	if menu, ok := strings.CutSuffix(c.command, "/print"); ok && len(query) == 0 && (len(args) == 0 || len(args) == 1 && properties != "") {
		c.method, c.path = http.MethodGet, menu
		if properties != "" {
			c.path += "?.proplist=" + properties
		}
		return c, checkPath(c)
	}
	if len(query) > 0 {
		args[".query"] = query
	}
	var err error
	c.body, err = json.Marshal(args)
	return c, errors.Join(err, checkPath(c))
}

// checkEnds refuses what REST would never answer: streams, and monitors without
// a word on when to stop (facts.md §2 "Time and streams").
func checkEnds(command, verb string, args map[string]any) error {
	if verb == "add" || verb == "set" {
		return nil // interval is a property there, as of a scheduler
	}
	_, follow := args["follow"]
	_, followOnly := args["follow-only"]
	_, interval := args["interval"]
	if verb == "listen" || follow || followOnly || interval {
		return fault.New(fault.Invalid, "routeros: "+command+": REST has no streams; read again instead", nil)
	}
	_, once := args["once"]
	_, duration := args["duration"]
	if verb == "monitor" && !once && !duration {
		return fault.New(fault.Invalid, "routeros: "+command+": over REST a monitor needs once or duration", nil)
	}
	return nil
}

// checkPath lets nothing into an address that would have to be escaped.
func checkPath(c restCall) error {
	if strings.Trim(c.path, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/-.,_?=") != "" || strings.Contains(c.path, "..") {
		return fault.New(fault.Invalid, fmt.Sprintf("routeros: %q is not a command RouterOS has", c.command), nil)
	}
	return nil
}
