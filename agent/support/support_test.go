package support

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

var day = time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)

func says(name, text string) Collector {
	return Collector{Name: name, About: "what " + name + " holds", Collect: func(context.Context) ([]byte, error) { return []byte(text), nil }}
}

func unpack(t *testing.T, b []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out[f.Name] = string(text)
	}
	return out
}

func TestSecretsAreTakenOut(t *testing.T) {
	secrets := []secret.Value{`hunter"2 & co`, "radius-secret", "short"}
	b, err := Make(t.Context(), day, []Collector{
		says("a.txt", "x radius-secret y radius-secret short"), says("b.json", `{"p":"hunter\"2 \u0026 co"}`), says("c.txt", "u=hunter%222+%26+co"), says("d.txt", "nothing"),
		{Name: "e.txt", Collect: func(context.Context) ([]byte, error) { return nil, errors.New("dial: radius-secret is wrong") }},
	}, secrets)
	if err != nil {
		t.Fatal(err)
	}
	got := unpack(t, b.Zip)
	if got["a.txt"] != "x *** y *** short" || got["b.json"] != `{"p":"***"}` || got["c.txt"] != "u=***" || got["d.txt"] != "nothing" {
		t.Errorf("got %q", got)
	}
	if b.Redacted() != 5 || b.Items[0].Redacted != 2 || b.Items[3].Redacted != 0 || b.Items[0].Bytes != len(got["a.txt"]) {
		t.Errorf("got %+v", b.Items)
	}
	if _, there := got["e.txt"]; there || b.Items[4].Problem != "dial: *** is wrong" || !strings.Contains(got["manifest.json"], "dial: *** is wrong") || !strings.Contains(got["manifest.json"], `"about": "what a.txt holds"`) {
		t.Errorf("what failed: %+v in %s", b.Items[4], got["manifest.json"])
	}
}

func TestABundleWithASecretIsRefused(t *testing.T) {
	const s = "hunter2-radius-secret"
	for name, c := range map[string]Collector{
		"in hexadecimal":          says("x.txt", "00"+hex.EncodeToString([]byte(s))+"00"),
		"in large hexadecimal":    says("x.txt", strings.ToUpper(hex.EncodeToString([]byte(s)))),
		"in base64":               says("x.txt", base64.StdEncoding.EncodeToString([]byte(s))),
		"in base64, after one":    says("x.txt", base64.StdEncoding.EncodeToString([]byte("u"+s+"v"))),
		"in base64, after two":    says("x.txt", base64.StdEncoding.EncodeToString([]byte("us"+s))),
		"in base64 of addresses":  says("x.txt", base64.URLEncoding.EncodeToString([]byte("user:"+s+"?>"))),
		"in the name of the file": says(s+".txt", "x"),
	} {
		b, err := Make(t.Context(), day, []Collector{says("good.txt", "x"), c}, []secret.Value{s})
		if !fault.Is(err, fault.Denied) || fault.Code(err) != CodeSecret || strings.Contains(err.Error(), s) {
			t.Errorf("%s: got %v, want it refused", name, err)
		}
		if len(b.Zip) > 0 {
			t.Errorf("%s: handed out", name)
		}
	}
}

func TestACollectorThatHangsCostsItsOwnFile(t *testing.T) {
	for name, c := range map[string]Collector{
		"listens":        {Limit: 10 * time.Millisecond, Collect: func(ctx context.Context) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() }},
		"does not":       {Limit: 10 * time.Millisecond, Collect: func(context.Context) ([]byte, error) { <-t.Context().Done(); return nil, nil }},
		"breaks instead": {Collect: func(context.Context) ([]byte, error) { panic("oops") }},
	} {
		c.Name = "bad.txt"
		b, err := Make(t.Context(), day, []Collector{c, says("good.txt", "x")}, nil)
		if got := unpack(t, b.Zip); err != nil || got["good.txt"] != "x" || b.Items[0].Problem == "" {
			t.Errorf("%s: got %v, %v, %+v", name, err, got, b.Items)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Make(gone, day, []Collector{says("a", "x")}, nil); !fault.Is(err, fault.Unavailable) {
		t.Errorf("nobody waits any more: got %v", err)
	}
}
