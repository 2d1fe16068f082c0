// Package support makes the bundle that a technician sends to whoever helps: one
// zip file of what its collectors tell. Known secrets are taken out of each file,
// and a finished zip that still holds one, in whatever spelling, is not handed
// out. It collects nothing by itself and sends nothing anywhere.
package support

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

// CodeSecret is the condition of a bundle that held a secret.
const CodeSecret = "SYS-125"

const (
	secretLeast = 6        // octets: what is shorter stands in every text
	fileMost    = 16 << 20 // octets of one file; the rest is cut off
	limit       = 5 * time.Second
)

// Collector tells one file of the bundle.
type Collector struct {
	Name    string        // of the file
	About   string        // what it holds, for who looks before sending it
	Limit   time.Duration // it may take; 0 is 5 s
	Collect func(ctx context.Context) ([]byte, error)
}

// Item is one file as it came out.
type Item struct {
	Name     string `json:"name"`
	About    string `json:"about"`
	Bytes    int    `json:"bytes"`
	Redacted int    `json:"redacted"`          // secrets taken out
	Problem  string `json:"problem,omitempty"` // why it is not there
}

// Bundle is a finished one.
type Bundle struct {
	At    time.Time `json:"at"`
	Items []Item    `json:"files"`
	Zip   []byte    `json:"-"`
}

// Redacted is how many secrets were taken out.
func (b Bundle) Redacted() (n int) {
	for _, i := range b.Items {
		n += i.Redacted
	}
	return n
}

const hidden = "***"

// Make asks every collector at once, each with its own limit: one that hangs costs
// its own file alone. Secrets are those that this box knows.
func Make(ctx context.Context, now time.Time, collectors []Collector, secrets []secret.Value) (Bundle, error) {
	out := Bundle{At: now, Items: make([]Item, len(collectors))}
	texts := make([][]byte, len(collectors))
	known := spellings(secrets)
	var all sync.WaitGroup
	for i, c := range collectors {
		all.Go(func() {
			item := Item{Name: c.Name, About: c.About}
			b, err := collect(ctx, c)
			if err != nil {
				item.Problem = clean(err.Error(), known, &item.Redacted)
			} else {
				texts[i] = []byte(clean(string(b[:min(len(b), fileMost)]), known, &item.Redacted))
				item.Bytes = len(texts[i])
			}
			out.Items[i] = item
		})
	}
	all.Wait()
	if err := ctx.Err(); err != nil {
		return Bundle{}, fault.New(fault.Unavailable, "make the support bundle", err)
	}
	var err error
	if out.Zip, err = pack(out, texts); err != nil {
		return Bundle{}, err
	}
	if err := scan(out.Zip, known); err != nil {
		return Bundle{}, err
	}
	return out, nil
}

// collect asks one collector, and waits for it no longer than its limit even when
// it does not listen.
func collect(ctx context.Context, c Collector) ([]byte, error) {
	wait := limit
	if c.Limit > 0 {
		wait = c.Limit
	}
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	type answer struct {
		b   []byte
		err error
	}
	told := make(chan answer, 1)
	go func() {
		defer func() {
			if p := recover(); p != nil {
				told <- answer{err: fmt.Errorf("the collector failed: %v", p)}
			}
		}()
		b, err := c.Collect(ctx)
		told <- answer{b, err}
	}()
	select {
	case a := <-told:
		return a.b, a.err
	case <-ctx.Done():
		return nil, fmt.Errorf("no answer within %v", wait)
	}
}

// spelling is a secret as it may stand in a file.
type spelling struct {
	text  string
	plain bool // as it is; else encoded, which nothing of ours does on purpose
}

// spellings lists how the secrets may be written, the longest first.
func spellings(secrets []secret.Value) (out []spelling) {
	seen := map[string]bool{}
	add := func(s string, plain bool) {
		if len(s) >= secretLeast && !seen[s] {
			seen[s] = true
			out = append(out, spelling{s, plain})
		}
	}
	for _, v := range secrets {
		s := v.Reveal()
		if len(s) < secretLeast {
			continue
		}
		add(s, true)
		if j, err := json.Marshal(s); err == nil {
			add(strings.Trim(string(j), `"`), true)
		}
		add(url.QueryEscape(s), true)
		add(hex.EncodeToString([]byte(s)), false)
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			// At any place in what was encoded the octets in its middle look the same.
			for at := range 3 {
				b := e.EncodeToString(append(make([]byte, at), s...))
				from, to := (at*8+5)/6, (at+len(s))*8/6
				if to-from >= secretLeast+2 {
					add(b[from:to], false)
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b spelling) int { return len(b.text) - len(a.text) })
	return out
}

// clean takes out what is plainly there and counts it.
func clean(text string, known []spelling, n *int) string {
	for _, k := range known {
		if c := strings.Count(text, k.text); k.plain && c > 0 {
			*n += c
			text = strings.ReplaceAll(text, k.text, hidden)
		}
	}
	return text
}

// pack writes the zip, the list of what is in it first.
func pack(b Bundle, texts [][]byte) ([]byte, error) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	put := func(name string, text []byte) error {
		w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: b.At})
		if err == nil {
			_, err = w.Write(text)
		}
		return err
	}
	manifest, err := json.MarshalIndent(b, "", "  ")
	if err == nil {
		err = put("manifest.json", append(manifest, '\n'))
	}
	for i, item := range b.Items {
		if err == nil && item.Problem == "" {
			err = put(item.Name, texts[i])
		}
	}
	if err = errors.Join(err, z.Close()); err != nil {
		return nil, fault.New(fault.Internal, "pack the support bundle", err)
	}
	return out.Bytes(), nil
}

// scan reads the finished zip as whoever gets it would, and refuses it when a
// secret is in it.
func scan(b []byte, known []spelling) error {
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return fault.New(fault.Internal, "read the support bundle again", err)
	}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			return fault.New(fault.Internal, "read the support bundle again", err)
		}
		text, err := io.ReadAll(io.LimitReader(r, 2*fileMost))
		if err = errors.Join(err, r.Close()); err != nil {
			return fault.New(fault.Internal, "read the support bundle again", err)
		}
		lower := bytes.ToLower(text)
		for _, k := range known {
			if bytes.Contains(text, []byte(k.text)) || bytes.Contains([]byte(f.Name), []byte(k.text)) || isHex(k.text) && bytes.Contains(lower, []byte(k.text)) {
				count := 0
				return fault.New(fault.Denied, "the support bundle was not made: its file "+clean(f.Name, known, &count)+" holds a secret of this box", nil).
					WithCode(CodeSecret, "Tell support which file it was; send what else they ask for by hand.")
			}
		}
	}
	return nil
}

func isHex(s string) bool { return strings.Trim(s, "0123456789abcdef") == "" }
