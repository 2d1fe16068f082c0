package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

// sameAsStandard reads b both ways, and writes what it is both ways.
func sameAsStandard(t *testing.T, b []byte) {
	t.Helper()
	for _, kind := range []reflect.Type{reflect.TypeFor[Batch](), reflect.TypeFor[Event](), reflect.TypeFor[SessionBody](), reflect.TypeFor[UsageBody](), reflect.TypeFor[LockReceived]()} {
		want, got := reflect.New(kind).Interface(), reflect.New(kind).Interface()
		wantErr, gotErr := json.Unmarshal(b, want), Unmarshal(b, got)
		if (wantErr == nil) != (gotErr == nil) {
			t.Fatalf("%s: got %v, want %v of %q", kind, gotErr, wantErr, b)
		}
		if wantErr != nil {
			continue
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s of %q:\n got %+v\nwant %+v", kind, b, got, want)
		}
		batch, ok := want.(*Batch)
		if !ok {
			continue
		}
		wantBytes, wantErr := json.Marshal(batch)
		gotBytes, gotErr := batch.appendTo(nil)
		if (wantErr == nil) != (gotErr == nil) || wantErr == nil && !bytes.Equal(gotBytes, wantBytes) {
			t.Fatalf("batch of %q:\n got %s %v\nwant %s %v", b, gotBytes, gotErr, wantBytes, wantErr)
		}
	}
}

// oddBodies is what a sender of ours does not write, or must not.
var oddBodies = []string{``, ` `, `{}`, `null`, `[]`, `{"id":null}`, `{"ID":"x"}`, `{"id":"a\u003cb"}`, `{"id":"ä","later":{"x":[1,2,{"y":null}]}}`, "{\"id\":\"\xff\"}", "{\"id\":\"a\x01\"}",
	`{"time_ms":-5}`, `{"time_ms":01}`, `{"time_ms":1e3}`, `{"time_ms":1.0}`, `{"upload":18446744073709551615}`, `{"upload":18446744073709551616}`, `{"time_ms":9223372036854775808}`,
	`{"id":"a","id":"b"}`, `{"id":"a",}`, `{,}`, `{"id":"a"}x`, `{"id":"a"} `, `{ "id" : "a" }`, `{"heard_at":"yesterday"}`, `{"heard_at":"2026-11-24T10:00:00+02:00"}`, `{"heard_at":null}`,
	`{"rate":null}`, `{"rate":""}`, `{"rate":"1M/2M","rate":null}`, `{"pass_usage":{"pass":"p"},"pass_usage":{"time_ms":4}}`, `{"pass_usage":null}`, `{"v":99999999999}`, `{"v":true}`,
	`{"events":[]}`, `{"events":null}`, `{"events":[{"id":"a"},{"id":"b","body":{"x":-0,"y":[1,]}}]}`, `{"events":[{"id":"a","body":null},{"body":-1.5e3},{"body":"<&>"},{"body":"\u2028"}]}`,
	`{"events":[{"id":"a","at":"2026-11-24T10:00:00Z","body":[]}],"events":[{"kind":"b"}]}`, `{"events":[{"body":{"a":"` + "\u2028" + `"}},{"body":{"a":"<"}},{"body":{ "a":1}}]}`, `{"events":[{"id":"a"}`,
	`{"events":[{"body":tru}]}`, `{"events":[{"body":-}]}`, `{"events":[{"body":00}]}`, `{"events":[{"body":[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]}]}`}

func TestReadsAndWritesAsTheStandardDoes(t *testing.T) {
	for _, text := range oddBodies {
		sameAsStandard(t, []byte(text))
	}
	for _, m := range golden() {
		b, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		sameAsStandard(t, b)
		if batch, ok := m.(*Batch); ok {
			for _, e := range batch.Events {
				sameAsStandard(t, e.Body)
			}
			if sent, err := marshal(*batch); err != nil || !bytes.Equal(sent, b) {
				t.Errorf("a batch is sent as\n%s, want\n%s", sent, b)
			}
		}
	}
}

// What is sent by the thousand must not fall back to the slow way unseen.
func TestOurOwnMessagesAreReadInOnePass(t *testing.T) {
	b, err := json.Marshal(golden()["events"])
	if err != nil {
		t.Fatal(err)
	}
	var batch Batch
	if r := (reader{b: b, s: string(b)}); !r.record(&batch) {
		t.Errorf("octet %d stops the reader: %.60q", r.at, b[r.at:])
	}
	for _, e := range batch.Events {
		var into record = &SessionBody{}
		switch e.Kind {
		case EventPassUsage, EventPassFirstUsed:
			into = &UsageBody{}
		case EventSessionStarted, EventSessionUsage, EventSessionStopped:
		default:
			continue
		}
		if r := (reader{b: e.Body, s: string(e.Body)}); !r.record(into) {
			t.Errorf("%s: octet %d stops the reader: %.60q", e.Kind, r.at, e.Body[r.at:])
		}
		if !settled(e.Body) {
			t.Errorf("%s is written the slow way: %s", e.Kind, e.Body)
		}
	}
}

// A body that is no JSON does not leave: nobody could read the batch.
func TestDamagedBodyIsNotSent(t *testing.T) {
	if b, err := Encode(Batch{V: 1, Events: []Event{{ID: "a", Body: json.RawMessage(`{"id":`)}}}); err == nil {
		t.Errorf("got %q, want an error", b)
	}
}

// FuzzUnmarshal looks for what is read or written otherwise than encoding/json does.
func FuzzUnmarshal(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("testdata", "v1", "events*.json"))
	if err != nil || len(files) == 0 {
		f.Fatalf("got %v, %v, want golden messages as seeds", files, err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
		var batch Batch
		if err := json.Unmarshal(b, &batch); err != nil {
			f.Fatal(err)
		}
		for _, e := range batch.Events {
			f.Add([]byte(e.Body))
		}
	}
	for _, text := range oddBodies {
		f.Add([]byte(text))
	}
	f.Fuzz(sameAsStandard)
}
