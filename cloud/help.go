package main

import "iwas/internal/manual"

// helps are examples of every command, and what some do; the rest says so where it is
// made.
var helps = map[string]manual.Help{
	"backup": {Long: "Copies the database of SQLite into a new file while the service runs. PostgreSQL is copied by its own pg_dump.",
		Example: "sudo iwas-cloud backup /var/backups/iwas-cloud.db"},
	"config validate": {Long: "Reads the configuration as the service would, and names every fault in it by file, line and key. Nothing is changed.",
		Example: "iwas-cloud config validate"},
	"man": {Example: "iwas-cloud man ./man8"},
	"owner add": {Long: "Makes a person who owns an organization and may do everything in it, and the organization where it is new. They sign in on the console.",
		Example: "sudo iwas-cloud owner add --organization \"Main Street Cafes\" --email owner@cafe.example --password-file password.txt"},
	"restore": {Example: "sudo iwas-cloud restore /var/backups/iwas-cloud.db\nsudo iwas-cloud restore --in-place"},
	"run": {Long: "Runs the console, the API and the broker in the foreground until it is told to stop, by Ctrl-C or the system.",
		Example: "iwas-cloud run --config /etc/iwas-cloud/cloud.toml"},
	"token add": {Long: "Lets a program use the HTTP API in the name of a person, with that person's rights. The token is of your own making and is kept as a hash.",
		Example: "sudo iwas-cloud token add --email owner@cafe.example --name reports --token-file token.txt"},
	"version": {Long: "Prints the version of this program and of Go, as support asks for it.", Example: "iwas-cloud version"},
}
