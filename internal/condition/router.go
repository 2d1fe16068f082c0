package condition

import "time"

// behindDoor are the conditions that explain why nothing can be read from the
// router.
var behindDoor = []string{"RTR-101", "RTR-102", "RTR-103", "RTR-104", "RTR-105"}

// router is what can be wrong with the router's management door and its HotSpot.
// While the door is shut guests log in, but nothing can be proven.
var router = []Condition{
	{
		Code: "RTR-101", Severity: High, Delay: 15 * time.Second,
		Title: "The router does not answer",
		Cause: "The router is off, the cable is out, its address changed, or a firewall rule drops this box's packets.",
		Next:  "Check that the router is on and that this box can ping it.",
	},
	{
		Code: "RTR-102", Severity: High, Delay: 15 * time.Second, DependsOn: []string{"RTR-101"},
		Title: "The router's API service is off",
		Cause: "The service is disabled, on another port, has no certificate, or does not allow this box's address.",
		Next:  "On the router, look at /ip/service/print and enable api-ssl for this box.",
	},
	{
		Code: "RTR-103", Severity: High, DependsOn: []string{"RTR-101", "RTR-102"},
		Title: "The router refuses our login",
		Cause: "The service user's name or password is wrong, its group lacks the policy api, or it is limited to another address.",
		Next:  "Set the service user's password on the router and in its file on this box.",
	},
	{
		Code: "RTR-104", Severity: High, DependsOn: []string{"RTR-101", "RTR-102"},
		Title: "The router's certificate is not the one trusted",
		Cause: "The certificate was renewed, the router was replaced, or somebody stands between this box and the router.",
		Next:  "Compare the fingerprint with the router's own before you trust it.",
	},
	{
		Code: "RTR-105", Severity: High, DependsOn: []string{"RTR-101", "RTR-102", "RTR-103", "RTR-104"},
		Title: "The service user lacks a right on the router",
		Cause: "The user's group has not all the policies that reading and removing sessions needs.",
		Next:  "On the router, give the group the policies read, write, api, test and sensitive.",
	},
	{
		Code: "RTR-106", Severity: High, DependsOn: behindDoor,
		Title: "The router's device-mode forbids what is needed",
		Cause: "RouterOS has the feature switched off in device-mode, which only a person at the router can change.",
		Next:  "Allow the feature in /system/device-mode, then press the button or cut the power as it asks.",
	},
	{
		Code: "RTR-107", Severity: Medium, DependsOn: behindDoor,
		Title: "The router's RouterOS is too old",
		Cause: "This version lacks commands or RADIUS attributes that are needed.",
		Next:  "Update RouterOS to the newest stable version of 7, at a quiet hour.",
	},
	{
		Code: "RTR-108", Severity: Medium, Delay: time.Minute, DependsOn: append([]string{"RTR-106"}, behindDoor...),
		Title: "The router's set-up is not what was agreed",
		Cause: "Somebody changed or removed a setting that this box relies on.",
		Next:  "Compare the settings named with what was set up, and put them back.",
	},
	{
		Code: "RTR-109", Severity: High, ImpactsLogin: true,
		Title: "No router is configured",
		Cause: "The configuration has no [[nas]] section, so nobody's requests are answered.",
		Next:  "Add the router's address and RADIUS secret to the configuration and restart the service.",
	},
	{
		Code: "RTR-110", Severity: Low,
		Title: "A router has no API configured",
		Cause: "Without it sessions are ended by Disconnect-Request alone, and nothing can be read back.",
		Next:  "Make a service user on the router and set url, user and password_file under [nas.router].",
	},
	{
		Code: "RTR-111", Severity: High, Delay: 15 * time.Second, DependsOn: []string{"RTR-101", "RTR-102"},
		Title: "The router has no REST service on that port",
		Cause: "REST needs RouterOS 7.1 or newer and the service www-ssl; something else, such as the web pages of an older version, answers there.",
		Next:  "Enable www-ssl with a certificate on the router, or use an api-ssl:// address.",
	},
	{
		Code: "RTR-112", Severity: High, Delay: 15 * time.Second, DependsOn: []string{"RTR-101", "RTR-102", "RTR-111"},
		Title: "What answers at the router's address is not RouterOS",
		Cause: "Another web server, a proxy or a login page of the network stands at that address and port.",
		Next:  "Open the address in a browser on this box and see what answers; then correct url under [nas.router].",
	},
	{
		Code: "RTR-113", Severity: Low, DependsOn: behindDoor,
		Title: "The router's certificate runs out",
		Cause: "It was made for some years, or the clock of the router or of this box was wrong when it was made; a trusted certificate is used all the same.",
		Next:  "Make a new one on the router at a quiet hour, and trust it here.",
	},
	{
		Code: "RTR-114", Severity: Medium, DependsOn: behindDoor,
		Title: "The router's API lets in every address",
		Cause: "The service has no address list, so anybody who reaches the router may try passwords, guests among them.",
		Next:  "Limit the service to this box's address.",
	},
	{
		Code: "RTR-115", Severity: Medium, DependsOn: behindDoor,
		Title: "The router's API allows too few sessions",
		Cause: "max-sessions of the service is low, or other programs hold its sessions; this box keeps two, and a check takes up to five more.",
		Next:  "Raise max-sessions of the service, and see who else is connected.",
	},
	{
		Code: "RTR-116", Severity: Medium, DependsOn: behindDoor,
		Title: "The router answers too slowly",
		Cause: "Its processor is busy, a command hangs in this RouterOS, or packets are lost on the way.",
		Next:  "Look at the load of the router, then ask again.",
	},
	{
		Code: "RTR-117", Severity: Medium, DependsOn: behindDoor,
		Title: "The router's answer is not one to the question",
		Cause: "A menu is not as this version of IWAS knows it, an answer belonged to another request, as happens over REST right after a restart, or a proxy changed it.",
		Next:  "Ask again; if it stays, update iwas-agent or RouterOS.",
	},
	{
		Code: "RTR-118", Severity: Medium, DependsOn: behindDoor,
		Title: "Address-lists cannot be read",
		Cause: "The service user's group lacks the policy read, or RouterOS refuses the menu.",
		Next:  "Give the group the policies read and write.",
	},
	{
		Code: "RTR-119", Severity: Medium, DependsOn: append([]string{"RTR-118"}, behindDoor...),
		Title: "Address-lists cannot be written",
		Cause: "The service user's group lacks the policy write, or RouterOS refuses the entry; so nobody's address can be let through or shut out.",
		Next:  "Give the group the policy write, and read what RouterOS answered.",
	},
	{
		Code: "RTR-120", Severity: Low, DependsOn: behindDoor,
		Title: "The router logs every RADIUS packet without end",
		Cause: "A debug log was asked for on a router whose device-mode forbids the scheduler, and whoever was to end it was stopped.",
		Next:  "Remove the rule on the router.",
	},
	{
		Code: "RTR-131", Severity: Medium, Delay: 30 * time.Second, DependsOn: append([]string{"RTR-119"}, behindDoor...),
		Title: "Address-lists do not hold what they should",
		Cause: "The router refuses an entry, something else on it changes the same list, or it could not be asked.",
		Next:  "Read what the router answered, and see who else changes the list.",
	},
	{
		Code: "RTR-132", Severity: Medium,
		Title: "A router fetches address-lists with the wrong key",
		Cause: "Its script has an older key, or something else at the router's address asks for the lists.",
		Next:  "Give the router's script the key of this box.",
	},
	{
		Code: "RTR-133", Severity: Medium,
		Title: "The address-lists are not offered to the router",
		Cause: "The listener for routers that fetch their lists does not open: the port is taken, the address is not one of this box, or a certificate cannot be read.",
		Next:  "Read what the system says, and correct listen or the files under [edl].",
	},
	{
		Code: "RTR-134", Severity: Medium,
		Title: "A router no longer fetches its address-lists",
		Cause: "It did before. Its scheduler is off, its script fails, or it cannot reach this box.",
		Next:  "On the router, look at /log/print and run the script by hand.",
	},
	{
		Code: "RTR-140", Severity: Medium, DependsOn: behindDoor,
		Title: "Something on the router stands in the way of the set-up",
		Cause: "A row that this box did not make has the name, the network or the port that the set-up needs, and what others made is never touched.",
		Next:  "Remove or rename that row on the router, or choose other values in the set-up.",
	},
	{
		Code: "RTR-141", Severity: High, DependsOn: behindDoor,
		Title: "The set-up would cut this box off from the router",
		Cause: "The port or the network by which this box reaches the router is to become one of PCs, of guests, or of the trunk, or it is not known which that is.",
		Next:  "Plug this box into a port that the set-up does not name, and say which in box_port.",
	},
	{
		Code: "RTR-142", Severity: High, DependsOn: behindDoor,
		Title: "Guests cannot be kept from a fasttrack rule",
		Cause: "A rule that somebody made fasttracks connections before any rule of ours could accept them: it stands in mangle, or takes new connections too.",
		Next:  "Limit that rule to other networks, or to connections under way.",
	},
	{
		Code: "RTR-143", Severity: Medium, DependsOn: behindDoor,
		Title: "The login for applying the set-up lacks rights",
		Cause: "Saving a backup and setting the router up need a login of the group full; the service user of this box has fewer rights on purpose.",
		Next:  "Apply with an administrator's login; it is used once and not kept.",
	},
	{
		Code: "RTR-144", Severity: Medium, DependsOn: behindDoor,
		Title: "The router will not take a set-up back by itself",
		Cause: "Device-mode forbids the scheduler, and with it the safety net that brings the old configuration back after a mistake.",
		Next:  "Allow the scheduler in device-mode, or apply without the net while somebody stands at the router.",
	},
	{
		Code: "RTR-145", Severity: Medium, DependsOn: behindDoor,
		Title: "A step of the set-up failed, and all of it was taken back",
		Cause: "The router refused a command, or took it and shows something else.",
		Next:  "Read what the router said, mend that, and plan again.",
	},
	{
		Code: "RTR-146", Severity: Medium, DependsOn: behindDoor,
		Title: "The set-up was not confirmed and was taken back",
		Cause: "Nobody confirmed within 120 seconds, or the router restarted before; so the router brought the old configuration back by itself.",
		Next:  "Apply again, and confirm at once when this box says that it came back.",
	},
	{
		Code: "RTR-147", Severity: High, DependsOn: behindDoor,
		Title: "This box cannot come back to the router after the set-up",
		Cause: "The steps are done, and the service user can no longer log in from here: a rule, a port or the service keeps it out.",
		Next:  "Leave it: the old configuration comes back by itself; then look at box_port and at address= of the service.",
	},
	{
		Code: "RTR-148", Severity: High, DependsOn: behindDoor,
		Title: "A set-up could not be taken back wholly",
		Cause: "Some command that brings the old configuration back had no effect, most often because somebody changed or removed the same row meanwhile.",
		Next:  "Paste the commands that are named, or load the backup that was saved before.",
	},
	{
		Code: "RTR-150", Severity: High, Delay: time.Minute, DependsOn: behindDoor,
		Title: "The router has no way to the internet",
		Cause: "No default route is active: the line is down, its login failed, the modem gave no address, or check-gateway found the gateway dead.",
		Next:  "Look at the modem and its cable, then at /ip/route on the router.",
	},
	{
		Code: "RTR-151", Severity: Medium, Delay: time.Minute, DependsOn: behindDoor,
		Title: "Addresses for guests run out",
		Cause: "More than nine tenths of a pool are given out: leases are long, or the network is too small for the guests who come by.",
		Next:  "Shorten lease-time of the DHCP server, or give the pool more addresses.",
	},
	{
		Code: "RTR-152", Severity: Medium, Delay: 2 * time.Minute, DependsOn: behindDoor,
		Title: "The router is hot",
		Cause: "A sensor shows more than the board is made for: no air, a dead fan, sun, or a neighbour that heats it.",
		Next:  "Give the router air, and see that its fan turns.",
	},
	{
		Code: "RTR-153", Severity: Medium, Delay: 5 * time.Minute, DependsOn: behindDoor,
		Title: "The router's memory is nearly full",
		Cause: "Long address-lists, many connections, or a service that leaks; a router without memory restarts.",
		Next:  "See what takes it, and restart the router at a quiet hour.",
	},
	{
		Code: "RTR-154", Severity: Medium, Delay: 5 * time.Minute, DependsOn: behindDoor,
		Title: "The router's disk is nearly full",
		Cause: "Old backups, logs or packages fill the flash: settings and certificates can then not be stored.",
		Next:  "Remove files that are not needed under /file.",
	},
	{
		Code: "RTR-155", Severity: Medium, DependsOn: behindDoor,
		Title: "The router's flash wears out",
		Cause: "RouterOS counts bad blocks: a part of the flash no longer keeps what is written.",
		Next:  "Save an export elsewhere today, and plan to replace the router.",
	},
	{
		Code: "RTR-156", Severity: Low, DependsOn: behindDoor,
		Title: "The router has restarted",
		Cause: "Its uptime began anew: somebody restarted it, its power was away, or it crashed.",
		Next:  "If nobody did it on purpose, read its log for the reason.",
	},
	{
		Code: "RTR-157", Severity: Low, Delay: 2 * time.Minute, DependsOn: behindDoor,
		Title: "Some of the router's health cannot be read",
		Cause: "A menu is refused to the service user, does not answer in time, or is not as this version of IWAS knows it; sessions and locks are not concerned.",
		Next:  "Read which menu it is and why, and give the service user's group the right that is named.",
	},
	{
		Code: "HSP-101", Severity: High, DependsOn: append([]string{"RTR-106"}, behindDoor...), ImpactsLogin: true,
		Title: "The router has no HotSpot server in force",
		Cause: "No HotSpot server exists, all are disabled, or the interface of each is down.",
		Next:  "On the router, look at /ip/hotspot/print and enable the server.",
	},
	{
		Code: "HSP-201", Severity: High, DependsOn: behindDoor,
		Title: "Guests' connections are fasttracked past the HotSpot",
		Cause: "A fasttrack rule stands above guest traffic: connections it has taken go on after a lock, uncounted and unlimited.",
		Next:  "Accept guest traffic above the fasttrack rule, or limit that rule to other networks.",
	},
	{
		Code: "HSP-202", Severity: High, DependsOn: behindDoor,
		Title: "Guests have IPv6, which the HotSpot does not control",
		Cause: "The guest network has an IPv6 address: phones reach the internet over it without logging in.",
		Next:  "Remove the IPv6 address from the guest interface, or drop IPv6 from guests.",
	},
	{
		Code: "HSP-203", Severity: Medium, DependsOn: behindDoor,
		Title: "A bypassed binding lets a device through",
		Cause: "An ip-binding of type bypassed matches a guest's device, so the HotSpot never asks it to log in.",
		Next:  "Remove the binding, or make it narrower.",
	},
	{
		Code: "HSP-204", Severity: Medium, DependsOn: behindDoor,
		Title: "The login page offers a trial",
		Cause: "The HotSpot profile has trial in login-by: anybody goes online without an account, a locked guest too.",
		Next:  "Take trial out of login-by of the profile.",
	},
	{
		Code: "HSP-205", Severity: Medium, DependsOn: behindDoor,
		Title: "The router has a local user of the same name",
		Cause: "RouterOS asks its own HotSpot users before RADIUS, so a local user of a guest's name logs in whatever we say.",
		Next:  "Remove the local user, or give it a name no account has.",
	},
	{
		Code: "HSP-206", Severity: High, DependsOn: behindDoor, // not on a way round: a lock that is not proven must never go unsaid
		Title: "The router keeps letting a guest through",
		Cause: "Everything known was removed and the router's own list still shows the guest as logged in.",
		Next:  "Look at the guest's rows in active, host and ip-binding on the router, and read its log.",
	},
	{
		Code: "HSP-207", Severity: Medium, DependsOn: behindDoor,
		Title: "A guest online keeps the old speed or time",
		Cause: "The router did not change a session that is under way: it refused the CoA-Request, or acknowledged it and went on as before.",
		Next:  "It counts from the guest's next login. To have it at once, log the guest out on the router.",
	},
	{
		Code: "HSP-208", Severity: High, DependsOn: behindDoor,
		Title: "The walled garden is open to the internet",
		Cause: "An accepting rule of /ip/hotspot/walled-garden/ip names no destination, or a large part of the internet: guests browse without logging in, locked ones too.",
		Next:  "Limit the rule to the addresses or the host name that is meant.",
	},
	{
		Code: "HSP-209", Severity: High, DependsOn: append([]string{"HSP-101"}, behindDoor...), ImpactsLogin: true,
		Title: "The HotSpot does not ask RADIUS",
		Cause: "use-radius is off in the profile of the HotSpot server, so the router knows only its own users.",
		Next:  "Set use-radius=yes in the profile that the HotSpot server uses.",
	},
	{
		Code: "HSP-210", Severity: Medium, DependsOn: append([]string{"HSP-209"}, behindDoor...),
		Title: "The HotSpot does not report usage as it should",
		Cause: "radius-accounting is off in its profile, or radius-interim-update overrides the interval this box asks for.",
		Next:  "Set radius-accounting=yes and radius-interim-update=received in the profile.",
	},
	{
		Code: "HSP-211", Severity: Medium, DependsOn: behindDoor,
		Title: "The login page takes no name and password",
		Cause: "login-by of the profile has neither http-chap nor http-pap nor https: only devices known by their MAC get in.",
		Next:  "Add http-chap and http-pap to login-by, unless that is meant.",
	},
	{
		Code: "HSP-212", Severity: Medium, DependsOn: behindDoor,
		Title: "The router's user profile has limits of its own",
		Cause: "rate-limit or session-timeout is set in the user profile default, which every guest of RADIUS gets beside the plan.",
		Next:  "Empty them in the profile, so that the plan alone counts.",
	},
	{
		Code: "HSP-213", Severity: Medium, DependsOn: behindDoor,
		Title: "The router's license limits the guests",
		Cause: "Levels 0 to 3 allow one HotSpot user at a time, level 4 allows 200 and level 5 allows 500.",
		Next:  "Compare the level with how many guests are on at the busiest hour.",
	},
}
