package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// printed is what a person on site has: the commands of README.md's first run, in
// their order, with what stands for something of their own.
func printed(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("packaging", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, chapter, _ := strings.Cut(string(text), "\n## First run, with a real MikroTik\n")
	chapter, _, _ = strings.Cut(chapter, "\n## ")
	var out []string
	for _, m := range regexp.MustCompile("(?m)^ {4,}(sudo .*)$|`(sudo systemctl restart iwas-agent)`").FindAllStringSubmatch(chapter, -1) {
		command, _, _ := strings.Cut(m[1]+m[2], "  #")
		out = append(out, strings.TrimSpace(command))
	}
	return out
}

// firstRun is somebody who reads those instructions in a cafe: a box with a fresh Debian, a
// router whose HotSpot works, and maybe a cloud.
type firstRun struct {
	machine
	t        *testing.T
	services map[string]**service
	said     string // by the last command
}

const adminPassword = "the-routers-password"

// types runs one printed command, with what is typed at its questions.
func (f *firstRun) types(command, typed string) {
	f.t.Helper()
	f.write(f.t, "/srv/typed", []byte(typed), 0o600)
	f.said = f.managed(f.t, f.services, "sh", "-c", command+" </srv/typed")
}

// reads fails unless the last command said that.
func (f *firstRun) reads(want string) {
	f.t.Helper()
	if !strings.Contains(f.said, want) {
		f.t.Errorf("it does not say %q:\n%s", want, f.said)
	}
}

// asks calls an HTTP API in the machine's network.
func (f *firstRun) asks(method, url string, body, into any) {
	f.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		f.t.Fatal(err)
	}
	out, err := tried(f.t, "nsenter", append(within(f.holder), "curl", "-sS", "--fail-with-body", "--max-time", "60", "-X", method, "-H", "Content-Type: application/json",
		"-H", "Authorization: Bearer "+apiToken, "-d", string(b), url)...)
	if err == nil && into != nil {
		err = json.Unmarshal([]byte(out), into)
	}
	if err != nil {
		f.t.Fatalf("%s %s: %v\n%s", method, url, err, out)
	}
}

// apiToken lets this test do in the console what a person clicks there.
const apiToken = "iwas_0123456789012345678901234567890"

// router is the cafe's: its HotSpot works, and it has never heard of us.
func (f *firstRun) router() {
	f.t.Helper()
	dir := f.t.TempDir()
	sh(f.t, "env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-buildvcs=false", "-o", dir, "./internal/routersim/cmd/routersim")
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte(adminPassword), 0o600); err != nil {
		f.t.Fatal(err)
	}
	c := exec.Command("nsenter", append(within(f.holder), filepath.Join(dir, "routersim"), "-identity", "CAFE1", "-api", "127.0.0.1:0", "-api-ssl", "127.0.0.1:8729", "-user", "admin", "-password-file", password)...)
	said := &lines{}
	c.Stderr = said
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		_ = c.Process.Kill() // gone if it could not begin
		_ = c.Wait()
	})
	deadline := time.Now().Add(patience)
	for {
		if _, err := tried(f.t, "nsenter", append(within(f.holder), "curl", "-sS", "--max-time", "5", "http://127.0.0.1:8799/router/counters")...); err == nil {
			break
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("no router: %s", said)
		}
		time.Sleep(50 * time.Millisecond) // looks again
	}
	f.asks("PUT", "http://127.0.0.1:8799/router/knobs", map[string]bool{"still": true}, nil)
}

// console is a cloud with an owner and a site; it returns the site, the command that it
// prints for a box, and the code.
func (f *firstRun) console() (site, command, code string) {
	f.t.Helper()
	f.write(f.t, "/srv/password", []byte("a long password\n"), 0o600)
	f.write(f.t, "/srv/token", []byte(apiToken+"\n"), 0o600)
	f.sh(f.t, "iwas-cloud", "owner", "add", "--organization", "My cafes", "--email", "you@example.com", "--password-file", "/srv/password")
	f.sh(f.t, "iwas-cloud", "token", "add", "--email", "you@example.com", "--name", "test", "--token-file", "/srv/token")
	s := f.start(f.t, "iwas-cloud", "")
	s.hears(f.t, "READY=1")
	f.services["iwas-cloud"] = &s
	const api = "http://127.0.0.1:8080/api/v1/"
	var made struct{ ID, Code, Command string }
	f.asks("POST", api+"sites", map[string]string{"name": "Corner cafe", "time_zone": "Africa/Cairo", "currency": "EGP"}, &made)
	site = made.ID
	f.asks("POST", api+"sites/"+site+"/enrolment-codes", map[string]string{}, &made)
	return site, made.Command, made.Code
}

// confirm compares the check number that the box printed with the console's, and
// presses the button.
func (f *firstRun) confirm(site string) {
	f.t.Helper()
	var list struct {
		Items []struct {
			ID          string `json:"id"`
			CheckNumber string `json:"check_number"`
		}
	}
	f.asks("GET", "http://127.0.0.1:8080/api/v1/sites/"+site+"/agents", nil, &list)
	if len(list.Items) != 1 {
		f.t.Fatalf("the console shows %d boxes", len(list.Items))
	}
	f.reads("Check number: " + list.Items[0].CheckNumber)
	f.asks("POST", "http://127.0.0.1:8080/api/v1/agents/"+list.Items[0].ID+"/confirm", map[string]string{}, nil)
}

// paste enters the last command's output at the router's terminal.
func (f *firstRun) paste() {
	f.t.Helper()
	at := strings.Index(f.said, "# IWAS: lets the box")
	if at < 0 {
		f.t.Fatalf("there is nothing to paste:\n%s", f.said)
	}
	text, _, _ := strings.Cut(f.said[at:], "\nNext: ")
	var got struct{ Shown, Refused string }
	f.asks("POST", "http://127.0.0.1:8799/router/paste", map[string]string{"user": "admin", "text": text}, &got)
	for line := range strings.Lines(got.Refused) {
		if !strings.Contains(line, "bad parameter available-from") { // of RouterOS 7.24
			f.t.Errorf("the router refuses %s", line)
		}
	}
	if !strings.Contains(got.Shown, "fingerprint") {
		f.t.Errorf("the router prints %q", got.Shown)
	}
}

// The first run by the printed instructions alone, each step of them, with a cloud
// and without one, until a guest is in. Each step says what is next.
func TestTheFirstRun(t *testing.T) {
	t.Parallel()
	for _, cloud := range []bool{true, false} {
		t.Run(map[bool]string{true: "with a cloud", false: "without a cloud"}[cloud], func(t *testing.T) {
			f := &firstRun{machine: fresh(t), t: t, services: map[string]**service{}}
			newer := of(t, newerBuild)
			f.write(t, "/etc/hosts", []byte("127.0.0.1 localhost\n"), 0o644)
			f.router()
			f.systemctl(t)
			f.write(t, "/usr/local/sbin/sudo", []byte("#!/bin/sh\nexec \"$@\"\n"), 0o755)
			var site, command, code string
			if cloud {
				f.sh(t, "apt-get", "install", "-y", "--no-install-recommends", f.put(t, only(t, newer, "iwas-cloud_*.deb")))
				site, command, code = f.console()
			}
			began := time.Now()
			f.said = f.sh(t, "apt-get", "install", "-y", "--no-install-recommends", f.put(t, only(t, newer, "iwas-agent_*.deb")))
			f.reads("sudo iwas-agent enroll --cloud https://HOST")
			f.reads("sudo iwas-agent router script --agent-address ADDRESS")
			agent := f.start(t, "iwas-agent", "")
			agent.hears(t, "READY=1")
			f.services["iwas-agent"] = &agent
			f.follow(printed(t), site, command, code)
			f.plan(cloud)
			f.guestLogsIn()
			t.Logf("the whole first run %s: %.0f s (120)", t.Name(), time.Since(began).Seconds())
			if cloud {
				f.seenIn(site)
			}
		})
	}
}

// follow does what is printed, in its order.
func (f *firstRun) follow(commands []string, site, command, code string) {
	f.t.Helper()
	restarts, steps := 0, 0
	for _, c := range commands {
		c = strings.NewReplacer("ADDRESS", "127.0.0.1", "ROUTER", "127.0.0.1").Replace(c)
		steps++
		switch {
		case strings.HasPrefix(c, "sudo iwas-agent enroll --cloud https://HOST:8443 --fingerprint "):
			if site == "" {
				continue // left out for a cafe without a cloud
			}
			if !strings.HasPrefix(command, "sudo iwas-agent enroll --cloud https://") || !strings.Contains(command, " --fingerprint ") {
				f.t.Fatalf("the console prints %q", command)
			}
			f.types(command, code+"\ny\n")
			f.reads("Corner cafe")
			f.reads("Next: in the console, compare this number and press Confirm.")
			f.reads("systemctl restart iwas-agent")
			f.confirm(site)
		case c == "sudo systemctl restart iwas-agent":
			restarts++
			f.types(c, "")
		case strings.HasPrefix(c, "sudo iwas-agent router script"):
			f.types(c, "")
			f.reads("iwas-agent router add api-ssl://ROUTER")
			f.paste()
		case strings.HasPrefix(c, "sudo iwas-agent router add"):
			f.types(c, "y\n")
			f.reads("Logged in to CAFE1.")
			f.reads("systemctl restart iwas-agent), then iwas-agent router check")
		case strings.HasPrefix(c, "sudo iwas-agent router check"):
			f.types(c+" || [ $? = 4 ]", "") // lines about the HotSpot fail until it is set up
			f.reads("RAD-104")
			f.wants("radius-only")
		case strings.HasPrefix(c, "sudo iwas-agent router plan"):
			f.types(c, "")
			f.reads("Next: iwas-agent router apply")
		case strings.HasPrefix(c, "sudo iwas-agent router apply"):
			f.types(c, adminPassword+"\ny\n")
			f.reads("iwas-agent router confirm")
		case strings.HasPrefix(c, "sudo iwas-agent router confirm"):
			f.types(c, "")
			f.reads("Confirmed")
		default:
			f.t.Fatalf("README.md prints %q, which this test does not know", c)
		}
	}
	if steps < 9 || restarts != 2 {
		f.t.Errorf("README.md prints %q", commands)
	}
	// Step 5: it is clean, once what the router asked before this box knew it is forgotten.
	var got struct{ Refused string }
	f.asks("POST", "http://127.0.0.1:8799/router/paste", map[string]string{"user": "admin", "text": "/radius/reset-counters"}, &got)
	if got.Refused != "" {
		f.t.Errorf("the router refuses %s", got.Refused)
	}
	f.types("sudo iwas-agent router check", "")
}

// wants says how the router is to be, as README.md's step 4 does.
func (f *firstRun) wants(mode string) {
	f.t.Helper()
	file := filepath.Join(f.root, "etc/iwas-agent/conf.d/router.toml")
	part, err := os.ReadFile(file)
	if err == nil {
		err = os.WriteFile(file, fmt.Appendf(part, "\n[nas.setup]\nmode = %q\n", mode), 0o640)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// plan makes something to sell: in the console where there is one, at the box where not.
func (f *firstRun) plan(cloud bool) {
	f.t.Helper()
	if !cloud {
		f.types(`sudo iwas-agent plan add "1 hour" --price 5 --currency EGP --time 1h --metered`, "")
		return
	}
	f.asks("POST", "http://127.0.0.1:8080/api/v1/plans", map[string]any{"name": "1 hour", "price": map[string]any{"minor": 500, "currency": "EGP"},
		"limits": map[string]any{"time_s": 3600, "clock": "metered"}}, nil)
	f.types(`timeout 60 sh -c 'until iwas-agent plan list | grep -q "1 hour"; do sleep 0.2; done'`, "")
}

// guestLogsIn sells a voucher at the box and logs a phone in with it.
func (f *firstRun) guestLogsIn() {
	f.t.Helper()
	f.types(`sudo iwas-agent voucher sell "1 hour" --json`, "")
	code := regexp.MustCompile(`"(?:name|username|code)": *"([^"]+)"`).FindStringSubmatch(f.said)
	if code == nil {
		f.t.Fatalf("nothing was sold:\n%s", f.said)
	}
	const phone = "http://127.0.0.1:8799/guests/02:00:00:00:00:07/"
	f.asks("POST", phone+"arrive", map[string]string{}, nil)
	var guest struct{ Online bool }
	f.asks("POST", phone+"login", map[string]string{"method": "http-chap", "username": code[1], "password": code[1]}, &guest)
	if !guest.Online {
		f.t.Error("the guest is not online")
	}
	f.types("sudo iwas-agent status", "")
	f.reads("Guests can log in")
}

// seenIn waits for the guest's session in the console.
func (f *firstRun) seenIn(site string) {
	f.t.Helper()
	(*f.services["iwas-agent"]).until(f.t, "the session in the cloud", func() bool {
		var list struct{ Items []struct{ ID string } }
		f.asks("GET", "http://127.0.0.1:8080/api/v1/sites/"+site+"/sessions", nil, &list)
		return len(list.Items) == 1
	})
}
