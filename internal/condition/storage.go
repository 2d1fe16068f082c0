package condition

import "time"

// storage is what can be wrong with databases, with what waits in them for the
// cloud, and with versions.
var storage = []Condition{
	{
		Code: "DB-101", Severity: High, ImpactsLogin: true,
		Title: "The database is damaged",
		Cause: "The file cannot be read as a database any more, most often after a power cut on a worn card or disk.",
		Next:  "Restart the service: it puts the last good copy back and keeps the damaged file aside.",
	},
	{
		Code: "DB-102", Severity: High, Delay: time.Minute, DependsOn: []string{"DB-111", "DB-115"},
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
		Code: "DB-109", Severity: Medium,
		Title: "The database was damaged and was put back from a copy",
		Cause: "The file could not be trusted any more, most often after a power cut on a worn card or disk. The service put its newest good copy in its place.",
		Next:  "Replace the card or disk soon; keep the damaged file until nobody misses anything.",
	},
	{
		Code: "DB-110", Severity: Medium, DependsOn: []string{"DB-102"},
		Title: "No copy of the database could be taken for hours",
		Cause: "The service copies its database every hour, and lately could not: room or rights are missing in its folder backup.",
		Next:  "Free room on the disk of the database, and let the service write into the folder backup.",
	},
	{
		Code: "DB-111", Severity: High, ImpactsLogin: true,
		Title: "The disk is full, and passes cannot be begun",
		Cause: "The disk of the database takes no more. Guests whose pass was used before log in and go on; the first use of a pass cannot be stored and is refused.",
		Next:  "Free room on the disk of the database; sudo du -xh --max-depth=3 / | sort -h | tail names what fills it.",
	},
	{
		Code: "DB-112", Severity: High, ImpactsLogin: true,
		Title: "The database is damaged, and no copy of it is good",
		Cause: "The file cannot be trusted, and there is no copy yet, or the copies are damaged too. Nothing was removed or changed.",
		Next:  "Put a backup back with iwas-agent restore FILE, or begin anew with iwas-agent restore --empty.",
	},
	{
		Code: "DB-113", Severity: Medium,
		Title: "A backup cannot be made or used",
		Cause: "The file is not a whole backup of iwas-agent, the passphrase is not the one it was made with, it is of a newer version, or it cannot be written.",
		Next:  "Read the error; it says which. What is on the box was not touched.",
	},
	{
		Code: "DB-114", Severity: Medium,
		Title: "The database is in use, so that nothing can be put in its place",
		Cause: "The service runs, or another program has the file open.",
		Next:  "Stop the service, put the backup back, and start the service.",
	},
	{
		Code: "DB-115", Severity: Medium, DependsOn: []string{"DB-111"},
		Title: "The disk is so low that the service gives up what it can spare",
		Cause: "Only the newest copy of the database is kept, readings in between are folded, and what the cloud has is dropped at once.",
		Next:  "Free room on the disk of the database before it is full.",
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
	{
		Code: "UPD-103", Severity: Low,
		Title: "The newest version cannot be asked for",
		Cause: "The repository does not answer, or none is named. What runs here goes on.",
		Next:  "Check the way to the internet and update_url, and ask again.",
	},
	{
		Code: "UPD-104", Severity: Medium,
		Title: "An upgrade changed the database without a copy of it as it was",
		Cause: "The copy needs as much room as the database, and the disk did not have it. Guests are served.",
		Next:  "Free room on the disk; until the next upgrade this version cannot be taken back.",
	},
	{
		Code: "UPD-105", Severity: Medium,
		Title: "The version from before cannot be put back by rollback",
		Cause: "This box keeps no program, or no database, from before the last upgrade.",
		Next:  "Install the older version by its package, and restore a backup made with it.",
	},
	{
		Code: "UPD-106", Severity: Medium,
		Title: "Going back would lose what the cloud does not have yet",
		Cause: "The older version cannot read today's database, and facts since the upgrade are only in that.",
		Next:  "Bring the link to the cloud back first, or accept the loss.",
	},
}
