package uplink

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"iwas/internal/wire"
)

// Leave takes the identity off this box, and then tells the cloud with the key that
// was just taken off. told is nil once the cloud knows: then it is retired there too.
// Else only a person in the console can do that. The box has no identity either way,
// unless err says so.
func Leave(ctx context.Context, stateDir string, now func() time.Time) (told, err error) {
	id, told := LoadIdentity(stateDir)
	if told == nil {
		// A copy has the original's identity: that one goes on.
		told = id.refused(filepath.Join(stateDir, identityDir))
	}
	if err := Unenrol(stateDir); err != nil {
		return told, err
	}
	if told != nil {
		return told, nil
	}
	var r wire.LeaveReply
	return id.ask(ctx, "leave", wire.PathLeave, wire.LeaveRequest{V: wire.Version, At: now().UTC()}, &r, now), nil
}

// Unenrol takes the identity off this box. The sealing key stays: what the store
// holds is sealed with it.
func Unenrol(stateDir string) error {
	dir := filepath.Join(stateDir, identityDir)
	var all []error
	// The description first: without it the box counts as not enrolled.
	for _, name := range []string{aboutFile, certFile, keyFile, caFile, refusedFile, pendingFile, pendingKey} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			all = append(all, err)
		}
	}
	if err := errors.Join(all...); err != nil {
		return diskFault("take the identity off this box", err)
	}
	return nil
}
