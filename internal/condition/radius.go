package condition

import "time"

// radius is what can be wrong between the router's RADIUS client and this box.
var radius = []Condition{
	{
		Code: "RAD-101", Severity: High, ImpactsLogin: true,
		Title: "The RADIUS port is taken",
		Cause: "Another program on this box, often FreeRADIUS, holds UDP 1812 or 1813.",
		Next:  "Stop the other program, or set other ports here and on the router.",
	},
	{
		Code: "RAD-102", Severity: High, ImpactsLogin: true,
		Title: "RADIUS comes from an address that is no router of ours",
		Cause: "The router sends from another of its addresses than the one configured, or it is not configured at all.",
		Next:  "Set src-address of /radius on the router, or add the address here.",
	},
	{
		Code: "RAD-103", Severity: High, DependsOn: []string{"RAD-102"}, ImpactsLogin: true,
		Title: "The RADIUS secret is not the same on both sides",
		Cause: "The shared secret of /radius on the router differs from the one in its file here; RADIUS answers that with silence.",
		Next:  "Write the same secret into /radius on the router and into secret_file here, without blanks at its ends.",
	},
	{
		Code: "RAD-104", Severity: Medium, DependsOn: []string{"RAD-103"},
		Title: "Disconnect-Request stays unanswered",
		Cause: "The router does not accept incoming RADIUS, a firewall rule drops UDP 3799, or its /radius entry names another address.",
		Next:  "On the router: /radius/incoming/set accept=yes, and let UDP 3799 in from this box.",
	},
	{
		Code: "RAD-105", Severity: Medium,
		Title: "The router refuses to end a session",
		Cause: "It answers Disconnect-Request with a refusal, and there is no API to end the session by.",
		Next:  "Configure the router's API under [nas.router], so that sessions can be ended and read back.",
	},
	{
		Code: "RAD-106", Severity: Medium, Delay: 10 * time.Second,
		Title: "More RADIUS requests arrive than can be answered",
		Cause: "A device retries without pause, or the disk of this box is too slow for the cafe.",
		Next:  "See on the status page who asks so often, and how long answers take.",
	},
	{
		Code: "RAD-107", Severity: High, DependsOn: []string{"RAD-103"}, ImpactsLogin: true,
		Title: "A router stopped signing its login requests",
		Cause: "It sent Message-Authenticator before and a request now had none: it was set back or downgraded, or somebody forges requests in its name.",
		Next:  "On the router: /radius/set [find] require-message-auth=yes-for-request-resp.",
	},
	{
		Code: "RAD-108", Severity: Low, Delay: time.Hour,
		Title: "A router still uses the previous RADIUS secret",
		Cause: "The secret was changed here with an overlap, and the router was not changed yet.",
		Next:  "Set the new secret in /radius on the router before the overlap ends.",
	},
	{
		Code: "RAD-109", Severity: High, DependsOn: []string{"HSP-209"}, ImpactsLogin: true,
		Title: "The router has no RADIUS entry for this box",
		Cause: "/radius on the router has no enabled entry for service hotspot with this box's address, so nobody is asked, or somebody else.",
		Next:  "Add the entry on the router, with the secret kept here.",
	},
	{
		Code: "RAD-110", Severity: Medium, DependsOn: []string{"RAD-109"},
		Title: "The router's RADIUS entry does not fit this box",
		Cause: "Its ports, its protocol or its timeout are not those of this box, or another server is asked first.",
		Next:  "Set the entry as the row says.",
	},
	{
		Code: "RAD-111", Severity: Medium, DependsOn: []string{"RTR-107", "RAD-109"},
		Title: "The router takes unsigned answers to logins",
		Cause: "require-message-auth is off in its RADIUS entry, or RouterOS is older than 7.15, so an Access-Accept can be forged on the way.",
		Next:  "Set require-message-auth=yes-for-request-resp in the entry.",
	},
	{
		Code: "RAD-112", Severity: Medium, DependsOn: []string{"RAD-103", "RAD-109"},
		Title: "The router's RADIUS requests go unanswered",
		Cause: "Its own counters show timeouts: the service was stopped, a firewall drops UDP 1812 and 1813, or the secret differs.",
		Next:  "See whether this box hears the requests at all, then reset the counters and look again.",
	},
	{
		Code: "RAD-113", Severity: Low,
		Title: "The router acknowledges what it cannot have done",
		Cause: "A Disconnect-Request for a session that cannot exist was acknowledged, so an acknowledgement of this router proves nothing; something else may answer in its place.",
		Next:  "Keep the API configured, so that every lock is read back.",
	},
	{
		Code: "RAD-115", Severity: High,
		Title: "Accounting speaks of a session that the router does not show",
		Cause: "The router that is read back is not the one that keeps the session, or the session's Stop was lost: the guest may still be online.",
		Next:  "See that url under [nas.router] leads to the router that sends its RADIUS from this section's address.",
	},
	{
		Code: "RAD-114", Severity: Medium,
		Title: "A session was ended and its accounting did not stop",
		Cause: "The router answered Disconnect-Request, no accounting Stop came, and there is no API to look: the guest may still be online.",
		Next:  "See on the router whether the guest is in /ip/hotspot/active, and that /ip/hotspot/profile has radius-accounting=yes.",
	},
}
