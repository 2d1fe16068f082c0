package routeros

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// commandText is every command this program can send to a router, with the
// arguments it gives (.proplist, the API's own, left out), in the words of RouterOS's command trees. An argument such as
// available-from@7.24 is sent only to that version and newer. Tests of whoever
// sends hold each sentence against it (Sendable); queries (?key=value) are no
// arguments. Of the API's own verbs only /login is sent; it is in no tree.
const commandText = `
export: file
interface/bridge/add: comment disabled name protocol-mode
interface/bridge/host/print:
interface/bridge/port/add: bridge comment frame-types interface pvid
interface/bridge/port/print:
interface/bridge/port/remove: numbers
interface/bridge/port/set: bridge frame-types interface numbers pvid
interface/bridge/print:
interface/bridge/remove: numbers
interface/bridge/set: disabled name numbers protocol-mode vlan-filtering
interface/bridge/vlan/add: bridge comment tagged untagged vlan-ids
interface/bridge/vlan/print:
interface/bridge/vlan/remove: numbers
interface/bridge/vlan/set: bridge numbers tagged untagged vlan-ids
interface/list/member/print:
interface/print:
interface/vlan/add: comment disabled interface name vlan-id
interface/vlan/print:
interface/vlan/remove: numbers
interface/vlan/set: arp disabled interface name numbers vlan-id
ip/address/add: address comment disabled interface
ip/address/print:
ip/address/remove: numbers
ip/address/set: address disabled interface numbers
ip/arp/print:
ip/dhcp-server/add: add-arp address-pool comment disabled interface lease-time name
ip/dhcp-server/lease/print:
ip/dhcp-server/network/add: address comment dns-server gateway
ip/dhcp-server/network/print:
ip/dhcp-server/network/remove: numbers
ip/dhcp-server/network/set: address dns-server gateway numbers
ip/dhcp-server/print:
ip/dhcp-server/remove: numbers
ip/dhcp-server/set: add-arp address-pool disabled interface lease-time name numbers
ip/dns/print:
ip/dns/set: allow-remote-requests
ip/firewall/address-list/add: address comment list timeout
ip/firewall/address-list/print:
ip/firewall/address-list/remove: numbers
ip/firewall/address-list/set: disabled numbers timeout
ip/firewall/connection/print:
ip/firewall/connection/remove: numbers
ip/firewall/filter/add: action chain comment connection-nat-state connection-state disabled dst-address dst-address-list dst-port in-interface out-interface place-before protocol src-address src-address-list
ip/firewall/filter/move: destination numbers
ip/firewall/filter/print:
ip/firewall/filter/remove: numbers
ip/firewall/filter/set: * numbers
ip/firewall/mangle/print:
ip/firewall/nat/add: action chain comment disabled out-interface
ip/firewall/nat/print:
ip/firewall/nat/remove: numbers
ip/firewall/nat/set: * numbers
ip/hotspot/active/print:
ip/hotspot/active/remove: numbers
ip/hotspot/add: address-pool disabled interface name profile
ip/hotspot/cookie/print:
ip/hotspot/cookie/remove: numbers
ip/hotspot/host/print:
ip/hotspot/host/remove: numbers
ip/hotspot/ip-binding/print:
ip/hotspot/print:
ip/hotspot/profile/add: dns-name hotspot-address login-by name nas-port-type radius-accounting radius-interim-update use-radius
ip/hotspot/profile/print:
ip/hotspot/profile/remove: numbers
ip/hotspot/profile/set: dns-name hotspot-address login-by name nas-port-type numbers radius-accounting radius-interim-update use-radius
ip/hotspot/remove: numbers
ip/hotspot/set: address-pool disabled interface name numbers profile
ip/hotspot/user/print:
ip/hotspot/user/profile/print:
ip/hotspot/user/profile/set: idle-timeout keepalive-timeout numbers shared-users
ip/hotspot/walled-garden/ip/add: action comment disabled dst-address dst-host dst-port protocol
ip/hotspot/walled-garden/ip/print:
ip/hotspot/walled-garden/ip/remove: numbers
ip/hotspot/walled-garden/ip/set: action disabled dst-address dst-host dst-port numbers protocol server src-address
ip/hotspot/walled-garden/print:
ip/pool/add: comment name ranges
ip/pool/print:
ip/pool/remove: numbers
ip/pool/set: name numbers ranges
ip/pool/used/print:
ip/route/print:
ip/service/print:
ip/service/set: disabled numbers
ip/settings/print:
ipv6/address/print:
ipv6/firewall/address-list/add: address comment list timeout
ipv6/firewall/address-list/print:
ipv6/firewall/address-list/remove: numbers
ipv6/firewall/address-list/set: disabled numbers timeout
ipv6/firewall/filter/add: action chain comment disabled in-interface out-interface place-before
ipv6/firewall/filter/move: destination numbers
ipv6/firewall/filter/print:
ipv6/firewall/filter/remove: numbers
ipv6/firewall/filter/set: * numbers
ipv6/neighbor/print:
ipv6/settings/print:
ipv6/settings/set: disable-ipv6
log/print:
queue/simple/print:
radius/add: accounting-port address authentication-port comment disabled place-before require-message-auth secret service timeout
radius/incoming/print:
radius/incoming/set: accept port
radius/monitor: numbers once
radius/move: destination numbers
radius/print:
radius/remove: numbers
radius/set: accounting-port address authentication-port comment disabled numbers require-message-auth secret service timeout
system/backup/save: dont-encrypt name
system/clock/print:
system/device-mode/print:
system/health/print:
system/history/print:
system/identity/print:
system/license/print:
system/logging/add: action prefix topics
system/logging/print:
system/logging/remove: numbers
system/resource/print:
system/routerboard/print:
system/scheduler/add: comment interval name on-event policy start-time
system/scheduler/print:
system/scheduler/remove: numbers
system/script/add: comment name policy source
system/script/print:
system/script/remove: numbers
system/script/run: number
system/script/set: numbers source
user/group/print:
user/print:
`

// matchers are the properties of a firewall rule that a set may empty, where
// somebody else gave them to a rule of ours: "*" above.
const matchers = "action chain disabled connection-bytes connection-limit connection-mark connection-nat-state connection-rate connection-state connection-type content dscp dst-address " +
	"dst-address-list dst-address-type dst-limit dst-port hotspot icmp-options in-bridge-port in-bridge-port-list in-interface in-interface-list ipsec-policy jump-target limit nth out-bridge-port " +
	"out-bridge-port-list out-interface out-interface-list packet-mark packet-size port priority protocol random reject-with routing-mark src-address src-address-list src-address-type " +
	"src-mac-address src-port tcp-flags tcp-mss time tls-host ttl to-addresses to-ports"

// Command is one command that can be sent.
type Command struct {
	Command string   `json:"command"` // "/ip/hotspot/active/remove"
	Args    []string `json:"args"`    // in the words of the command tree: .id is numbers there
	Since   string   `json:"since"`   // oldest RouterOS it is sent to; "" is every one that is supported
}

// Commands lists every command that can be sent, in the order of the alphabet. A
// command stands twice where some arguments are for newer versions only.
func Commands() []Command {
	var out []Command
	for line := range strings.Lines(commandText) {
		name, words, ok := strings.Cut(strings.TrimSpace(line), ":")
		if !ok {
			continue
		}
		words = strings.Replace(words, "*", matchersOf(name), 1)
		since := map[string][]string{"": {}}
		for _, w := range strings.Fields(words) {
			arg, version, _ := strings.Cut(w, "@")
			since[version] = append(since[version], arg)
		}
		for version, args := range since {
			slices.Sort(args)
			out = append(out, Command{"/" + name, args, version})
		}
	}
	slices.SortFunc(out, func(a, b Command) int {
		return cmp.Or(cmp.Compare(a.Command, b.Command), cmp.Compare(a.Since, b.Since))
	})
	return out
}

// matchersOf leaves out what a menu does not have.
func matchersOf(command string) string {
	lacks := map[string][]string{
		"ip/firewall/filter/set":   {"to-addresses", "to-ports"},
		"ip/firewall/nat/set":      {"connection-nat-state", "connection-state", "reject-with", "tcp-flags", "tls-host"},
		"ipv6/firewall/filter/set": {"to-addresses", "to-ports", "hotspot", "ttl"},
	}[command]
	return strings.Join(slices.DeleteFunc(strings.Fields(matchers), func(w string) bool { return slices.Contains(lacks, w) }), " ")
}

// table is the arguments of every command, whatever version they are for.
var table = sync.OnceValue(func() map[string][]string {
	out := map[string][]string{}
	for _, c := range Commands() {
		out[c.Command] = append(out[c.Command], c.Args...)
	}
	return out
})

// Sendable returns an error naming what a sentence has that Commands does not.
func Sendable(sentence []string) error {
	args, known := table()[sentence[0]]
	if !known {
		return fmt.Errorf("%s is not in the table of commands", sentence[0])
	}
	for _, w := range sentence[1:] {
		name, isArgument := strings.CutPrefix(w, "=")
		name, _, _ = strings.Cut(name, "=")
		if !isArgument || name == ".proplist" {
			continue
		}
		if name == ".id" {
			name = "numbers"
		}
		if !slices.Contains(args, name) {
			return fmt.Errorf("the table of commands has no %s for %s", name, sentence[0])
		}
	}
	return nil
}
