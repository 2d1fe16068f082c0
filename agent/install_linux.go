package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"iwas/configs"
	"iwas/internal/fault"
)

// linuxKeeper is a Linux with systemd and without our package.
type linuxKeeper struct {
	root   string // "" is the system itself; tests have another
	config string // of the service, where it is not in its usual place
	euid   func() int
	run    func(ctx context.Context, name string, args ...string) (string, error)
}

func newKeeper(config string) (keeper, error) {
	return &linuxKeeper{config: config, euid: os.Geteuid, run: runQuietly}, nil
}

// runQuietly runs a program and returns what it said.
func runQuietly(ctx context.Context, name string, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}

const (
	installedProgram = "/usr/local/bin/iwas-agent"
	installedUnit    = "/etc/systemd/system/iwas-agent.service"
)

// packagedUnits are where a package puts its unit.
var packagedUnits = []string{"/usr/lib/systemd/system/iwas-agent.service", "/lib/systemd/system/iwas-agent.service"}

// installedFiles are ours besides program and unit.
var installedFiles = map[string]string{
	"sysusers.d/iwas-agent.conf":  "/etc/sysusers.d/iwas-agent.conf",
	"tmpfiles.d/iwas-agent.conf":  "/etc/tmpfiles.d/iwas-agent.conf",
	"sysctl.d/60-iwas-agent.conf": "/etc/sysctl.d/60-iwas-agent.conf",
}

func (k *linuxKeeper) at(path string) string { return filepath.Join(k.root, path) }

// mayChange refuses where the user may not, and where a package keeps the service.
func (k *linuxKeeper) mayChange(command string) error {
	for _, u := range packagedUnits {
		if _, err := os.Stat(k.at(u)); err == nil {
			next := map[string]string{"install": "Upgrade it by the package: apt upgrade", "uninstall": "Remove it by the package: apt remove iwas-agent"}[command]
			return &exitError{exitUsage, fault.New(fault.Conflict, "a package installed this service ("+u+"), and keeps it", nil).WithCode("SYS-131", next)}
		}
	}
	if k.euid() != 0 {
		return notRoot(command)
	}
	return nil
}

// unitText is the unit of the packages, with our program's place in it.
func unitText(config string) ([]byte, error) {
	b, err := configs.Agent.ReadFile("systemd/iwas-agent.service")
	if err != nil {
		return nil, err
	}
	command := "ExecStart=" + installedProgram + " run"
	if config != defaultConfigFile {
		abs, err := filepath.Abs(config)
		if err != nil {
			return nil, err
		}
		command += ` --config "` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, `%`, `%%`, `$`, `$$`).Replace(abs) + `"`
	}
	return bytes.Replace(b, []byte("ExecStart=/usr/bin/iwas-agent run"), []byte(command), 1), nil
}

func (k *linuxKeeper) Install(ctx context.Context, program string, say func(string)) error {
	if err := k.mayChange("install"); err != nil {
		return err
	}
	body, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	unit, err := unitText(k.config)
	if err != nil {
		return err
	}
	// What dpkg leaves of a package that was removed keeps the service from starting.
	if to, err := os.Readlink(k.at(installedUnit)); err == nil && to == "/dev/null" {
		if err := os.Remove(k.at(installedUnit)); err != nil {
			return err
		}
		say("Unmasked the service, which a removed package had masked.")
	}
	if err := k.keepPrevious(body); err != nil {
		return err
	}
	changed, err := k.place(installedProgram, body, 0o755, say)
	if err != nil {
		return err
	}
	for from, to := range installedFiles {
		b, err := configs.Agent.ReadFile(from)
		if err != nil {
			return err
		}
		if _, err := k.place(to, b, 0o644, say); err != nil {
			return err
		}
	}
	unitChanged, err := k.place(installedUnit, unit, 0o644, say)
	if err != nil {
		return err
	}
	verb := "start"
	if changed || unitChanged {
		verb = "restart"
	}
	for _, c := range [][]string{
		{"systemd-sysusers", "iwas-agent.conf"}, {"systemd-tmpfiles", "--create", "iwas-agent.conf"},
		{"systemctl", "daemon-reload"}, {"systemctl", "enable", serviceName}, {"systemctl", verb, serviceName},
	} {
		if _, err := k.run(ctx, c[0], c[1:]...); err != nil {
			return fault.New(fault.Unavailable, "install the service", err).WithCode("SYS-132", "See systemctl status iwas-agent and journalctl -u iwas-agent, then run iwas-agent install again.")
		}
	}
	if verb == "restart" {
		say("The service runs, and will after each start of the system.")
	}
	return nil
}

// place writes a file whole where it is not as it should be.
func (k *linuxKeeper) place(path string, body []byte, mode fs.FileMode, say func(string)) (changed bool, err error) {
	file := k.at(path)
	if now, err := os.ReadFile(file); err == nil && bytes.Equal(now, body) {
		return false, os.Chmod(file, mode)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return false, err
	}
	if err := replaceFile(file, body, mode); err != nil {
		return false, err
	}
	say("Wrote " + path + ".")
	return true, nil
}

// replaceFile writes a file whole or not at all; one that runs may be replaced so.
func replaceFile(file string, body []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once renamed
	_, err = f.Write(body)
	err = errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}

// keepPrevious keeps the program that another one replaces, for rollback.
func (k *linuxKeeper) keepPrevious(next []byte) error {
	now, err := os.ReadFile(k.at(installedProgram))
	if errors.Is(err, fs.ErrNotExist) || err == nil && bytes.Equal(now, next) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(k.at(filepath.Dir(previousLocal)), 0o755); err != nil {
		return err
	}
	return replaceFile(k.at(previousLocal), now, 0o755)
}

func (k *linuxKeeper) Uninstall(ctx context.Context, all bool, say func(string)) error {
	if err := k.mayChange("uninstall"); err != nil {
		return err
	}
	if _, err := os.Lstat(k.at(installedUnit)); err == nil {
		if _, err := k.run(ctx, "systemctl", "disable", "--now", serviceName); err != nil {
			return fault.New(fault.Unavailable, "stop the service", err).WithCode("SYS-132", "See systemctl status iwas-agent, then run iwas-agent uninstall again.")
		}
	}
	gone := []string{installedUnit, installedProgram, filepath.Dir(filepath.Dir(previousLocal))}
	for _, to := range installedFiles {
		gone = append(gone, to)
	}
	if all {
		gone = append(gone, "/etc/iwas-agent", "/var/lib/iwas-agent")
	}
	for _, path := range gone {
		if _, err := os.Lstat(k.at(path)); errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err := os.RemoveAll(k.at(path)); err != nil {
			return err
		}
		say("Removed " + path + ".")
	}
	_, err := k.run(ctx, "systemctl", "daemon-reload")
	return err
}

func (k *linuxKeeper) Control(ctx context.Context, verb string) error {
	if k.euid() != 0 {
		return notRoot(verb)
	}
	if _, err := k.run(ctx, "systemctl", verb, serviceName); err != nil {
		return fault.New(fault.Unavailable, verb+" the service", err).WithCode("SYS-132", "See systemctl status iwas-agent and journalctl -u iwas-agent.")
	}
	return nil
}
