package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runs starts a program in a network, and returns what it says.
func runs(t *testing.T, holder int, env []string, args ...string) *lines {
	t.Helper()
	said := &lines{}
	c := exec.Command("nsenter", append(within(holder), args...)...)
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), env...), said, said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill() // gone if it could not begin
		_ = c.Wait()
	})
	return said
}

// comes waits for something, and ends the test with what was said if it does not.
func comes(t *testing.T, what string, said *lines, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) { // looks again
		if time.Now().After(deadline) {
			t.Fatalf("%s did not come\n%s", what, said)
		}
	}
}

// Caddy in front of the console, by the file that is shipped: the console is reached over
// TLS by its name, hears the visitor's own address whatever the visitor claims, and its
// live pages arrive line by line. What is for the machine alone stays there.
func TestCaddyInFrontOfTheConsole(t *testing.T) {
	t.Parallel()
	dist := of(t, newerBuild)
	dir := t.TempDir()
	sh(t, "tar", "-xzf", only(t, dist, "iwas-cloud_*_linux_amd64.tar.gz"), "--strip-components=1", "-C", dir)
	caddyfile, err := os.ReadFile(filepath.Join(dir, "configs", "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{
		// Certificates of its own, since nobody can be asked for one here; else as it is.
		"Caddyfile":  "{\n\tlocal_certs\n\tskip_install_trust\n\tadmin off\n}\n" + string(caddyfile),
		"cloud.toml": fmt.Sprintf("version = 1\nstate_dir = %q\n[console]\npublic_url = \"https://console.example.com\"\n", filepath.Join(dir, "state")),
		"password":   "a long password\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(name string) string { return filepath.Join(dir, name) }
	sh(t, "caddy", "validate", "--adapter", "caddyfile", "--config", at("configs/Caddyfile"))
	sh(t, at("iwas-cloud"), "--config", at("cloud.toml"), "owner", "add", "--organization", "Cafe", "--email", "owner@cafe.example", "--password-file", at("password"))

	const server, visitor = "203.0.113.1", "203.0.113.9"
	holder := network(t)
	for _, address := range []string{server, visitor} {
		sh(t, "nsenter", append(within(holder), "ip", "address", "add", address+"/32", "dev", "lo")...)
	}
	cloud := runs(t, holder, nil, at("iwas-cloud"), "--config", at("cloud.toml"), "run")
	caddy := runs(t, holder, []string{"HOME=" + dir, "XDG_DATA_HOME=" + dir, "XDG_CONFIG_HOME=" + dir}, "caddy", "run", "--adapter", "caddyfile", "--config", at("Caddyfile"))
	curl := func(args ...string) []string {
		return append(within(holder), append([]string{"curl", "-sS", "--insecure", "--compressed", "--interface", visitor, "--resolve", "console.example.com:443:" + server,
			"-b", at("jar"), "-c", at("jar"), "-H", "X-Forwarded-For: 198.51.100.66"}, args...)...)
	}
	status := func(path string, args ...string) string {
		out, _ := tried(t, "nsenter", curl(append(args, "-o", "/dev/null", "-w", "%{http_code}", "https://console.example.com"+path)...)...) // asked again
		return out
	}
	comes(t, "the console through Caddy", caddy, func() bool { return strings.HasSuffix(status("/signin"), "200") })
	for _, path := range []string{"/metrics", "/healthz", "/readyz", "/livez"} {
		if got := status(path); got != "404" {
			t.Errorf("%s is shown to strangers: %s", path, got)
		}
	}
	if got := status("/signin", "--data-urlencode", "email=owner@cafe.example", "--data-urlencode", "password=a long password"); got != "303" {
		t.Fatalf("signing in: %s\n%s", got, cloud)
	}
	comes(t, "a sign-in of the visitor's own address", cloud, func() bool {
		return strings.Contains(cloud.String(), "addr="+visitor) || strings.Contains(cloud.String(), `"addr":"`+visitor+`"`)
	})
	if strings.Contains(cloud.String(), "198.51.100.66") {
		t.Errorf("a visitor's claim is believed:\n%s", cloud)
	}
	live := runs(t, holder, nil, curl("--no-buffer", "-H", "Accept: text/event-stream", "https://console.example.com/live")[1:]...)
	comes(t, "the second sign of life on a page that lives", live, func() bool { return strings.Count(live.String(), "event: beat") >= 2 })
}
