package uplink

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"iwas/internal/condition"
	"iwas/internal/fault"
	"iwas/internal/mqttlink"
	"iwas/internal/webui"
)

const wayTime = 5 * time.Second // of each step; the address of a far cloud is a round trip or three away

// way are the steps to the cloud, in the order in which one needs the other.
var way = []struct{ probe, title string }{
	{"identity", "Identity of this box"}, {"name", "Name of the broker"}, {"tcp", "Way to the broker"}, {"mqtt", "The broker takes us"}, {"https", "The cloud's HTTPS door"},
}

// Way tries every step between this box and its cloud, as the service takes them,
// beside the service and without disturbing it: the MQTT connection has a client
// id of its own. Rows that need one that failed are skipped. Nothing is sent but
// what a connection needs.
func Way(ctx context.Context, stateDir string, now func() time.Time) []condition.CheckRow {
	w := walk{rows: map[string]condition.CheckRow{}}
	id, err := LoadIdentity(stateDir)
	switch {
	case fault.Is(err, fault.NotFound):
		return []condition.CheckRow{{Probe: "cloud-identity", Title: way[0].title, State: condition.Skipped, Code: "CLD-106", Seen: "this box is not enrolled; it serves the cafe on its own"}}
	case err != nil:
		w.fail("identity", err, 0)
		return w.report("without an identity nobody is let in")
	}
	w.identity(id, now())
	host, port := brokerOf(id.MQTTURL)
	var side sync.WaitGroup
	side.Go(func() { w.step(ctx, "https", id.knock(now)) })
	if w.step(ctx, "name", lookUp(host)) && w.step(ctx, "tcp", connect(net.JoinHostPort(host, port))) {
		w.step(ctx, "mqtt", id.sayConnect(stateDir))
	}
	side.Wait()
	return w.report("a step before it failed")
}

func brokerOf(address string) (host, port string) {
	u, err := url.Parse(address)
	if err != nil {
		return address, "8883"
	}
	if port = u.Port(); port == "" {
		port = "8883"
	}
	return u.Hostname(), port
}

// walk is a way being gone.
type walk struct {
	mu   sync.Mutex
	rows map[string]condition.CheckRow
}

func (w *walk) set(probe string, state condition.Mark, code, seen, next string, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows[probe] = condition.CheckRow{Probe: "cloud-" + probe, State: state, Code: code, Seen: seen, Next: next, Took: took}
}

func (w *walk) fail(probe string, err error, took time.Duration) {
	w.set(probe, condition.Fail, fault.Code(err), strings.Join(strings.Fields(err.Error()), " "), fault.Hint(err), took)
}

// step takes one, within its time; do returns what was seen.
func (w *walk) step(ctx context.Context, probe string, do func(context.Context) (string, error)) bool {
	ctx, cancel := context.WithTimeout(ctx, wayTime)
	defer cancel()
	begun := time.Now()
	seen, err := do(ctx)
	if err != nil {
		w.fail(probe, err, time.Since(begun))
		return false
	}
	took := time.Since(begun)
	w.set(probe, condition.OK, "", fmt.Sprintf("%s, %s", seen, webui.Took(took)), "", took)
	return true
}

// report returns the rows in order; those that were not come to are skipped.
func (w *walk) report(why string) []condition.CheckRow {
	out := make([]condition.CheckRow, 0, len(way))
	for _, p := range way {
		r, ok := w.rows[p.probe]
		if !ok {
			r = condition.CheckRow{Probe: "cloud-" + p.probe, State: condition.Skipped, Seen: why}
		}
		r.Title = p.title
		if r.State == condition.Skipped {
			out = append(out, r)
			continue
		}
		out = append(out, r.Explained())
	}
	return out
}

// identity looks at what this box is and how long its certificate lasts.
func (w *walk) identity(id Identity, now time.Time) {
	seen := fmt.Sprintf("%s of %s, %s; certificate until %s", id.Agent, id.SiteName, id.Organization, id.NotAfter.UTC().Format(time.DateOnly))
	switch {
	case now.After(id.NotAfter):
		w.set("identity", condition.Fail, "CLD-111", seen+", which is over", "", 0)
	case id.Due(now):
		w.set("identity", condition.Warn, "CLD-111", seen+"; it should have been renewed by now", "", 0)
	default:
		w.set("identity", condition.OK, "", seen, "", 0)
	}
}

func lookUp(host string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		if net.ParseIP(host) != nil {
			return host + " is an address", nil
		}
		all, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil {
			return "", mqttlink.Explain("look "+host+" up", err)
		}
		return host + " is " + strings.Join(all[:min(len(all), 3)], ", "), nil
	}
}

func connect(address string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return "", mqttlink.Explain("connect to "+address, err)
		}
		return "connected to " + conn.RemoteAddr().String(), conn.Close()
	}
}

// sayConnect is a whole MQTT connection, and its end. The broker lets an agent
// have clients named after it (internal/wire/DESIGN.md, Ground).
func (id Identity) sayConnect(stateDir string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		up := make(chan struct{}, 1)
		link, err := mqttlink.New(mqttlink.Options{URL: id.MQTTURL, ClientID: string(id.Agent) + "-check", TLS: TLSFrom(stateDir),
			OnUp: func(*mqttlink.Link) { up <- struct{}{} }})
		if err != nil {
			return "", err
		}
		done := make(chan error, 1)
		go func() { done <- link.Serve(ctx) }()
		look := time.NewTicker(20 * time.Millisecond) // Serve would try for ever; the first failure is the answer
		defer look.Stop()
		for {
			select {
			case <-up:
				cancel()
				return "TLS with both certificates, and MQTT", <-done
			case <-look.C:
				if err := link.Err(); err != nil {
					cancel()
					<-done
					return "", err
				}
			case <-ctx.Done():
				<-done
				return "", mqttlink.Explain("mqtt: connect to "+id.MQTTURL, context.DeadlineExceeded)
			}
		}
	}
}

// atHand takes out of an explanation what is said to somebody who enrols.
func atHand(err error) error {
	hint := strings.TrimSuffix(fault.Hint(err), " Then run the same command again: the code is not lost.")
	return fault.New(fault.KindOf(err), "the cloud's HTTPS door", err).WithCode(fault.Code(err), hint)
}

// knock opens the HTTPS door and closes it again: any answer of whoever has the
// right certificate will do.
func (id Identity) knock(now func() time.Time) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		d := id.door("check", now)
		u, err := url.Parse(d.url)
		if err != nil {
			return "", fault.New(fault.Invalid, "the cloud's address "+d.url, err).WithCode("CLD-109", "Enrol this box again with the command of the console.")
		}
		cfg, err := d.tls(u.Hostname())
		if err != nil {
			return "", err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodHead, u.String(), nil)
		if err != nil {
			return "", err
		}
		transport := &http.Transport{TLSClientConfig: cfg, Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true}
		defer transport.CloseIdleConnections()
		client := &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
		resp, err := client.Do(req)
		if err != nil {
			return "", atHand(explainHTTPS("ask "+u.Host, err))
		}
		return u.Host + " answers over TLS", resp.Body.Close()
	}
}
