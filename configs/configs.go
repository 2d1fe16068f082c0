// Package configs holds the files that a program writes of itself when it is
// installed without a package: the same ones that the packages carry.
package configs

import "embed"

// Agent is what belongs to iwas-agent on a Linux with systemd.
//
//go:embed systemd/iwas-agent.service sysusers.d/iwas-agent.conf tmpfiles.d/iwas-agent.conf sysctl.d/60-iwas-agent.conf
var Agent embed.FS
