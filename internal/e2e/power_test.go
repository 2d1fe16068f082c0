package e2e

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	layeh "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2866"

	"iwas/internal/demo"
)

func listenUDP(port int) (net.PacketConn, error) {
	return net.ListenPacket("udp4", fmt.Sprintf("127.0.0.1:%d", port))
}

// nas sends RADIUS as a router does: the same bytes until answered.
type nas struct {
	c    *demo.Cafe
	mac  string
	next byte
	from map[string]bool // the ports it asked from
}

func (n *nas) exchange(ctx context.Context, addr string, p *layeh.Packet) (*layeh.Packet, error) {
	n.next++
	p.Identifier = n.next
	b, err := p.Encode()
	if err != nil {
		return nil, err
	}
	conn, err := net.Dial("udp", addr)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if n.from == nil {
		n.from = map[string]bool{}
	}
	_, port, err := net.SplitHostPort(conn.LocalAddr().String())
	if err != nil {
		return nil, err
	}
	n.from[port] = true
	buf := make([]byte, 4096)
	for ctx.Err() == nil {
		if _, err := conn.Write(b); err != nil && ctx.Err() == nil {
			// refused: the agent is down; ask again
			if !pause(ctx, 20*time.Millisecond) {
				break
			}
			continue
		}
		if err := conn.SetReadDeadline(time.Now().Add(300 * time.Millisecond)); err != nil {
			return nil, err
		}
		size, err := conn.Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) && !pause(ctx, 20*time.Millisecond) {
				break
			}
			continue
		}
		if layeh.IsAuthenticResponse(buf[:size], b, []byte(n.c.RADIUSSecret)) {
			return layeh.Parse(bytes.Clone(buf[:size]), []byte(n.c.RADIUSSecret))
		}
	}
	return nil, ctx.Err()
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// session is what was acknowledged of one session.
type session struct {
	id               string
	account          string
	upload, download uint32
	seconds          int
	closed           bool
}

// used is what is gone of a pass.
type used struct{ upload, download, seconds int64 }

const (
	// The load plays the last hour: a session of 4 s in every 14 s of it, each
	// record with the Acct-Delay-Time that it is late. So the seconds of sessions
	// follow one another as a guest's do, and a record that is sent again until
	// the agent is back moves none of them into the next.
	playedFrom = 58 * time.Minute // Acct-Delay-Time is believed up to an hour
	playedStep = 14 * time.Second
)

// login returns the Class of an Accept.
func (n *nas) login(ctx context.Context, a demo.Account, id string) ([]byte, error) {
	p := layeh.New(layeh.CodeAccessRequest, []byte(n.c.RADIUSSecret))
	for _, err := range []error{rfc2865.UserName_AddString(p, a.Username), rfc2865.CallingStationID_AddString(p, n.mac),
		rfc2866.AcctSessionID_AddString(p, id), rfc2865.UserPassword_AddString(p, a.Password)} {
		if err != nil {
			return nil, err
		}
	}
	reply, err := n.exchange(ctx, n.c.RADIUSAuth, p)
	if err != nil {
		return nil, err
	}
	if reply.Code != layeh.CodeAccessAccept {
		return nil, fmt.Errorf("login of %s: %v %q", a.Username, reply.Code, rfc2865.ReplyMessage_GetString(reply))
	}
	return rfc2865.Class_Get(reply), nil
}

// live runs one session that began then: login, Start, interims, Stop. It
// reports after every acknowledgement.
func (n *nas) live(ctx context.Context, a demo.Account, id string, began time.Time, acked func(session)) error {
	secret := []byte(n.c.RADIUSSecret)
	set := func(p *layeh.Packet) error {
		return errors.Join(rfc2865.UserName_AddString(p, a.Username), rfc2865.CallingStationID_AddString(p, n.mac), rfc2866.AcctSessionID_AddString(p, id))
	}
	class, err := n.login(ctx, a, id)
	if err != nil {
		return err
	}
	for i, kind := range []rfc2866.AcctStatusType{1, 3, 3, 3, 2} {
		p := layeh.New(layeh.CodeAccountingRequest, secret)
		s := session{id: id, account: a.ID, upload: uint32(i * 1000), download: uint32(i * 70_003), seconds: i, closed: kind == 2}
		late := time.Since(began.Add(time.Duration(i) * time.Second))
		err := errors.Join(set(p), rfc2866.AcctStatusType_Add(p, kind), rfc2865.Class_Add(p, class),
			rfc2866.AcctInputOctets_Add(p, rfc2866.AcctInputOctets(s.upload)), rfc2866.AcctOutputOctets_Add(p, rfc2866.AcctOutputOctets(s.download)),
			rfc2866.AcctSessionTime_Add(p, rfc2866.AcctSessionTime(s.seconds)), rfc2866.AcctDelayTime_Add(p, rfc2866.AcctDelayTime(late/time.Second)))
		if err != nil {
			return err
		}
		if _, err := n.exchange(ctx, n.c.RADIUSAcct, p); err != nil {
			return err
		}
		acked(s)
	}
	return nil
}

// TestKill9LosesNothing kills the agent twenty times under accounting load. What
// was acknowledged is in the agent's store and, after catch-up, in the cloud,
// once; and octets and seconds of each pass are what its records say, to the last.
func TestKill9LosesNothing(t *testing.T) {
	const kills, workers = 20, 6
	c := open(t, nil)
	var accounts []demo.Account
	for i := range workers {
		a, err := c.CreateAccount(t.Context(), map[string]any{"kind": "user", "username": fmt.Sprintf("load%d", i), "plan": c.PlanID(1)})
		if err != nil {
			t.Fatal(err)
		}
		accounts = append(accounts, a)
	}
	until(t, "the accounts at the site", 10*time.Second, func() bool { ok, err := c.InStep(t.Context()); return ok && err == nil })

	var mu sync.Mutex
	var enough atomic.Bool // sessions that began are played to their end, so that every record is acknowledged
	acked := map[string]session{}
	records := 0
	ctx, stop := context.WithTimeout(t.Context(), 3*time.Minute)
	defer stop()
	var wg sync.WaitGroup
	for w, a := range accounts {
		wg.Go(func() {
			n := &nas{c: c, mac: fmt.Sprintf("02:00:00:00:02:%02X", w)}
			began := time.Now().Add(-playedFrom)
			for i := 0; !enough.Load() && ctx.Err() == nil && time.Since(began) > playedStep; i++ {
				began = began.Add(playedStep)
				err := n.live(ctx, a, fmt.Sprintf("%02x%06x", 0x90+w, i), began, func(s session) {
					mu.Lock()
					defer mu.Unlock()
					acked[s.id] = s
					records++
				})
				if err != nil {
					t.Errorf("worker %d: %v", w, err)
					return
				}
			}
		})
	}
	for range kills {
		pause(ctx, time.Duration(100+rand.IntN(400))*time.Millisecond)
		if err := c.StopOne("agent", true); err != nil {
			t.Fatal(err)
		}
		if err := c.StartAgent(ctx); err != nil {
			t.Fatal(err)
		}
	}
	pause(ctx, 200*time.Millisecond)
	enough.Store(true)
	wg.Wait()

	mu.Lock()
	defer mu.Unlock()
	until(t, "every event in the cloud", 60*time.Second, func() bool {
		var s struct {
			Backlog int64   `json:"backlog"`
			DataAge float64 `json:"data_age_s"`
		}
		if err := c.API(t.Context(), http.MethodGet, "/api/v1/sites/"+c.SiteID, nil, &s); err != nil {
			t.Fatal(err)
		}
		return s.Backlog == 0 && agentBacklog(t, c) == 0
	})
	for _, program := range []string{"agent", "cloud"} {
		if err := c.StopOne(program, true); err != nil {
			t.Fatal(err)
		}
	}
	want := map[string]used{}
	for _, s := range acked {
		u := want[s.account]
		want[s.account] = used{u.upload + int64(s.upload), u.download + int64(s.download), u.seconds + int64(s.seconds)}
	}
	for where, table := range map[string]string{"agent": "usage", "cloud": "pass_usage"} {
		file := filepath.Join(c.Dir(), where, "iwas.db")
		have := storedSessions(t, file)
		missing, doubled := 0, 0
		for id, want := range acked {
			got := have[id]
			switch {
			case len(got) == 0, got[0].upload < want.upload, want.closed && !got[0].closed:
				missing++
			case len(got) > 1:
				doubled++
			}
		}
		t.Logf("%s: %d sessions, %d records acknowledged over %d kills; %d missing, %d doubled", where, len(acked), records, kills, missing, doubled)
		if missing+doubled > 0 {
			t.Errorf("%s: %d acknowledged sessions missing, %d doubled; want none", where, missing, doubled)
		}
		usage := storedUsage(t, file, table)
		for _, a := range accounts {
			if got := usage[a.ID]; got != want[a.ID] {
				t.Errorf("%s: the pass of %s used %+v, its records say %+v", where, a.Username, got, want[a.ID])
			}
		}
	}
	if records < 500 {
		t.Errorf("only %d records were acknowledged: the load was too light to prove anything", records)
	}
}

// agentBacklog asks the agent's own page how many events wait.
func agentBacklog(t testing.TB, c *demo.Cafe) int64 {
	t.Helper()
	resp, err := http.Get(c.StatusURL + "status.json")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var s struct {
		Outbox struct{ Waiting int64 }
	}
	if err := json.NewDecoder(resp.Body).Decode(&s); err != nil {
		t.Fatal(err)
	}
	return s.Outbox.Waiting
}

// traced lets a guest live five times at an agent whose system calls are watched,
// and counts Accounting-Responses, and those that left before their record was
// on disk. The programs are those in folder, the agent's under strace with flags.
func traced(t *testing.T, folder string, flags ...string) (responses, unproven int) {
	t.Helper()
	trace := filepath.Join(t.TempDir(), "trace")
	c := open(t, func(o *demo.Options) {
		o.Bin = folder
		o.Tracer = append([]string{program(t, "strace"), "-D", "-f", "-yy", "-s", "4", "-e", "trace=write,pwrite64,fdatasync,fsync,sendto,sendmsg,sendmmsg,recvfrom,recvmsg,recvmmsg", "-o", trace}, flags...)
	})
	tess := c.Accounts[0]
	n := &nas{c: c, mac: phone}
	for i := range 5 {
		if err := n.live(t.Context(), tess, fmt.Sprintf("a000%04x", i), time.Now().Add(-playedFrom), func(session) {}); err != nil {
			t.Fatal(err)
		}
	}
	pid := c.Pid("agent") // with -D the agent is our child, and strace its other parent
	if err := c.StopOne("agent", false); err != nil {
		t.Fatal(err)
	}
	responses, unproven = judgeTrace(wholeTrace(t, trace, pid), c.RADIUSAcct, n.from)
	if responses < 25 {
		t.Errorf("saw %d Accounting-Responses, want at least 25", responses)
	}
	return responses, unproven
}

// TestAResponseLeavesOnlyAfterTheDisk watches the agent's system calls: between
// the write of a record to the log and its Accounting-Response lies an fdatasync
// of the log. kill -9 cannot tell, because the page cache survives it.
func TestAResponseLeavesOnlyAfterTheDisk(t *testing.T) {
	if responses, unproven := traced(t, bin); unproven > 0 {
		t.Errorf("%d of %d Accounting-Responses left before their record was written to the log and the log was synced", unproven, responses)
	}
}

// TestTheTraceTellsACommitThatDoesNotSync: the test above fails at
// synchronous=NORMAL, which only an agent built with the tag e2e can be told.
func TestTheTraceTellsACommitThatDoesNotSync(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"iwas-cloud", "routersim"} {
		if err := os.Symlink(filepath.Join(bin, name), filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := compile(filepath.Join(folder, "iwas-agent"), "iwas/agent", "-tags", "e2e"); err != nil {
		t.Fatal(err)
	}
	responses, unproven := traced(t, folder, "-E", "IWAS_E2E_SYNCHRONOUS=NORMAL")
	// A sync for another reason, such as a checkpoint's, may cover a few.
	if unproven*2 < responses {
		t.Errorf("%d of %d Accounting-Responses left before the log was synced; without syncing it must be most of them", unproven, responses)
	}
	// The program as shipped is deaf to the switch.
	if responses, unproven := traced(t, bin, "-E", "IWAS_E2E_SYNCHRONOUS=NORMAL"); unproven > 0 {
		t.Errorf("the shipped program was told not to sync, and %d of %d Accounting-Responses left before it did", unproven, responses)
	}
}

// wholeTrace returns the trace once strace wrote its last line, the end of pid.
func wholeTrace(t *testing.T, name string, pid int) string {
	t.Helper()
	last := regexp.MustCompile(fmt.Sprintf(`(?m)^%d +\+\+\+ exited with`, pid))
	for deadline := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if last.Match(b) {
			return string(b)
		}
		if time.Now().After(deadline) {
			t.Fatalf("the trace does not tell of the agent's end; it has %d bytes", len(b))
		}
	}
}

// TestTheJudgeOfTracesCanSayNo: as with synchronous=NORMAL, where the write is
// there and the fdatasync is not.
func TestTheJudgeOfTracesCanSayNo(t *testing.T) {
	const addr = "127.0.0.1:1813"
	ask := `7 recvfrom(9<UDP:[127.0.0.1:1813]>, "\4\1\0\24"..., 4097, 0, {sa_family=AF_INET, sin_port=htons(40001)}, [112 => 16]) = 60` + "\n"
	send := `7 sendto(9<UDP:[127.0.0.1:1813]>, "\5\1\0\24"..., 20, 0, {sa_family=AF_INET, sin_port=htons(40001)}, 16) = 20` + "\n"
	other := strings.NewReplacer(`\4\1`, `\4A`, `\5\1`, `\5A`)
	another := strings.NewReplacer("40001", "40002")
	write := `7 pwrite64(5</x/iwas.db-wal>, "abcd"..., 4120, 32) = 4120` + "\n"
	sync := `7 fdatasync(5</x/iwas.db-wal>) = 0` + "\n"
	begun, ended := `7 fdatasync(5</x/iwas.db-wal> <unfinished ...>`+"\n", `7 <... fdatasync resumed>) = 0`+"\n"
	for _, tc := range []struct {
		name, trace         string
		responses, unproven int
	}{
		{"synced", ask + write + sync + send, 1, 0},
		{"the next write is under way", ask + write + sync + write + send, 1, 0},
		{"synced while another thread ran", ask + write + begun + ended + send, 1, 0},
		{"not synced", ask + write + send, 1, 1},
		{"the sync is not over", ask + write + begun + send + ended, 1, 1},
		{"synced too late", ask + write + send + sync, 1, 1},
		{"synced before it was written", ask + sync + write + send, 1, 1},
		{"written later", ask + send + write + sync, 1, 1},
		{"the sync of the record before", ask + write + sync + send + other.Replace(ask+send), 2, 1},
		{"two at once", ask + write + another.Replace(ask) + sync + send + write + sync + another.Replace(send), 2, 0},
		{"two at once, one not synced", ask + write + another.Replace(ask) + sync + send + write + another.Replace(send), 2, 1},
		{"a Disconnect-Request is no answer", ask + write + strings.ReplaceAll(send, `\5\1`, `\50\1`) + sync + send, 1, 0},
		{"somebody else's is not judged", ask + write + strings.ReplaceAll(ask, "40001", "50001") + strings.ReplaceAll(send, "40001", "50001") + sync + send, 1, 0},
		{"asked twice", ask + write + ask + sync + send + send, 1, 0},
		{"asked again after the answer", ask + write + sync + send + ask + send, 1, 0},
		{"answered again after the next", ask + write + sync + send + ask + other.Replace(ask+write+sync+send) + send, 2, 0},
	} {
		if r, u := judgeTrace(tc.trace, addr, map[string]bool{"40001": true, "40002": true}); r != tc.responses || u != tc.unproven {
			t.Errorf("%s: got %d responses, %d unproven; want %d, %d", tc.name, r, u, tc.responses, tc.unproven)
		}
	}
}

var (
	walWrite = regexp.MustCompile(`(pwrite64|write)\(\d+<[^>]*-wal>`)
	walSync  = regexp.MustCompile(`(fdatasync|fsync)\(\d+<[^>]*-wal>`)
	resumed  = regexp.MustCompile(`<\.\.\. (fdatasync|fsync) resumed>`)
	receives = regexp.MustCompile(`recv(from|msg|mmsg)\b`)
	sends    = regexp.MustCompile(`send(to|msg|mmsg)\(`)
	// Code and identifier of a packet, as strace escapes octets: never three digits
	// but before a digit, so \50 is another code.
	asking    = regexp.MustCompile(`"\\(?:4|004)(\\[0-7]{1,3}|\\.|[^0-7\\])`)
	answering = regexp.MustCompile(`"\\(?:5|005)(\\[0-7]{1,3}|\\.|[^0-7\\])`)
	peerPort  = regexp.MustCompile(`sin_port=htons\((\d+)\)`)
)

// packetsOf names the packets of a line by port and identifier, those of the
// ports given.
func packetsOf(line string, code *regexp.Regexp, of map[string]bool) []string {
	ports, ids := peerPort.FindAllStringSubmatch(line, -1), code.FindAllStringSubmatch(line, -1)
	var names []string
	for i := range min(len(ports), len(ids)) {
		if of[ports[i][1]] {
			names = append(names, ports[i][1]+ids[i][1])
		}
	}
	return names
}

// judgeTrace counts Accounting-Responses, and those not proven to be on disk: a
// response is proven when, after its request came in, the log was written and
// then synced. A request that comes again, however late, and its answer are
// passed over; so is who asks from another port: the simulated router's
// Accounting-On changes nothing where nothing is open, and is not written.
func judgeTrace(trace, acct string, from map[string]bool) (responses, unproven int) {
	const came, written, synced, answered = 1, 2, 3, 4
	state := map[string]int{}
	step := func(from, to int) {
		for p, s := range state {
			if s == from {
				state[p] = to
			}
		}
	}
	for _, line := range strings.Split(trace, "\n") {
		switch {
		case receives.MatchString(line):
			for _, p := range packetsOf(line, asking, from) {
				state[p] = max(state[p], came)
			}
		case walWrite.MatchString(line):
			step(came, written)
		case walSync.MatchString(line) && !strings.Contains(line, "unfinished"), resumed.MatchString(line):
			step(written, synced)
		case sends.MatchString(line) && strings.Contains(line, acct):
			for _, p := range packetsOf(line, answering, from) {
				if state[p] == answered {
					continue
				}
				responses++
				if state[p] != synced {
					unproven++
				}
				state[p] = answered
			}
		}
	}
	return responses, unproven
}

// sum keeps the packet builder honest: a Request Authenticator is recomputed
// here the way RFC 2866 §3 says.
func sum(b []byte, secret string) [16]byte {
	z := bytes.Clone(b)
	clear(z[4:20])
	return md5.Sum(append(z[:binary.BigEndian.Uint16(z[2:])], secret...))
}

func TestTheLoadIsSignedByTheBook(t *testing.T) {
	p := layeh.New(layeh.CodeAccountingRequest, []byte("x"))
	b, err := p.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if got := sum(b, "x"); !bytes.Equal(got[:], b[4:20]) {
		t.Errorf("got %x, want %x", b[4:20], got)
	}
}
