package chaos

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"iwas/internal/demo"
	"iwas/internal/wire"
)

// replica is a second iwas-cloud of the same database and broker: it has the
// folder with the authority and the key of the guests' passwords, as DESIGN.md
// says, and doors of its own.
type replica struct {
	*demo.Cafe // the first site, spoken of at the replica's console
	config     string
	log        string
	cmd        *exec.Cmd
}

// newReplica prepares one beside the cloud of c.
func newReplica(c *cafes) *replica {
	c.Helper()
	ports, err := demo.FreePorts()
	if err != nil {
		c.Fatal(err)
	}
	text, err := os.ReadFile(c.cloud().CloudConfig())
	if err != nil {
		c.Fatal(err)
	}
	dir := filepath.Join(c.dir, "replica")
	if err := os.CopyFS(filepath.Join(dir, "cloud"), os.DirFS(filepath.Join(c.cloud().Dir(), "cloud"))); err != nil {
		c.Fatal(err)
	}
	own := string(text)
	for from, to := range map[string]string{
		`(?m)^state_dir = .*$`:                         fmt.Sprintf("state_dir = %q", filepath.Join(dir, "cloud")),
		`(?m)^(\[console\]\nlisten = ").*"$`:           fmt.Sprintf(`${1}127.0.0.1:%d"`, ports.Console),
		`(?m)^(\[agents\]\nlisten = ").*"$`:            fmt.Sprintf(`${1}127.0.0.1:%d"`, ports.Agents),
		`(?m)^((?:ca|cert|key)_file = ")(broker-.*"$)`: "${1}" + c.cloud().Dir() + "/${2}",
	} {
		re := regexp.MustCompile(from)
		if !re.MatchString(own) {
			c.Fatalf("%s is not in\n%s", from, own)
		}
		own = re.ReplaceAllString(own, to)
	}
	there := *c.cloud()
	there.APIURL = fmt.Sprintf("http://127.0.0.1:%d", ports.Console)
	r := &replica{Cafe: &there, config: filepath.Join(dir, "cloud.toml"), log: filepath.Join(dir, "cloud.log")}
	if err := os.WriteFile(r.config, []byte(own), 0o600); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		if r.cmd != nil {
			_ = r.kill()
		}
		if b, err := os.ReadFile(r.log); err == nil && c.Failed() {
			c.Logf("replica's log:\n%s", b[max(0, len(b)-6000):])
		}
	})
	return r
}

func (r *replica) start(ctx context.Context) error {
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	r.cmd = exec.Command(filepath.Join(bin, "iwas-cloud"), "--config", r.config, "run")
	r.cmd.Stdout, r.cmd.Stderr = log, log
	if err := r.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = read(ctx, r.APIURL+"/readyz"); err == nil || time.Now().After(deadline) {
			return err
		}
	}
}

// kill ends it at once.
func (r *replica) kill() error {
	err := r.cmd.Process.Kill()
	_ = r.cmd.Wait() // killed
	r.cmd = nil
	return err
}

// read gets a page of a cloud.
func read(ctx context.Context, url string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", url, resp.Status)
	}
	return string(b), err
}

// batches reads how many batches of events a cloud took in.
func batches(ctx context.Context, url string) (n int, err error) {
	text, err := read(ctx, url+"/metrics")
	for in := bufio.NewScanner(strings.NewReader(text)); in.Scan(); {
		if strings.HasPrefix(in.Text(), `iwas_cloud_ingest_total{result="stored"}`) {
			f := strings.Fields(in.Text())
			n, _ = strconv.Atoi(f[len(f)-1])
		}
	}
	return n, err
}

// TestTwoCloudsShareTheWork: two processes of one database and one broker take in
// what boxes send between them, each event once. A lock pressed at either console is
// on its way at once, wherever the site's hello went, and its proof is seen at the
// other. Either may be killed at any moment, and nothing is lost or stays away.
func TestTwoCloudsShareTheWork(t *testing.T) {
	mosquitto := startBroker(t) // as above
	t.Parallel()
	c := openCafes(t, seed(t), shape{sites: 1, database: startPostgres(t), broker: mosquitto, shared: true})
	other := newReplica(c)
	if err := other.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	clouds := []*demo.Cafe{c.cloud(), other.Cafe}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var living sync.WaitGroup
	dice := rand.New(rand.NewPCG(c.seed, 1))
	c.letGuestsIn(0, dice)
	c.letCountedGuestIn(0)
	living.Go(func() {
		if err := c.report(ctx, 0); err != nil {
			c.Errorf("RADIUS load: %v", err)
		}
	})
	for n := range 6 {
		c.lockAt(clouds[n%2], clouds[1-n%2], 1+n)
	}
	for i, cloud := range clouds {
		if n, err := batches(ctx, cloud.APIURL); err != nil || n == 0 {
			t.Errorf("cloud %d took in %d batches (%v), want some at each", i, n, err)
		}
	}
	if err := other.kill(); err != nil {
		t.Fatal(err)
	}
	c.lockAt(clouds[0], clouds[0], 1)
	if err := other.start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.cloud().StopOne("cloud", true); err != nil {
		t.Fatal(err)
	}
	c.lockAt(clouds[1], clouds[1], 2)
	if err := c.cloud().StartCloud(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.lockAt(clouds[0], clouds[1], 3)
	c.repeatsMeet(clouds)
	c.triesMeet(clouds)
	c.codesMeet(c.cloud().CloudConfig(), other.config)
	stop()
	living.Wait()
	c.kickCounted(t.Context(), 0)
	c.nothingOpen(t.Context(), 0)
	c.sendGuestsHome()
	r := c.settle(150 * time.Second)[0]
	c.Logf("%s; %d RADIUS requests of the load answered", counted(r.counts), c.load[0].Answered)
}

// lockAt unlocks and locks an account at one cloud, and waits until another shows the
// proof. Waiting for the site's next hello would take up to a minute.
func (c *cafes) lockAt(cloud, other *demo.Cafe, account int) {
	c.Helper()
	path := "/api/v1/accounts/" + c.sites[0].Accounts[account%len(c.sites[0].Accounts)].ID
	for _, what := range []string{"/unlock", "/lock"} {
		if err := cloud.API(c.Context(), http.MethodPost, path+what, map[string]string{"reason": "chaos"}, nil); err != nil && what == "/lock" {
			c.Fatal(err)
		}
	}
	began := time.Now()
	for {
		var g struct{ Lock struct{ State string } }
		err := other.API(c.Context(), http.MethodGet, path, nil, &g)
		if err == nil && g.Lock.State == "enforced" {
			c.Logf("locked at %s, enforced at %s after %v", cloud.APIURL, other.APIURL, time.Since(began).Round(time.Millisecond))
			return
		}
		if time.Since(began) > 30*time.Second {
			c.Fatalf("locked at %s, and %s shows after 30 s: %+v (%v)", cloud.APIURL, other.APIURL, g, err)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}

// repeatsMeet asks for one account at both clouds at once, and once more at each, all
// with one Idempotency-Key: all get the same account with the same password.
func (c *cafes) repeatsMeet(clouds []*demo.Cafe) {
	c.Helper()
	body, err := json.Marshal(map[string]any{"kind": "user", "username": "twice", "plan": c.sites[0].PlanID(1)})
	if err != nil {
		c.Fatal(err)
	}
	answers := make([]string, 4)
	create := func(n int) {
		req, err := http.NewRequestWithContext(c.Context(), http.MethodPost, clouds[n%2].APIURL+"/api/v1/sites/"+c.sites[0].SiteID+"/accounts", bytes.NewReader(body))
		if err != nil {
			c.Error(err)
			return
		}
		req.Header.Set("Authorization", "Bearer "+clouds[n%2].APIToken)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "chaos-twice")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			c.Error(err)
			return
		}
		defer resp.Body.Close()
		var made struct{ ID, Username, Password string }
		if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || resp.StatusCode != http.StatusCreated || made.ID == "" || made.Password == "" {
			c.Errorf("request %d: %s, %+v, %v", n, resp.Status, made, err)
		}
		answers[n] = fmt.Sprintf("%+v", made)
	}
	var each sync.WaitGroup
	for n := range 2 {
		each.Go(func() { create(n) })
	}
	each.Wait()
	create(2)
	create(3)
	for _, a := range answers[1:] {
		if a != answers[0] {
			c.Errorf("one request with one key, sent twice to each cloud, got %v", answers)
			break
		}
	}
}

// triesMeet gives wrong passwords at both clouds in turn, until one has to wait.
func (c *cafes) triesMeet(clouds []*demo.Cafe) {
	c.Helper()
	try := func(n int) int {
		resp, err := http.PostForm(clouds[n%2].APIURL+"/signin", url.Values{"email": {"stranger@example.org"}, "password": {"a guess"}})
		if err != nil {
			c.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	taken := 0 // each of them was looked at
	for try(taken) == http.StatusUnauthorized && taken < 10 {
		taken++
	}
	// Five are free; a sixth after 2 s, a seventh after 4 s more, on a machine so slow.
	if taken < 5 || taken >= 10 {
		c.Errorf("%d wrong passwords were looked at, at both clouds in turn, before one had to wait; want five free ones for both together", taken)
	}
}

// codesMeet tries enrolment codes that nobody made at both clouds' doors in turn, until
// one has to wait: ten are free for both together.
func (c *cafes) codesMeet(configs ...string) {
	c.Helper()
	listen := regexp.MustCompile(`(?m)^\[agents\]\nlisten = "(.*)"$`)
	var doors []string
	for _, name := range configs {
		text, err := os.ReadFile(name)
		if err != nil {
			c.Fatal(err)
		}
		doors = append(doors, "https://"+string(listen.FindSubmatch(text)[1])+wire.PathLook)
	}
	client := &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} // who it is does not matter to a guess
	defer client.CloseIdleConnections()
	for n := range 11 {
		body, err := json.Marshal(wire.EnrolRequest{V: wire.Version, Code: "ABCDEFGH", At: time.Now()})
		if err != nil {
			c.Fatal(err)
		}
		resp, err := client.Post(doors[n%2], "application/json", bytes.NewReader(body))
		if err != nil {
			c.Fatal(err)
		}
		resp.Body.Close()
		if want := []int{http.StatusNotFound, http.StatusTooManyRequests}[n/10]; resp.StatusCode != want {
			c.Errorf("wrong enrolment code %d, at both clouds in turn: got %d, want %d", n+1, resp.StatusCode, want)
		}
	}
}
