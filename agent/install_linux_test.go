package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"iwas/internal/fault"
)

// bareLinux is a Linux in a folder, and what was run on it.
func bareLinux(t *testing.T) (k *linuxKeeper, ran *[]string) {
	ran = new([]string)
	return &linuxKeeper{root: t.TempDir(), config: defaultConfigFile, euid: func() int { return 0 },
		run: func(_ context.Context, name string, args ...string) (string, error) {
			*ran = append(*ran, strings.Join(append([]string{name}, args...), " "))
			return "", nil
		}}, ran
}

func (k *linuxKeeper) has(path string) bool {
	_, err := os.Lstat(k.at(path))
	return err == nil
}

func program(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "iwas-agent")
	if err := os.WriteFile(file, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestInstallWithoutAPackage(t *testing.T) {
	k, ran := bareLinux(t)
	var said []string
	say := func(l string) { said = append(said, l) }
	// A package that was removed left its mask.
	if err := errors.Join(os.MkdirAll(k.at("/etc/systemd/system"), 0o755), os.Symlink("/dev/null", k.at(installedUnit))); err != nil {
		t.Fatal(err)
	}
	if err := k.Install(t.Context(), program(t, "one"), say); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(said, "Unmasked the service, which a removed package had masked.") {
		t.Errorf("said %q", said)
	}
	unit, err := os.ReadFile(k.at(installedUnit))
	if err != nil || !strings.Contains(string(unit), "\nExecStart=/usr/local/bin/iwas-agent run\n") || !strings.Contains(string(unit), "\nNoNewPrivileges=yes\n") {
		t.Errorf("got %v\n%s", err, unit)
	}
	want := []string{"systemd-sysusers iwas-agent.conf", "systemd-tmpfiles --create iwas-agent.conf", "systemctl daemon-reload", "systemctl enable iwas-agent", "systemctl restart iwas-agent"}
	if !slices.Equal(*ran, want) {
		t.Errorf("ran %q, want %q", *ran, want)
	}
	if info, err := os.Stat(k.at(installedProgram)); err != nil || info.Mode().Perm() != 0o755 {
		t.Errorf("the program: %v, %v", info, err)
	}
	// Again: nothing to do, and guests are not cut off by a restart.
	*ran, said = nil, nil
	if err := k.Install(t.Context(), k.at(installedProgram), say); err != nil || len(said) > 0 || !slices.Contains(*ran, "systemctl start iwas-agent") || slices.Contains(*ran, "systemctl restart iwas-agent") {
		t.Errorf("again: %v, said %q, ran %q", err, said, *ran)
	}
	// A newer program takes its place; the older one is kept.
	if err := k.Install(t.Context(), program(t, "two"), say); err != nil || !slices.Contains(*ran, "systemctl restart iwas-agent") {
		t.Errorf("newer: %v, ran %q", err, *ran)
	}
	for path, want := range map[string]string{installedProgram: "two", previousLocal: "one"} {
		if b, err := os.ReadFile(k.at(path)); err != nil || string(b) != want {
			t.Errorf("%s: got %q, %v, want %q", path, b, err, want)
		}
	}
}

func TestUninstallKeepsGuestsUnlessTold(t *testing.T) {
	k, ran := bareLinux(t)
	silent := func(string) {}
	if err := k.Install(t.Context(), program(t, "one"), silent); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"/etc/iwas-agent", "/var/lib/iwas-agent"} {
		if err := os.MkdirAll(k.at(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.Uninstall(t.Context(), false, silent); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(*ran, "systemctl disable --now iwas-agent") || !k.has("/etc/iwas-agent") || !k.has("/var/lib/iwas-agent") {
		t.Errorf("ran %q; settings and guests: %v, %v", *ran, k.has("/etc/iwas-agent"), k.has("/var/lib/iwas-agent"))
	}
	*ran = nil
	if err := k.Uninstall(t.Context(), true, silent); err != nil || slices.Contains(*ran, "systemctl disable --now iwas-agent") {
		t.Errorf("again: %v, ran %q", err, *ran)
	}
	for _, path := range []string{installedUnit, installedProgram, previousLocal, "/etc/sysusers.d/iwas-agent.conf", "/etc/tmpfiles.d/iwas-agent.conf", "/etc/sysctl.d/60-iwas-agent.conf", "/etc/iwas-agent", "/var/lib/iwas-agent"} {
		if k.has(path) {
			t.Errorf("left behind: %s", path)
		}
	}
}

func TestInstallRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		packaged   bool
		euid, exit int
		code       string
	}{
		"where a package keeps the service": {packaged: true, exit: exitUsage, code: "SYS-131"},
		"whoever is not root":               {euid: 1000, exit: exitRights, code: "SYS-130"},
	} {
		k, ran := bareLinux(t)
		k.euid = func() int { return tc.euid }
		if tc.packaged {
			if err := errors.Join(os.MkdirAll(k.at(filepath.Dir(packagedUnits[0])), 0o755), os.WriteFile(k.at(packagedUnits[0]), nil, 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		for command, do := range map[string]func() error{
			"install":   func() error { return k.Install(t.Context(), program(t, "one"), func(string) {}) },
			"uninstall": func() error { return k.Uninstall(t.Context(), true, func(string) {}) },
		} {
			var e *exitError
			if err := do(); !errors.As(err, &e) || e.code != tc.exit || fault.Code(err) != tc.code || fault.Hint(err) == "" {
				t.Errorf("%s refuses %s: got %v", command, name, err)
			}
		}
		if len(*ran) > 0 || k.has("/etc") || k.has("/usr/local") {
			t.Errorf("%s: something was changed: %q", name, *ran)
		}
	}
}

func TestTheUnitNamesAnotherConfiguration(t *testing.T) {
	b, err := unitText(`/srv/the "cafe" 100%/agent.toml`)
	if err != nil || !strings.Contains(string(b), `ExecStart=/usr/local/bin/iwas-agent run --config "/srv/the \"cafe\" 100%%/agent.toml"`+"\n") {
		t.Errorf("got %v\n%s", err, b)
	}
}
