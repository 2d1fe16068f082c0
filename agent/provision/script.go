package provision

import (
	"net/netip"

	"iwas/internal/secret"
)

// Script is what is pasted into a terminal of a router so that this box may manage
// it: a user with the least rights, a certificate, the two doors with TLS open to
// this box alone, and the RADIUS entry, which carries our tag. It is for RouterOS
// 7.16 and newer (facts.md §7); every line may be pasted again: what exists already
// is left as it is or set anew. 7.16 says "bad parameter" to available-from, and
// goes on.
func Script(agent netip.Addr, password, shared secret.Value) string {
	host := netip.PrefixFrom(agent, agent.BitLen()).String()
	return `# IWAS: lets the box at ` + agent.String() + ` manage this router, and asks it about guests.
:do { /user/group/add name=iwas policy=read,write,api,rest-api,sensitive,test } on-error={}
:do { /user/add name=iwas group=iwas password="` + password.Reveal() + `" address=` + host + ` comment="IWAS box" } on-error={ /user/set iwas group=iwas password="` + password.Reveal() + `" address=` + host + ` }
:do { /certificate/add name=iwas common-name=iwas days-valid=3650 key-usage=key-cert-sign,crl-sign,tls-server } on-error={}
:do { /certificate/sign iwas } on-error={}
:delay 5s
/ip/service/set api-ssl certificate=iwas address=` + host + ` disabled=no
/ip/service/set www-ssl certificate=iwas address=` + host + ` disabled=no
:do { /ip/service/set api-ssl available-from=` + host + ` } on-error={}
:do { /ip/service/set www-ssl available-from=` + host + ` } on-error={}
:do { /radius/add service=hotspot address=` + agent.String() + ` secret="` + shared.Reveal() + `" timeout=2s require-message-auth=yes-for-request-resp comment="iwas:radius" } on-error={}
/radius/incoming/set accept=yes port=3799
:put "The fingerprint of this router's certificate:"
:put [/certificate/get iwas fingerprint]
`
}
