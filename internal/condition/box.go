package condition

import "time"

// box is what can be wrong with the box, its clock and its network.
var box = []Condition{
	{
		Code: "SYS-101", Severity: Medium,
		Title: "The status page cannot be served",
		Cause: "Another program holds the TCP port of the status page, or its address is not of this box.",
		Next:  "Stop the other program, or set another port under [status] listen.",
	},
	{
		Code: "SYS-110", Severity: Low,
		Title: "Metrics were asked for without the token",
		Cause: "Programs on the same machine read /metrics freely; from elsewhere, or through a proxy, the token of the configuration is needed.",
		Next:  "Have the collector send the token, or read the metrics on the machine itself.",
	},
	{
		Code: "SYS-111", Severity: Medium,
		Title: "The token of the metrics cannot be used",
		Cause: "The file named in the configuration is missing, cannot be read by the service, or holds fewer than 16 characters.",
		Next:  "Make a token in that file, and let the service read it.",
	},
	{
		Code: "SYS-112", Severity: Medium,
		Title: "A part of the program failed in a way that has no code of its own",
		Cause: "A defect, or a fault of the system that was not foreseen; the line of the log says what was tried and what came back.",
		Next:  "Read the line; if the cause is not plain from it, send it to support.",
	},
	{
		Code: "SYS-120", Severity: Medium,
		Title: "Who may sign in on the status page cannot be read",
		Cause: "The file of people in the state directory is damaged, or belongs to another user than the service's.",
		Next:  "Let the service's user own the file; a damaged one is removed, and the passwords set anew on the box.",
	},
	{
		Code: "SYS-121", Severity: Medium, Delay: 30 * time.Second,
		Title: "The status page does not open to the network",
		Cause: "This box does not have the address of the configuration, not yet or not any more, or another program holds the port.",
		Next:  "Give this box that address, or set address under [status] to one it has.",
	},
	{
		Code: "SYS-122", Severity: Medium,
		Title: "The certificate of the status page cannot be used",
		Cause: "Its key in the state directory is damaged or belongs to another user, or the directory takes no new file.",
		Next:  "Remove the certificate and its key; new ones are made, which browsers ask about once more.",
	},
	{
		Code: "SYS-123", Severity: Low,
		Title: "A connection to the status page was refused",
		Cause: "It came from a guest, from a router, behind which guests hide, or from a network that is not named in the configuration.",
		Next:  "If it was a technician, use the network of the technicians, or name theirs under [status] networks.",
	},
	{
		Code: "SYS-125", Severity: Medium,
		Title: "The support bundle was not made: it held a secret",
		Cause: "The finished file was searched for every password and key of this box, and one was found that could not be taken out.",
		Next:  "Tell support which file of the bundle it was, and send what they ask for by hand.",
	},
	{
		Code: "SYS-126", Severity: Low,
		Title: "A cashier may not lift this lock",
		Cause: "It was set in the console. At the counter a technician may lift it, a cashier only what was locked or paused on site.",
		Next:  "Ask who locked the guest, or a technician: whoever set it in the console lifts it there.",
	},
	{
		Code: "SYS-127", Severity: Low,
		Title: "The price is another than the one that was shown",
		Cause: "The plan was changed in the console, or on this box, after the page of the sale was opened. Nothing was sold.",
		Next:  "Tell the guest the price of now, and sell again if they agree.",
	},
	{
		Code: "SYS-128", Severity: Low,
		Title: "A form of the counter was sent before",
		Cause: "The page was gone back to and filled in anew. What the form asked for the first time was done, once; the second was not.",
		Next:  "Load the page anew and look what is there; do what is wanted besides with a form of its own.",
	},
	{
		Code: "SYS-129", Severity: Low,
		Title: "What was asked at the counter does not fit the guest as they are now",
		Cause: "Somebody else changed the guest meanwhile, or their plan does not allow it. Nothing was changed.",
		Next:  "Look at the guest's page as it is now; it offers what can be done.",
	},
	{
		Code: "SYS-130", Severity: Low,
		Title: "A command about the service was given without the rights for it",
		Cause: "Services of the system are changed by root, or by an administrator, alone.",
		Next:  "Run the command with sudo, or in a terminal opened as administrator.",
	},
	{
		Code: "SYS-131", Severity: Low,
		Title: "The service belongs to a package",
		Cause: "A deb or rpm package installed it. A second unit beside the package's would hide it, and upgrades with it.",
		Next:  "Upgrade or remove the package with the system's own tools.",
	},
	{
		Code: "SYS-132", Severity: Medium,
		Title: "The service cannot be installed, started or stopped",
		Cause: "The system's manager of services refused, or the program ended right after it began.",
		Next:  "Read what the manager says of the service, mend that, and give the command again.",
	},
	{
		Code: "SYS-140", Severity: High, ImpactsLogin: true,
		Title: "The service does not run",
		Cause: "It was stopped, was never started, or ended by itself; the command that says so asked its socket and its status page.",
		Next:  "Start it, and read in its log why it ended.",
	},
	{
		Code: "CLK-101", Severity: Medium, Delay: time.Minute,
		Title: "The clock is wrong",
		Cause: "The date of this box differs by more than two seconds from the cloud's, most often because it has no battery and found no time server.",
		Next:  "Let the router serve time, and start time synchronization on this box.",
	},
	{
		Code: "CLK-102", Severity: Medium,
		Title: "The router's clock and this box's differ",
		Cause: "One of the two has no battery and found no time server, or its time zone was set by hand.",
		Next:  "Let both ask a time server: the router by /system/ntp/client, this box by its system.",
	},
	{
		Code: "CLK-103", Severity: Medium,
		Title: "Nobody knows what day it is",
		Cause: "This box started with a date that cannot be right, and no time server and no cloud has told it another.",
		Next:  "Let this box reach a time server: the router can be one.",
	},
	{
		Code: "CLK-104", Severity: Medium, Delay: time.Minute, DependsOn: []string{"CLK-103"},
		Title: "The system's date is not the one the service goes by",
		Cause: "Somebody set the date, or the box has no battery and no time server; the service goes by the cloud's date, or by the one it had.",
		Next:  "Start time synchronization on this box: timedatectl set-ntp true.",
	},
	{
		Code: "NET-101", Severity: Medium, Delay: 30 * time.Second,
		Title: "This box has no way to the internet",
		Cause: "There is no default route: the cable is out, or DHCP gave no gateway.",
		Next:  "Check the cable, then the gateway this box was given.",
	},
	{
		Code: "NET-102", Severity: Medium, Delay: 30 * time.Second, DependsOn: []string{"NET-101"},
		Title: "Names cannot be looked up",
		Cause: "No DNS server answers this box, or it does not know the cloud's name.",
		Next:  "Check the DNS server this box was given, and whether the router answers DNS.",
	},
	{
		Code: "NET-103", Severity: Medium, Delay: time.Minute, DependsOn: []string{"NET-101", "NET-102"},
		Title: "Something between this box and the internet answers in the cloud's place",
		Cause: "A login page or a proxy intercepts connections: often this box was plugged into the guest network.",
		Next:  "Move this box out of the guest network, or let it pass with an ip-binding.",
	},
	{
		Code: "NET-104", Severity: High,
		Title: "The router's name cannot be looked up",
		Cause: "The name in the router's address is not known to the DNS server of this box, or that server does not answer.",
		Next:  "Write the router's address instead of its name into url under [nas.router].",
	},
}
