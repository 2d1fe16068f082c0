package e2e

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"iwas/internal/demo"
	"iwas/internal/webui/webuitest"
)

// technician is somebody who kneels beside the router with a phone, and has a
// terminal of 80 columns and 24 lines on the box.
type technician struct {
	t   *testing.T
	c   *demo.Cafe
	tab *webuitest.Tab
	bin string
	env []string // of the commands
}

const (
	phoneWidth, phoneHeight = 360, 640 // CSS pixels of a small phone
	columns, lines          = 80, 24
)

func arrives(t *testing.T, c *demo.Cafe, browser *webuitest.Browser) *technician {
	t.Helper()
	return &technician{t: t, c: c, bin: bin, tab: browser.Open(t, strings.TrimSuffix(c.StatusURL, "/"), nil)}
}

// enters types a command at a terminal, and returns what the first screen of its
// output shows, at its exit code.
func (p *technician) enters(args ...string) (screen string, code int) {
	p.t.Helper()
	var line []string
	for _, w := range append([]string{filepath.Join(p.bin, "iwas-agent"), "--config", p.c.AgentConfig()}, args...) {
		line = append(line, "'"+w+"'")
	}
	typescript := filepath.Join(p.t.TempDir(), "screen")
	cmd := exec.CommandContext(p.t.Context(), program(p.t, "script"), "-qec", strings.Join(line, " "), typescript)
	cmd.Env = append(append(os.Environ(), "TERM=dumb"), p.env...)
	out, err := cmd.Output()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		p.t.Fatalf("%v: %v", args, err)
	}
	return firstScreen(string(out)), cmd.ProcessState.ExitCode()
}

// firstScreen is what a terminal shows of a text before anybody scrolls, with long
// lines broken as it breaks them.
func firstScreen(text string) string {
	var out []string
	for line := range strings.Lines(strings.ReplaceAll(text, "\r\n", "\n")) {
		line = line[strings.LastIndex(line, "\r")+1:] // written over
		for first := true; first || strings.TrimSpace(line) != ""; first = false {
			end := len(line)
			if utf8.RuneCountInString(line) > columns {
				end = len(string([]rune(line)[:columns]))
			}
			out = append(out, strings.TrimRight(line[:end], "\n"))
			line = line[end:]
		}
	}
	return strings.Join(out[:min(len(out), lines)], "\n")
}

// joined is a text as it reads, wherever its lines break.
func joined(s string) string { return strings.Join(strings.Fields(s), "") }

// byVerdict is the exit code of status by what it says: whether a wrong secret keeps out
// some guests or all of them is known a minute after the last good packet.
const byVerdict = -1

// reads wants the first screen of a command to say all of it.
func (p *technician) reads(exit int, args []string, says ...string) {
	p.t.Helper()
	screen, code := p.enters(args...)
	if exit == byVerdict {
		exit = map[bool]int{true: findings, false: done}[strings.Contains(screen, "Guests cannot log in")]
	}
	if code != exit {
		p.t.Errorf("iwas-agent %s: exit code %d, want %d\n%s", strings.Join(args, " "), code, exit, screen)
	}
	for _, s := range says {
		if !strings.Contains(joined(screen), joined(s)) {
			p.t.Errorf("iwas-agent %s: the first screen does not say %q:\n%s", strings.Join(args, " "), s, screen)
		}
	}
}

// looks opens the status page on the phone, waits for a code, and wants all of it on
// the first screen: the verdict, the cause, the next step and the way to the help.
func (p *technician) looks(verdict, code, cause, next string) {
	p.t.Helper()
	p.tab.Do(p.t, "hold the phone", emulation.SetDeviceMetricsOverride(phoneWidth, phoneHeight, 2, true))
	p.tab.Visit(p.t, "/")
	link := `#alerts a[href="/help/` + code + `"]`
	p.tab.Do(p.t, "wait for "+code, chromedp.WaitVisible(link, chromedp.ByQuery))
	if err := chromedp.Run(p.tab.Ctx, chromedp.Poll(fmt.Sprintf(`document.querySelector("#verdict .title")?.innerText.includes(%q)`, verdict), nil, chromedp.WithPollingTimeout(30*time.Second))); err != nil {
		p.t.Logf("%s: the verdict was awaited in vain: %v", code, err) // what it is instead is said below
	}
	for _, text := range []string{verdict, cause, next} {
		var seen string
		p.tab.Do(p.t, "look for "+text, chromedp.Evaluate(fmt.Sprintf(onScreen, text, phoneWidth, phoneHeight), &seen))
		if seen != "seen" {
			p.t.Errorf("%s: %q is %s", code, text, seen)
		}
	}
	var codes []string
	p.tab.Do(p.t, "read the codes", chromedp.Evaluate(`[...document.querySelectorAll("#alerts a")].map(a => a.textContent.replace("Help on ", ""))`, &codes))
	if len(codes) == 0 || codes[0] != code {
		p.t.Errorf("the page names %v, want %s first", codes, code)
	}
	var bottom float64
	p.tab.Do(p.t, "look for the link", chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q).getBoundingClientRect().bottom`, link), &bottom))
	if bottom > phoneHeight {
		p.t.Errorf("%s: the link to the help ends at %.0f of %d pixels", code, bottom, phoneHeight)
	}
	p.glimpse(code)
	// In one step: a live page replaces its elements.
	p.tab.Do(p.t, "open the help", chromedp.Evaluate(fmt.Sprintf(`document.querySelector(%q).click()`, link), nil), chromedp.WaitVisible("article.prose h2", chromedp.ByQuery))
	if title := p.tab.Text(p.t, "h1"); !strings.HasPrefix(title, code+": ") {
		p.t.Errorf("the help of %s is called %q", code, title)
	}
	for _, u := range p.tab.Foreign() {
		p.t.Errorf("%s: another server was asked: %s", code, u)
	}
}

// glimpse keeps a picture of the phone's screen, where `go test -artifacts` asks for it.
func (p *technician) glimpse(code string) {
	p.t.Helper()
	if f := flag.Lookup("test.artifacts"); f == nil || f.Value.String() != "true" {
		return
	}
	var png []byte
	p.tab.Do(p.t, "take a picture", chromedp.CaptureScreenshot(&png))
	if err := os.WriteFile(filepath.Join(p.t.ArtifactDir(), code+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// onScreen says whether the first element that reads so lies on the screen and under
// nothing else.
const onScreen = `(() => {
	const plain = s => s.replace(/\s+/g, " ").toLowerCase(), want = plain(%q);
	const all = [...document.querySelectorAll("main *")].filter(e => plain(e.innerText || "").includes(want));
	if (all.length === 0) return "nowhere on the page: " + document.querySelector("main").innerText.slice(0, 700);
	const leaf = all.find(e => ![...e.children].some(inner => all.includes(inner)));
	const r = leaf.getBoundingClientRect();
	if (r.top < 0 || r.left < 0 || r.right > %d || r.bottom > %d) return "not on the first screen: it lies at " + Math.round(r.top) + " to " + Math.round(r.bottom);
	const over = document.elementFromPoint(r.left + r.width / 2, r.top + r.height / 2);
	return over && (leaf.contains(over) || over.contains(leaf)) ? "seen" : "covered by " + (over ? over.outerHTML.slice(0, 80) : "something");
})()`

// sound waits for the page to be at peace with the site again.
func (p *technician) sound(code, verdict string) {
	p.t.Helper()
	p.tab.Visit(p.t, "/")
	p.tab.Do(p.t, "see the verdict turn", chromedp.Poll(fmt.Sprintf(
		`document.querySelector("#verdict .title")?.innerText === %q && !document.querySelector('#alerts a[href="/help/%s"]')`, verdict, code), nil, chromedp.WithPollingTimeout(90*time.Second)))
	p.reads(done, []string{"status"}, verdict+".")
}

// explains wants the help at the terminal too.
func (p *technician) explains(code, says string) {
	p.t.Helper()
	p.reads(done, []string{"explain", code}, code+": ", "What you see", says)
}

// console enters commands at the router's own console.
func console(t *testing.T, c *demo.Cafe, text string) {
	t.Helper()
	var got struct{ Shown, Refused string }
	if err := c.Control(t.Context(), http.MethodPost, "/router/paste", map[string]string{"user": "iwas", "text": text}, &got); err != nil {
		t.Fatal(err)
	}
	if got.Refused != "" {
		t.Fatalf("%s\nis refused: %s", text, got.Refused)
	}
}

// restart ends the agent and runs it again; ready says that guests can log in then.
func restart(t *testing.T, c *demo.Cafe, ready bool) {
	t.Helper()
	if err := c.StopOne("agent", false); err != nil {
		t.Fatal(err)
	}
	if !ready {
		began := make(chan error, 1)
		go func() { began <- c.StartAgent(t.Context()) }()
		until(t, "the page to be served", 20*time.Second, func() bool {
			resp, err := http.Get(c.StatusURL + "healthz")
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		})
		t.Cleanup(func() { <-began })
		return
	}
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
}

const canLogIn = "Guests can log in"

// A technician who comes to a broken cafe finds the cause and the next step on the
// first screen, of the terminal and of the phone; does what it says; and sees the
// verdict turn.
func TestTechnician(t *testing.T) {
	browser := webuitest.Start(t)
	away := cloudGone(t) // it takes a minute until that is more than a restart
	for _, broken := range []struct {
		name string
		do   func(*testing.T, *webuitest.Browser)
	}{
		{"secret", wrongSecret}, {"certificate", certificateChanged}, {"clock", clockOf1970}, {"disk", diskFull},
		{"devicemode", deviceMode}, {"state", stateDirectory}, {"cloud", away},
	} {
		t.Run(broken.name, func(t *testing.T) { broken.do(t, browser) })
	}
}

func wrongSecret(t *testing.T, browser *webuitest.Browser) {
	c := open(t, nil)
	p := arrives(t, c, browser)
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Fatal(err)
	}
	console(t, c, `/radius/set [find] secret=another`)
	if err := login(t, c, laptop, c.Accounts[0], "http-chap"); err == nil || !strings.Contains(err.Error(), "not responding") {
		t.Fatalf("a guest of a router with another secret: %v", err)
	}
	const cause, next = "The RADIUS secret is not the same on both sides", "Write the same secret into /radius on the router"
	const verdict = "log in: the RADIUS secret is not the same on both sides"
	p.looks(verdict, "RAD-103", cause, next)
	p.reads(byVerdict, []string{"status"}, verdict, "RAD-103", cause, next)
	p.reads(findings, []string{"check"}, verdict, "RAD-103", "it is another one than here", next)
	p.explains("RAD-103", "shared secret")
	console(t, c, `/radius/set [find] secret=`+c.RADIUSSecret)
	if err := login(t, c, laptop, c.Accounts[0], "http-chap"); err != nil {
		t.Fatal(err)
	}
	p.sound("RAD-103", canLogIn)
}

func certificateChanged(t *testing.T, browser *webuitest.Browser) {
	var ports demo.Ports
	c := open(t, func(o *demo.Options) { ports = o.Ports })
	p := arrives(t, c, browser)
	replace(t, c.AgentConfig(), fmt.Sprintf("api://127.0.0.1:%d", ports.RouterAPI), fmt.Sprintf("https://127.0.0.1:%d", ports.RouterREST))
	w := walk{t, c}
	w.types(done, "Trusted", "", "router", "trust", "--yes")
	restart(t, c, true)
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Fatal(err)
	}
	p.sound("RTR-104", canLogIn)
	console(t, c, "/certificate/add name=new common-name=new\n/certificate/sign new\n/ip/service/set www-ssl certificate=new")
	if err := c.Control(t.Context(), http.MethodPost, "/router/reboot", map[string]any{}, nil); err != nil {
		t.Fatal(err)
	}
	const cause, next = "The router's certificate is not the one trusted", "Run iwas-agent router trust"
	p.looks(canLogIn, "RTR-104", cause, next)
	p.reads(done, []string{"status"}, canLogIn, "RTR-104", cause, next)
	p.reads(findings, []string{"check"}, "RTR-104", "is not the one trusted; no password was sent", "iwas-agent router trust router")
	p.explains("RTR-104", "is not the one a person trusted")
	w.types(done, "NOT the one trusted", "yes\n", "router", "trust")
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Fatal(err)
	}
	p.sound("RTR-104", canLogIn)
}

// cloudGone takes a cloud away, and returns what there is to be found then.
func cloudGone(t *testing.T) func(*testing.T, *webuitest.Browser) {
	c := open(t, nil)
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Fatal(err)
	}
	if err := c.StopOne("cloud", true); err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T, browser *webuitest.Browser) {
		p := arrives(t, c, browser)
		const away, next = "The cloud is away. Logins, limits and counting go on here", "ask whoever runs the cloud whether it is up"
		p.reads(done, []string{"status"}, canLogIn, away)
		p.reads(findings, []string{"check"}, canLogIn, "CLD-101", "connection refused", next)
		p.looks(canLogIn, "CLD-101", "The cloud does not answer", next)
		p.reads(done, []string{"status"}, canLogIn, away, "CLD-101", next)
		p.explains("CLD-101", "the outbox grows")
		if err := c.StartCloud(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.sound("CLD-101", canLogIn)
	}
}

func deviceMode(t *testing.T, browser *webuitest.Browser) {
	c := open(t, nil)
	p := arrives(t, c, browser)
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Fatal(err)
	}
	allowed := func(value string) {
		t.Helper()
		if err := c.Control(t.Context(), http.MethodPut, "/router/device-mode", map[string]string{"hotspot": value}, nil); err != nil {
			t.Fatal(err)
		}
	}
	allowed("false")
	const verdict = "Guests cannot log in: the router's device-mode has switched the HotSpot off"
	const next = "/system/device-mode/update hotspot=yes"
	p.looks(verdict, "HSP-220", "device-mode advanced says hotspot: no", next)
	p.reads(findings, []string{"status"}, verdict, "HSP-220", next)
	p.reads(findings, []string{"check"}, verdict, "HSP-220", "hotspot no", next, "press its button or take its power away")
	p.explains("HSP-220", "no login page comes up")
	allowed("true")
	p.sound("HSP-220", canLogIn)
}

// disk puts the state of an agent on a disk of its own, which can be made as small as
// what is on it. false: this process may not, and nothing gets full in this run.
func disk(t *testing.T, dir string) bool {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("iwas-e2e", dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV, "mode=0700,size=2g")
	if errors.Is(err, syscall.EPERM) {
		t.Logf("no disk gets full in this run: mounting one needs root (%v)", err)
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return true
}

// resize makes a disk as large as given; 0 is as what is on it.
func resize(t *testing.T, dir string, size uint64) {
	t.Helper()
	if size == 0 {
		var st syscall.Statfs_t
		if err := syscall.Statfs(dir, &st); err != nil {
			t.Fatal(err)
		}
		size = (st.Blocks - st.Bfree) * uint64(st.Bsize)
	}
	if err := syscall.Mount("iwas-e2e", dir, "tmpfs", syscall.MS_REMOUNT|syscall.MS_NOSUID|syscall.MS_NODEV, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatal(err)
	}
}

func diskFull(t *testing.T, browser *webuitest.Browser) {
	dir, can := "", false
	c := open(t, func(o *demo.Options) {
		dir = filepath.Join(o.Dir, "agent")
		can = disk(t, dir)
	})
	if !can {
		return
	}
	p := arrives(t, c, browser)
	resize(t, dir, 0)
	full := func() {
		t.Helper()
		for i := 0; ; i++ { // what the store has set aside for this is used up first
			err := login(t, c, fmt.Sprintf("02:00:00:00:02:%02d", i), c.Accounts[1+i%4], "http-pap")
			if err != nil && strings.Contains(err.Error(), "cannot be started just now") {
				return
			}
			resize(t, dir, 0)
		}
	}
	full()
	const verdict, next = "Some guests may be unable to log in: the disk is full", "Free room on the disk of the database"
	p.looks(verdict, "DB-111", "0 B are free on the disk of "+dir, next)
	p.reads(done, []string{"status"}, verdict, "DB-111", dir, next, "sort -h | tail")
	p.reads(findings, []string{"check"}, verdict, "DB-111", "0 B are free", "Free room on the disk of "+dir, "sort -h | tail")
	p.explains("DB-111", "Guests whose pass was used before log in")

	// A power cut, and the disk still full.
	// The database opens, or does not, by what the last commits left of the disk.
	const again, room = "log in: the disk is full", "Free room on the disk of "
	restart(t, c, false)
	p.looks(again, "DB-111", "The disk is full, and passes cannot be begun", room)
	p.reads(byVerdict, []string{"status"}, again, "DB-111", room)
	resize(t, dir, 2<<30)
	until(t, "a pass to be begun", 30*time.Second, func() bool { return login(t, c, phone, c.Accounts[1], "http-pap") == nil })
	p.sound("DB-111", canLogIn)
}

// replace changes a file.
func replace(t *testing.T, file, old, with string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil || !bytes.Contains(b, []byte(old)) {
		t.Fatalf("%s holds no %q: %v", file, old, err)
	}
	if err := os.WriteFile(file, bytes.Replace(b, []byte(old), []byte(with), 1), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clockOf1970 is a box without a battery, a time server and a cloud.
func clockOf1970(t *testing.T, browser *webuitest.Browser) {
	dir := t.TempDir() // of an agent whose system date is played
	for _, name := range []string{"iwas-cloud", "routersim"} {
		if err := os.Symlink(filepath.Join(bin, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := compile(filepath.Join(dir, "iwas-agent"), "iwas/agent", "-tags", "e2e"); err != nil {
		t.Fatal(err)
	}
	clock := filepath.Join(dir, "clock")
	c := open(t, func(o *demo.Options) { o.Bin, o.Tracer = dir, []string{"env", "IWAS_E2E_DATE=" + clock} })
	p := arrives(t, c, browser)
	p.bin, p.env = dir, []string{"IWAS_E2E_DATE=" + clock}
	if err := c.StopOne("agent", true); err != nil {
		t.Fatal(err)
	}
	if err := c.StopOne("cloud", true); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(c.Dir(), "agent", "identity", "identity.json")); err != nil {
		t.Fatal(err)
	}
	say := func(text string) {
		t.Helper()
		if err := os.WriteFile(clock, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	say(fmt.Sprintf("-%ds", time.Now().Unix())) // it boots
	if err := c.StartAgent(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Errorf("a guest on a box that does not know the day: %v", err)
	}
	const cause, next = "Nobody knows what day it is", "Let this box reach a time server: the router can be one"
	p.looks(canLogIn, "CLK-103", cause, next)
	p.reads(done, []string{"status"}, canLogIn, "CLK-103", cause, next)
	p.reads(done, []string{"check"}, canLogIn, "CLK-103", "1970-01-01", next)
	p.explains("CLK-103", "No pass ends by its date")
	say("0s follows")
	p.sound("CLK-103", canLogIn)
}

// stateDirectory is one that the service may not use, and one that is not there. The
// service runs as root without root's right to pass by the rights of files.
func stateDirectory(t *testing.T, browser *webuitest.Browser) {
	c := open(t, func(o *demo.Options) {
		o.Tracer = []string{program(t, "setpriv"), "--bounding-set=-dac_override,-dac_read_search"}
	})
	dir := filepath.Join(c.Dir(), "agent")
	p := arrives(t, c, browser)
	if err := login(t, c, phone, c.Accounts[0], "http-chap"); err != nil {
		t.Fatal(err)
	}
	const verdict = "Guests cannot log in: the state directory cannot be written"
	found := func(cause, next string) {
		t.Helper()
		restart(t, c, false)
		p.looks(verdict, "DB-103", cause, next)
		p.reads(findings, []string{"status"}, verdict, "DB-103", cause, next)
		p.reads(findings, []string{"check"}, verdict, "DB-103", next)
	}
	// Somebody who is not on yet logs in: that is what the verdict goes by.
	mended := func(device string, who demo.Account) {
		t.Helper()
		restart(t, c, true)
		if err := login(t, c, device, who, "http-chap"); err != nil {
			t.Fatal(err)
		}
		p.sound("DB-103", canLogIn)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Chown(dir, 65534, 65534))
	found("permission denied", "sudo chown -R iwas-agent: "+dir)
	must(exec.CommandContext(t.Context(), "chown", "-R", "root:", dir).Run())
	mended(phone, c.Accounts[0])
	p.explains("DB-103", "cannot write into its state directory")

	must(os.Rename(dir, dir+"-away"))
	must(os.Chmod(c.Dir(), 0o500))
	found("permission denied", "Make it: sudo install -d -m 0700 -o iwas-agent -g iwas-agent "+dir)
	must(os.WriteFile(dir, nil, 0o600))
	found("not a directory", "Something that is no directory stands at "+dir)
	must(os.Remove(dir))
	must(os.Chmod(c.Dir(), 0o700))
	must(os.Rename(dir+"-away", dir))
	mended(laptop, c.Accounts[1])
}
