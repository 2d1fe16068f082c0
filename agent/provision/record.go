package provision

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

// State is how far an application has come.
type State string

// States of an application. Only the last three are an end.
const (
	Applying  State = "applying"  // steps are being done
	Waiting   State = "waiting"   // done; a person has until Deadline to confirm
	Confirmed State = "confirmed" // it stays
	Reverted  State = "reverted"  // the old configuration is back
	Undone    State = "undone"    // confirmed once, and rolled back since
)

// Record is what the agent keeps of the newest application of a router, so that it
// can be taken back after any restart. It holds secrets of the old configuration.
type Record struct {
	Version  int       `json:"version"` // of this shape; 1
	Router   string    `json:"router"`
	Setup    string    `json:"setup,omitempty"` // SetupKey of what was applied; absent from records of before
	State    State     `json:"state"`
	At       time.Time `json:"at"`
	Deadline time.Time `json:"deadline,omitzero"`
	Done     int       `json:"done"`  // steps that were begun
	Net      bool      `json:"net"`   // the router takes it back by itself
	Undo     []Op      `json:"undo"`  // of the steps begun, in the order done
	Words    []string  `json:"words"` // of those steps
	Why      string    `json:"why,omitempty"`
}

// Keeper keeps the record of one router in a file.
type Keeper string

// Load returns the record; false if there is none.
func (k Keeper) Load() (Record, bool, error) {
	var r Record
	b, err := os.ReadFile(string(k))
	if errors.Is(err, fs.ErrNotExist) {
		return r, false, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &r)
	}
	if err != nil {
		return r, false, fault.New(fault.Damaged, "read what was applied", err).WithCode("", "Remove "+string(k)+"; the router's own backup iwas-before is then what leads back.")
	}
	return r, true, nil
}

// Save keeps the record through a power cut.
func (k Keeper) Save(r Record) error {
	r.Version = 1
	if err := os.MkdirAll(filepath.Dir(string(k)), 0o700); err != nil {
		return err
	}
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return secret.WriteFile(string(k), append(b, '\n'))
}
