package condition

import "time"

// noLine are the conditions that explain why the cloud cannot be reached.
var noLine = []string{"NET-101", "NET-102", "NET-103"}

// cloud is what can be wrong between this box and the cloud. None of it keeps
// guests out.
var cloud = []Condition{
	{
		Code: "CLD-101", Severity: Medium, Delay: time.Minute, DependsOn: noLine,
		Title: "The cloud does not answer",
		Cause: "The internet is away, a firewall stops the port, or the cloud is down.",
		Next:  "Check whether this box reaches the internet; everything travels up by itself once it does.",
	},
	{
		Code: "CLD-102", Severity: Medium, Delay: time.Minute, DependsOn: append([]string{"CLK-101"}, noLine...),
		Title: "The cloud's certificate is not trusted",
		Cause: "Something in between intercepts TLS, the date here is wrong, or the cloud was set up anew.",
		Next:  "Check the date of this box, then who answers on that address.",
	},
	{
		Code: "CLD-103", Severity: High, DependsOn: []string{"CLK-101"},
		Title: "The cloud refuses this box's identity",
		Cause: "The identity was revoked, replaced by a newer enrolment of the site, or its certificate has expired.",
		Next:  "Make a new code in the console and enrol this box again.",
	},
	{
		Code: "CLD-104", Severity: High,
		Title: "A second copy of this box exists",
		Cause: "Two boxes carry one identity: a cloned disk, or an old backup started beside the original.",
		Next:  "Switch one of them off, and enrol the one that stays again.",
	},
	{
		Code: "CLD-105", Severity: High,
		Title: "The cloud's MQTT port cannot be opened",
		Cause: "Another program on the cloud's machine holds the port, or the address is not of that machine.",
		Next:  "Stop the other program, or set another port for MQTT in the cloud's configuration.",
	},
	{
		Code: "CLD-106", Severity: Low,
		Title: "This box is not enrolled",
		Cause: "It was never joined to a site, so no account arrives and no figure leaves.",
		Next:  "Make a code in the console and run: iwas-agent enroll.",
	},
	{
		Code: "CLD-107", Severity: High,
		Title: "This box's identity is damaged",
		Cause: "A file of the identity folder is missing or cannot be read, most often after a power cut or a partial restore.",
		Next:  "Restore the identity folder from a backup, or enrol this box again.",
	},
	{
		Code: "CLD-108", Severity: Medium,
		Title: "The cloud answered the enrolment with an identity that cannot work",
		Cause: "The certificate in the answer does not belong to this box's key, or the answer lacks a part.",
		Next:  "Tell whoever runs the cloud; trying again gets the same answer.",
	},
	{
		Code: "CLD-109", Severity: Medium,
		Title: "What answers at that address is not an IWAS cloud",
		Cause: "The address was mistyped, or a proxy or login page stands in between.",
		Next:  "Copy the whole command from the console and run it again.",
	},
	{
		Code: "CLD-110", Severity: Medium,
		Title: "This box waits to be confirmed in the console",
		Cause: "It has enrolled, and nobody has compared the check numbers yet; until then nothing is exchanged.",
		Next:  "Compare the check number here with the one in the console and press Confirm there.",
	},
	{
		Code: "CLD-111", Severity: High,
		Title: "This box's certificate could not be renewed",
		Cause: "It is replaced long before it ends, over HTTPS; that has failed for a week or more, or the certificate has ended meanwhile.",
		Next:  "Let this box reach the cloud's HTTPS port; it asks again by itself. A certificate that ended more than 180 days ago needs a new enrolment.",
	},
	{
		Code: "CLD-112", Severity: High,
		Title: "The cloud takes this box for a copy of another",
		Cause: "Its disk was cloned, or an old backup was started here, while the original is still in service.",
		Next:  "Enrol this box again with a code of its own, or switch it off.",
	},
	{
		Code: "CLD-201", Severity: Low,
		Title: "The enrolment code is not known",
		Cause: "A character was mistyped, or the code belongs to another cloud.",
		Next:  "Check the code letter by letter against the console.",
	},
	{
		Code: "CLD-202", Severity: Low,
		Title: "The enrolment code has expired",
		Cause: "A code lives 60 minutes.",
		Next:  "Make a new code in the console.",
	},
	{
		Code: "CLD-203", Severity: Medium,
		Title: "The enrolment code has been used already",
		Cause: "A code is for one box, once: this one was spent by another, or by this one before it was set up anew.",
		Next:  "See in the console who used it; if it was nobody you know, revoke that box. Then make a new code.",
	},
	{
		Code: "CLD-204", Severity: Low,
		Title: "The clock is too wrong to enrol",
		Cause: "The date of this box is so far off that the certificate it would get is not valid here.",
		Next:  "Set the date of this box, then run the same command again: the code is not lost.",
	},
	{
		Code: "CLD-205", Severity: Low,
		Title: "Too many wrong enrolment codes",
		Cause: "Several wrong codes came from this address in a short time, so further ones are not looked at for a while.",
		Next:  "Wait 15 minutes, then type the code slowly, or paste it.",
	},
	{
		Code: "CLD-206", Severity: Low,
		Title: "The enrolment code is of another organization",
		Cause: "This box belongs to one business, and the code was made by another.",
		Next:  "Ask for a code of your own organization; if the box changes hands, run iwas-agent unenroll first.",
	},
	{
		Code: "CLD-207", Severity: Low,
		Title: "The enrolment code was revoked",
		Cause: "Somebody took the code back in the console before it was used.",
		Next:  "Ask for a new code, and why this one was taken back.",
	},
	{
		Code: "CLD-208", Severity: High,
		Title: "The certificate ended too long ago to be renewed",
		Cause: "The box was off, or without the cloud, for more than 180 days after its certificate ended.",
		Next:  "Make a new code in the console and enrol this box again.",
	},
	{
		Code: "CLD-209", Severity: High,
		Title: "The cloud does not know who signed",
		Cause: "The certificate shown was not given out by this cloud, or the signature is not of its key.",
		Next:  "Check that the cloud is the one this box was enrolled at; then enrol it again.",
	},
	{
		Code: "CLD-210", Severity: Medium,
		Title: "Somebody tries enrolment codes",
		Cause: "Codes that nobody made were tried while one of yours was open: a typing error, or a stranger who guesses.",
		Next:  "If it was nobody of yours, revoke the open code and make a new one when the box is ready.",
	},
	{
		Code: "CLD-211", Severity: Low,
		Title: "The box asks the cloud too often over HTTPS",
		Cause: "Renewals and reports of one box, or wrong signatures of one address, come faster than once in 30 seconds.",
		Next:  "Nothing: it is tried again by itself. If it stays so, look for a second copy of the box.",
	},
	{
		Code: "CLD-301", Severity: Low,
		Title: "A command was not carried out in time",
		Cause: "The site was not there, or was busy, for as long as the command was to live; nothing was done.",
		Next:  "See that the site is online, and ask again.",
	},
	{
		Code: "CLD-302", Severity: Low,
		Title: "The box does not know what it was told",
		Cause: "The program on the box is older than the console: it does not know this kind of command or of document.",
		Next:  "Update iwas-agent on the box.",
	},
	{
		Code: "CLD-303", Severity: Medium,
		Title: "A command was sent and never answered",
		Cause: "It left for the site, and then the line, the box or its power failed: whether it was carried out is not known here.",
		Next:  "Wait for the site to come back: it says what became of the command. Else look at what the command was about.",
	},
	{
		Code: "CLD-310", Severity: Medium,
		Title: "The cloud's database cannot be restored",
		Cause: "The file is no backup of iwas-cloud or is damaged, or the database in use is still open.",
		Next:  "Stop iwas-cloud, and give the restore a file that iwas-cloud backup wrote.",
	},
	{
		Code: "CLD-311", Severity: Low,
		Title: "The cloud's database cannot be backed up here",
		Cause: "The file exists already, its folder cannot be written, or the database is PostgreSQL.",
		Next:  "Name a new file; for PostgreSQL use pg_dump.",
	},
	{
		Code: "CLD-312", Severity: Medium,
		Title: "The cloud refused messages of a site",
		Cause: "They were damaged on the way, break the contract, or come from a newer program than the cloud's.",
		Next:  "Update iwas-cloud first, then the box; the site sends again what was not taken.",
	},
}
