package uplink

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/wire"
)

// gone fails unless nothing of an identity is left but the sealing key.
func gone(t *testing.T, stateDir string) {
	t.Helper()
	if _, err := LoadIdentity(stateDir); !fault.Is(err, fault.NotFound) {
		t.Errorf("got %v, want no identity", err)
	}
	for name, want := range map[string]bool{keyFile: false, certFile: false, aboutFile: false, refusedFile: false, sealFile: true} {
		if _, err := os.Stat(filepath.Join(stateDir, identityDir, name)); errors.Is(err, fs.ErrNotExist) == want {
			t.Errorf("%s: got %v, want it there: %v", name, err, want)
		}
	}
}

// TestLeavingTellsTheCloud: with the key that was taken off, and only where the
// identity is this box's own; without a way to the cloud the box leaves all the same.
func TestLeavingTellsTheCloud(t *testing.T) {
	d := openDoor(t)
	enrolled := func() (EnrolOptions, Identity) {
		t.Helper()
		d.raw = nil
		o := d.options(t)
		id, err := Enrol(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		return o, id
	}
	o, id := enrolled()
	var asked []string
	var shown *x509.Certificate
	d.raw = func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path)
		var s wire.Signed
		var l wire.LeaveRequest
		err := json.NewDecoder(r.Body).Decode(&s)
		if err == nil {
			shown, err = s.Open(wire.PathLeave, &l)
		}
		if err != nil || l.V != wire.Version || l.At.IsZero() {
			t.Errorf("got %+v, %v; want it signed", l, err)
		}
		if _, err := os.Stat(filepath.Join(o.StateDir, identityDir, keyFile)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the cloud is told while the key is still here (%v)", err)
		}
		_ = json.NewEncoder(w).Encode(wire.LeaveReply{Time: time.Now()})
	}
	told, err := Leave(t.Context(), o.StateDir, time.Now)
	if told != nil || err != nil || len(asked) != 1 || asked[0] != wire.PathLeave || shown.Subject.CommonName != string(id.Agent) {
		t.Errorf("got told %v, %v after %v by %v; want the cloud told once by %s", told, err, asked, shown, id.Agent)
	}
	gone(t, o.StateDir)

	o, id = enrolled()
	asked = nil
	d.raw = func(http.ResponseWriter, *http.Request) { asked = append(asked, "a copy's word") }
	if err := RefuseCopy(o.StateDir, id, time.Now()); err != nil {
		t.Fatal(err)
	}
	if told, err := Leave(t.Context(), o.StateDir, time.Now); fault.Code(told) != "CLD-112" || err != nil || len(asked) != 0 {
		t.Errorf("a copy: got told %v, %v after %v; want the original left alone", told, err, asked)
	}
	gone(t, o.StateDir)

	o, _ = enrolled()
	d.raw = func(w http.ResponseWriter, _ *http.Request) { // a cloud of before: it has no such door
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusNotFound)
		_ = json.NewEncoder(w).Encode(wire.Problem{Title: "Nothing is here", Status: http.StatusNotFound})
	}
	if told, err := Leave(t.Context(), o.StateDir, time.Now); !fault.Is(told, fault.NotFound) || err != nil {
		t.Errorf("an older cloud: got told %v, %v", told, err)
	}
	gone(t, o.StateDir)

	o, _ = enrolled()
	d.Close()
	if told, err := Leave(t.Context(), o.StateDir, time.Now); fault.Code(told) != "CLD-101" || err != nil {
		t.Errorf("no cloud: got told %v, %v; want CLD-101", told, err)
	}
	gone(t, o.StateDir)
}
