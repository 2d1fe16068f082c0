package main

import (
	"net"
	"slices"
	"strings"
	"time"
)

// What the service on Windows is given, as far as it is words: here, so that it is
// tested where no Windows is.

const (
	firewallRule     = "IWAS agent RADIUS"
	restartsForgiven = 24 * time.Hour // without an end, after which the first pause counts again
)

// restartPauses are those before a service that ended is started again; the last one
// goes on. What ends with an error code counts as well as what crashes.
var restartPauses = []time.Duration{5 * time.Second, 30 * time.Second, 2 * time.Minute}

// dataRule is the access to the data, in the language of security descriptors: the system, the
// administrators, and the service may; nobody else; what lies in it inherits that, and
// nothing is inherited from above. 0x1301bf is "modify".
func dataRule(service string) string {
	return "D:P(A;OICI;FA;;;SY)(A;OICI;FA;;;BA)(A;OICI;0x1301bf;;;" + service + ")"
}

// radiusDoor is who is let in, and where: the routers by address, or before any is
// configured this network's. The status page answers this machine alone.
func (c config) radiusDoor() (from, ports []string) {
	for _, n := range c.NAS {
		from = append(from, n.addresses()...)
	}
	if len(from) == 0 {
		from = []string{"localsubnet"}
	}
	for _, a := range slices.Concat(c.RADIUS.Auth, c.RADIUS.Acct) {
		if _, port, err := net.SplitHostPort(a); err == nil && !slices.Contains(ports, port) {
			ports = append(ports, port)
		}
	}
	return from, ports
}

// firewallArgs is netsh's command for that door.
func firewallArgs(program string, from, ports []string) []string {
	return []string{"add", "rule", "name=" + firewallRule, "dir=in", "action=allow", "protocol=UDP",
		"localport=" + strings.Join(ports, ","), "remoteip=" + strings.Join(from, ","), "program=" + program}
}
