package main

// Below C:\ProgramData, which every Windows has under that name; install takes
// away the rights that others have there.
const (
	dataDir           = `C:\ProgramData\IWAS\agent`
	defaultConfigFile = dataDir + `\agent.toml`
	defaultStateDir   = dataDir + `\state`
	programDir        = `C:\Program Files\IWAS Agent`
)
