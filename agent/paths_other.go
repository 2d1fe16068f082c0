//go:build !windows

package main

const (
	defaultConfigFile = "/etc/iwas-agent/agent.toml"
	defaultStateDir   = "/var/lib/iwas-agent"
)
