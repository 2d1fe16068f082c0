package condition

import "time"

// storage is what can be wrong with databases, with what waits in them for the
// cloud, and with versions.
var storage = []Condition{
	{
		Code: "DB-101", Severity: High, ImpactsLogin: true,
		Title: "The database is damaged",
		Cause: "The file cannot be read as a database any more, most often after a power cut on a worn card or disk.",
		Next:  "Restore the last good copy; keep the damaged file aside.",
	},
	{
		Code: "DB-102", Severity: High, Delay: time.Minute,
		Title: "The disk is nearly full",
		Cause: "Less than 500 MB are free on the disk of the database.",
		Next:  "Find what fills the disk and remove it before logins have to be refused.",
	},
	{
		Code: "DB-103", Severity: High, DependsOn: []string{"DB-102"}, ImpactsLogin: true,
		Title: "The state directory cannot be written",
		Cause: "It does not exist, belongs to another user, is mounted read-only, or its disk is full.",
		Next:  "Check owner, rights and free space of the state directory.",
	},
	{
		Code: "DB-104", Severity: High,
		Title: "The database address cannot be used",
		Cause: "The database URL names a kind that is not known, no file, or a file of another program.",
		Next:  "Write sqlite:///path/to/file or postgres://user@host/database.",
	},
	{
		Code: "DB-105", Severity: High, Delay: 10 * time.Second,
		Title: "The database server does not answer",
		Cause: "PostgreSQL is down, or refuses address, name or password.",
		Next:  "Check that PostgreSQL runs and takes this connection.",
	},
	{
		Code: "DB-106", Severity: High,
		Title: "The database cannot be brought up to date",
		Cause: "Rights or space are missing, or a newer version of the program has used this database.",
		Next:  "Read the error behind it; if a newer version was here, run that one.",
	},
	{
		Code: "DB-107", Severity: High, ImpactsLogin: true,
		Title: "The key does not open the stored passwords",
		Cause: "The key file and the database are not from the same box or the same backup.",
		Next:  "Restore both from one backup, or enrol this box again so that the passwords are sent anew.",
	},
	{
		Code: "DB-108", Severity: High, ImpactsLogin: true,
		Title: "The database will not open",
		Cause: "Rights, space, the key or the file itself are not as they must be; the error says which.",
		Next:  "Read the error behind it, and restart the service once it is mended.",
	},
	{
		Code: "OUT-101", Severity: Medium, Delay: time.Minute,
		DependsOn: []string{"NET-101", "NET-102", "NET-103", "CLD-101", "CLD-102", "CLD-103", "CLD-104", "CLD-106", "CLD-107", "CLD-110"},
		Title:     "Facts have waited for the cloud too long",
		Cause:     "The link stands, and yet the oldest fact that the cloud does not have is more than 15 minutes old.",
		Next:      "Restart the service here; if it comes back, look at the cloud's log.",
	},
	{
		Code: "OUT-102", Severity: Medium,
		Title: "What waits for the cloud has reached its limit",
		Cause: "The cloud was away so long that the facts kept for it fill outbox_mb. Of each session only the newest readings are kept now.",
		Next:  "Bring the link to the cloud back, or raise outbox_mb if the disk has room.",
	},
	{
		Code: "UPD-101", Severity: Medium,
		Title: "A part of what the cloud wants is not in force here",
		Cause: "The cloud sent documents that this version cannot apply; they are kept.",
		Next:  "Update iwas-agent: a newer version most likely understands them.",
	},
}
