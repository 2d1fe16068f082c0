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
	"time"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/svc"
	"golang.org/x/sys/windows/svc/eventlog"
	"golang.org/x/sys/windows/svc/mgr"

	"iwas/internal/fault"
)

// windowsKeeper works on the service control manager.
type windowsKeeper struct{ config string }

func newKeeper(config string) (keeper, error) { return windowsKeeper{config}, nil }

const (
	account  = `NT SERVICE\` + serviceName // of Windows's own making, without a password
	stopWait = 30 * time.Second            // of a service that was asked to stop
)

var installedExe = filepath.Join(programDir, "iwas-agent.exe")

// manager opens the service control manager with an administrator's rights.
func manager(command string) (*mgr.Mgr, error) {
	m, err := mgr.Connect()
	if errors.Is(err, windows.ERROR_ACCESS_DENIED) {
		return nil, notRoot(command)
	}
	return m, err
}

func (k windowsKeeper) Install(ctx context.Context, program string, say func(string)) (err error) {
	m, err := manager("install")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Disconnect()) }()
	if err := k.place(ctx, m, program, say); err != nil {
		return err
	}
	s, err := k.service(m, say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	var again []mgr.RecoveryAction
	for _, pause := range restartPauses {
		again = append(again, mgr.RecoveryAction{Type: mgr.ServiceRestart, Delay: pause})
	}
	if err := s.SetRecoveryActions(again, uint32(restartsForgiven/time.Second)); err != nil {
		return err
	}
	if err := s.SetRecoveryActionsOnNonCrashFailures(true); err != nil {
		return err
	}
	if err := guardData(); err != nil {
		return err
	}
	if err := eventlog.InstallAsEventCreate(serviceName, eventlog.Error|eventlog.Warning|eventlog.Info); err != nil && !strings.Contains(err.Error(), "exists") {
		return err // the package has no value for "there already", which is fine
	}
	if err := k.openFirewall(ctx, say); err != nil {
		return err
	}
	return k.Control(ctx, "start")
}

// place copies the program where the service starts it from.
func (k windowsKeeper) place(ctx context.Context, m *mgr.Mgr, program string, say func(string)) error {
	body, err := os.ReadFile(program)
	if err != nil {
		return err
	}
	if now, err := os.ReadFile(installedExe); err == nil && bytes.Equal(now, body) {
		return nil
	}
	if s, err := m.OpenService(serviceName); err == nil { // it holds its file
		err = errors.Join(stopped(ctx, s), s.Close())
		if err != nil {
			return err
		}
	}
	if err := os.MkdirAll(programDir, 0o755); err != nil {
		return err
	}
	if err := os.Rename(installedExe, installedExe+".previous"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.WriteFile(installedExe, body, 0o755); err != nil {
		return errors.Join(err, os.Rename(installedExe+".previous", installedExe)) // else the service had no program
	}
	say("Wrote " + installedExe + ".")
	return nil
}

// service makes the service, or brings the one that is there to what it should be.
func (k windowsKeeper) service(m *mgr.Mgr, say func(string)) (*mgr.Service, error) {
	c := mgr.Config{ServiceType: windows.SERVICE_WIN32_OWN_PROCESS, StartType: mgr.StartAutomatic, ErrorControl: mgr.ErrorNormal, ServiceStartName: account,
		DisplayName: "IWAS Agent", Description: "RADIUS and router of this cafe", DelayedAutoStart: true, SidType: windows.SERVICE_SID_TYPE_UNRESTRICTED}
	args := []string{"run"}
	if k.config != defaultConfigFile {
		abs, err := filepath.Abs(k.config)
		if err != nil {
			return nil, err
		}
		args = []string{"--config", abs, "run"}
	}
	s, err := m.OpenService(serviceName)
	if errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST) {
		say("Made the service " + serviceName + ", as " + account + ".")
		return m.CreateService(serviceName, installedExe, c, args...)
	}
	if err != nil {
		return nil, err
	}
	c.BinaryPathName = windows.ComposeCommandLine(append([]string{installedExe}, args...))
	return s, s.UpdateConfig(c)
}

// guardData keeps the data to whom dataRule names.
func guardData() error {
	if err := os.MkdirAll(dataDir, 0o700); err != nil {
		return err
	}
	sid, _, _, err := windows.LookupSID("", account)
	if err != nil {
		return fmt.Errorf("find the service's account: %w", err)
	}
	sd, err := windows.SecurityDescriptorFromString(dataRule(sid.String()))
	if err != nil {
		return err
	}
	dacl, _, err := sd.DACL()
	if err != nil {
		return err
	}
	return windows.SetNamedSecurityInfo(dataDir, windows.SE_FILE_OBJECT, windows.DACL_SECURITY_INFORMATION|windows.PROTECTED_DACL_SECURITY_INFORMATION, nil, nil, dacl, nil)
}

// openFirewall lets the routers' RADIUS in.
func (k windowsKeeper) openFirewall(ctx context.Context, say func(string)) error {
	cfg, err := loadConfig(k.config, true)
	if err != nil {
		return &exitError{exitBadConfig, err}
	}
	from, ports := cfg.radiusDoor()
	closeFirewall(ctx)
	if out, err := netsh(ctx, firewallArgs(installedExe, from, ports)...); err != nil {
		return fault.New(fault.Unavailable, "open the firewall for RADIUS: "+strings.TrimSpace(out), err).
			WithCode("SYS-132", "Allow UDP "+strings.Join(ports, ", ")+" from the router by hand, or start the Windows firewall service and install again.")
	}
	say("The firewall lets UDP " + strings.Join(ports, ", ") + " in from " + strings.Join(from, ", ") + ". After router add, run install again to follow it.")
	return nil
}

// closeFirewall takes our rules away; there may be none.
func closeFirewall(ctx context.Context) { _, _ = netsh(ctx, "delete", "rule", "name="+firewallRule) }

func netsh(ctx context.Context, args ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "netsh", append([]string{"advfirewall", "firewall"}, args...)...).CombinedOutput()
	return string(out), err
}

func (k windowsKeeper) Uninstall(ctx context.Context, all bool, say func(string)) (err error) {
	m, err := manager("uninstall")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Disconnect()) }()
	s, err := m.OpenService(serviceName)
	switch {
	case err == nil: // one that runs would only be marked for deletion
		if err := errors.Join(stopped(ctx, s), s.Delete(), s.Close()); err != nil {
			return err
		}
		say("Removed the service " + serviceName + ".")
	case !errors.Is(err, windows.ERROR_SERVICE_DOES_NOT_EXIST):
		return err
	}
	closeFirewall(ctx)
	_ = eventlog.Remove(serviceName) // it may be gone
	gone := []string{programDir}
	if all {
		gone = append(gone, dataDir)
	}
	for _, dir := range gone {
		if _, err := os.Stat(dir); err != nil {
			continue
		}
		if err := os.RemoveAll(dir); err != nil { // the program that runs this may be in it
			say("Remove by hand what is still in " + dir + ".")
			continue
		}
		say("Removed " + dir + ".")
	}
	return nil
}

func (k windowsKeeper) Control(ctx context.Context, verb string) (err error) {
	m, err := manager(verb)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Disconnect()) }()
	s, err := m.OpenService(serviceName)
	if err != nil {
		return &exitError{exitNotThere, fault.New(fault.NotFound, "open the service", err).WithCode("SYS-132", "Install it: iwas-agent install")}
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if verb != "start" {
		if err := stopped(ctx, s); err != nil || verb == "stop" {
			return err
		}
	}
	if err := s.Start(); err != nil && !errors.Is(err, windows.ERROR_SERVICE_ALREADY_RUNNING) {
		return fault.New(fault.Unavailable, verb+" the service", err).WithCode("SYS-132", `See the Event Viewer, Windows Logs, Application, source `+serviceName+`, and `+logFile+`.`)
	}
	return nil
}

// stopped asks a service to stop and waits until it has.
func stopped(ctx context.Context, s *mgr.Service) error {
	ctx, cancel := context.WithTimeout(ctx, stopWait)
	defer cancel()
	q, err := s.Control(svc.Stop)
	if errors.Is(err, windows.ERROR_SERVICE_NOT_ACTIVE) {
		return nil
	}
	for err == nil && q.State != svc.Stopped {
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "the service does not stop", ctx.Err()).WithCode("SYS-132", "End iwas-agent.exe in the Task Manager and try again.")
		case <-time.After(200 * time.Millisecond):
		}
		q, err = s.Query()
	}
	return err
}
