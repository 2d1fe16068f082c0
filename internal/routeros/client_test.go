package routeros

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-routeros/routeros/v3/proto"

	"iwas/internal/fault"
	"iwas/internal/secret"
)

func TestRunReturnsRows(t *testing.T) {
	var asked []string
	p := startPeer(t, nil, welcome(func(s *proto.Sentence) []byte {
		asked = append(asked, s.Word)
		switch s.Word {
		case "/ip/hotspot/active/print":
			return bytes.Join([][]byte{
				say("!re", "=.id=*0", "=user=a=b", "=comment="),
				say("!re", "=.id=*8000001A", "=radius"),
				say("!done")}, nil)
		case "/ip/hotspot/cookie/print":
			return append(say("!empty"), say("!done")...) // RouterOS 7.18 and later
		case "/ip/hotspot/ip-binding/add":
			return say("!done", "=ret=*2F")
		}
		return append(append([]byte{0, 0}, say("!re", "=name=CAFE1")...), say("!done")...) // empty sentences first
	}))
	c := dialPeer(t, p)
	for _, tc := range []struct {
		words []string
		want  string
	}{
		{[]string{"/ip/hotspot/active/print", "=.proplist=.id,user"}, "[map[.id:*0 comment: user:a=b] map[.id:*8000001A radius:]]"},
		{[]string{"/ip/hotspot/cookie/print"}, "[]"},
		{[]string{"/ip/hotspot/ip-binding/add", "=type=bypassed"}, "[map[ret:*2F]]"},
		{[]string{"/system/identity/print"}, "[map[name:CAFE1]]"},
	} {
		rows, err := c.Run(context.Background(), tc.words...)
		if got := fmt.Sprint(rows); err != nil || got != tc.want {
			t.Errorf("%s: got %s, %v, want %s", tc.words[0], got, err, tc.want)
		}
	}
	if len(asked) != 4 {
		t.Errorf("router was asked %v, want four commands", asked)
	}
}

func TestRunSharesOneConnection(t *testing.T) {
	p := startPeer(t, nil, welcome(func(s *proto.Sentence) []byte {
		return append(say("!re", "=word="+s.Word), say("!done")...)
	}))
	c := dialPeer(t, p)
	errs := make(chan error, 8)
	for i := range 8 {
		go func() {
			var err error
			for n := 0; n < 50 && err == nil; n++ {
				word := fmt.Sprintf("/menu%d/%d", i, n)
				var rows []Row
				if rows, err = c.Run(context.Background(), word); err == nil && rows[0]["word"] != word {
					err = fmt.Errorf("asked %s, got the answer to %s", word, rows[0]["word"])
				}
			}
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestWordsThatWouldEndTheSentenceAreRefused(t *testing.T) {
	c := dialPeer(t, startPeer(t, nil, welcome(func(*proto.Sentence) []byte { return say("!done") })))
	for _, words := range [][]string{{}, {"print"}, {"/ip/hotspot/cookie/remove", ""}, {"/a", "", "/system/reset-configuration"}} {
		if _, err := c.Run(context.Background(), words...); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q: got %v, want an invalid fault", words, err)
		}
	}
	if _, err := c.Run(context.Background(), "/a"); err != nil {
		t.Errorf("after refused sentences: %v, want a usable connection", err)
	}
}

func TestTraps(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer []byte
		reason Reason
		kind   fault.Kind
		code   string
		usable bool
	}{
		{"item gone", append(say("!trap", "=category=0", "=message=no such item"), say("!done")...), NoSuchItem, fault.NotFound, "", true},
		{"menu unknown", append(say("!trap", "=message=no such command or directory (hotspot)"), say("!done")...), NoSuchCommand, fault.NotFound, "", true},
		{"no rights", append(say("!trap", "=message=not enough permissions (9)"), say("!done")...), NoRights, fault.Denied, CodeRightMissing, true},
		{"duplicate", append(say("!trap", "=message=failure: already have such entry"), say("!done")...), Duplicate, fault.Conflict, "", true},
		{"argument", append(say("!trap", "=category=1", "=message=input does not match any value of type"), say("!done")...), BadArgument, fault.Invalid, "", true},
		{"device-mode", append(say("!trap", "=message=failure: not allowed by device-mode"), say("!done")...), DeviceMode, fault.Denied, CodeDeviceMode, true},
		{"unexplained", append(say("!trap", "=message=something new"), say("!done")...), Unexplained, fault.Internal, "", true},
		{"fatal with a bare word", say("!fatal", "not logged in"), NotLoggedIn, fault.Denied, CodeLoginRefused, false},
		{"fatal with a message", say("!fatal", "=message=session terminated on request"), Interrupted, fault.Unavailable, "", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dialPeer(t, startPeer(t, nil, welcome(func(s *proto.Sentence) []byte {
				if s.Word == "/again" {
					return say("!done")
				}
				return tc.answer
			})))
			_, err := c.Run(context.Background(), "/x/remove", "=.id=*1")
			if ReasonOf(err) != tc.reason || fault.KindOf(err) != tc.kind || fault.Code(err) != tc.code {
				t.Errorf("got %v (reason %v, kind %v, code %q), want reason %v, kind %v, code %q",
					err, ReasonOf(err), fault.KindOf(err), fault.Code(err), tc.reason, tc.kind, tc.code)
			}
			if tc.code != "" && fault.Hint(err) == "" {
				t.Error("a coded error without a next step")
			}
			if Refused(err) != tc.usable {
				t.Errorf("Refused = %v, want %v", Refused(err), tc.usable)
			}
			if _, err := c.Run(context.Background(), "/again"); (err == nil) != tc.usable {
				t.Errorf("next command: %v, want usable %v", err, tc.usable)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	challenge := bytes.Repeat([]byte{0xa5}, 16)
	oldLogin := func(s *proto.Sentence) []byte {
		if s.Map["response"] == "" {
			return say("!done", "=ret="+hex.EncodeToString(challenge))
		}
		sum := md5.Sum(append([]byte("\x00p"), challenge...))
		if s.Map["name"] == "agent" && s.Map["response"] == "00"+hex.EncodeToString(sum[:]) {
			return say("!done")
		}
		return append(say("!trap", "=message=cannot log in"), say("!done")...)
	}
	newLogin := func(s *proto.Sentence) []byte {
		if s.Map["name"] == "agent" && s.Map["password"] == "p" {
			return say("!done")
		}
		return append(say("!trap", "=message=invalid user name or password (6)"), say("!done")...)
	}
	hangUp := func(s *proto.Sentence) []byte {
		if b := newLogin(s); b[1] != '!' || string(b[1:6]) != "!trap" {
			return b
		}
		return nil
	}
	for _, tc := range []struct {
		name     string
		answer   func(*proto.Sentence) []byte
		password secret.Value
		code     string
	}{
		{"since 6.43", newLogin, "p", ""},
		{"since 6.43, wrong", newLogin, "wrong", CodeLoginRefused},
		{"before 6.43", oldLogin, "p", ""},
		{"before 6.43, wrong", oldLogin, "wrong", CodeLoginRefused},
		{"hangs up without a word", hangUp, "wrong", CodeServiceOff},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := startPeer(t, nil, tc.answer)
			c, err := Dial(context.Background(), Options{URL: p.url(), User: "agent", Password: tc.password})
			if fault.Code(err) != tc.code || (err == nil) != (tc.code == "") {
				t.Errorf("got %v (code %q), want code %q", err, fault.Code(err), tc.code)
			}
			if err != nil && strings.Contains(err.Error(), "wrong") {
				t.Errorf("the error shows the password: %v", err)
			}
			if c != nil {
				c.Close()
			}
		})
	}
}

// Some versions close right after a refused login, before !done.
func TestTrapBeforeHangUpIsKept(t *testing.T) {
	l := listen(t)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := proto.NewReader(conn).ReadSentence(); err == nil {
			conn.Write(say("!trap", "=message=invalid user name or password (6)"))
		}
	}()
	_, err := Dial(context.Background(), Options{URL: "api://" + l.Addr().String(), User: "agent", Password: "x"})
	if ReasonOf(err) != BadLogin || fault.Code(err) != CodeLoginRefused {
		t.Errorf("got %v (%v), want a refused login", err, ReasonOf(err))
	}
}

func TestDeadlines(t *testing.T) {
	silent := startPeer(t, nil, func(*proto.Sentence) []byte { return []byte{} })
	begun := time.Now()
	_, err := Dial(context.Background(), Options{URL: silent.url(), User: "agent", Timeout: 100 * time.Millisecond})
	if fault.Code(err) != CodeUnreachable || time.Since(begun) > 2*time.Second {
		t.Errorf("login to a silent router: got %v after %v, want %s in 100 ms", err, time.Since(begun), CodeUnreachable)
	}

	late := startPeer(t, nil, welcome(func(s *proto.Sentence) []byte {
		if s.Word == "/slow" {
			time.Sleep(300 * time.Millisecond) // longer than the command may take
		}
		return append(say("!re", "=word="+s.Word), say("!done")...)
	}))
	for _, tc := range []struct {
		name string
		end  func(context.Context) (context.Context, context.CancelFunc)
	}{
		{"deadline", func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		}},
		{"cancelled", func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dialPeer(t, late)
			ctx, cancel := tc.end(context.Background())
			defer cancel()
			begun := time.Now()
			if _, err := c.Run(ctx, "/slow"); err == nil || Refused(err) || time.Since(begun) > 250*time.Millisecond {
				t.Errorf("got %v after %v, want a dead connection after 50 ms", err, time.Since(begun))
			}
			// The late answer must never be taken for the answer to this.
			if rows, err := c.Run(context.Background(), "/quick"); err == nil {
				t.Errorf("a connection whose deadline struck answered %v", rows)
			}
		})
	}
}

func TestHostileLengthsAreRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		answer []byte
	}{
		{"four gigabytes", []byte{0xf0, 0xff, 0xff, 0xff, 0xff}},
		{"256 megabytes", []byte{0xef, 0xff, 0xff, 0xff}},
		{"control octet", []byte{0xf8, 1, 2, 3}},
		{"second word", append(appendWord(nil, "!re"), 0xe0, 0x20, 0, 0)},
		{"endless sentence", bytes.Repeat(append(appendWord(nil, "!re"), appendWord(nil, "=a=b")...), maxWords+2)},
		{"not the API", []byte("HTTP/1.1 400 Bad Request\r\n\r\n")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := dialPeer(t, startPeer(t, nil, welcome(func(*proto.Sentence) []byte { return tc.answer })))
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := c.Run(context.Background(), "/x/print")
			runtime.ReadMemStats(&after)
			if err == nil || Refused(err) || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the answer refused at once", err)
			}
			if grown := after.TotalAlloc - before.TotalAlloc; grown > 8<<20 {
				t.Errorf("%d octets allocated for it", grown)
			}
		})
	}
}

func TestCloseEndsRun(t *testing.T) {
	c := dialPeer(t, startPeer(t, nil, welcome(func(*proto.Sentence) []byte { return []byte{} })))
	time.AfterFunc(30*time.Millisecond, func() { c.Close() })
	begun := time.Now()
	if _, err := c.Run(context.Background(), "/x/listen"); err == nil || time.Since(begun) > time.Second {
		t.Errorf("got %v after %v, want an error at once", err, time.Since(begun))
	}
}

func BenchmarkRun5000Rows(b *testing.B) {
	var table []byte
	for i := range 5000 {
		table = append(table, say("!re", fmt.Sprintf("=.id=*%X", i), "=protocol=tcp", "=src-address=10.20.0.5:51234", "=dst-address=93.184.216.34:443",
			"=reply-src-address=93.184.216.34:443")...)
	}
	table = append(table, say("!done")...)
	l := listen(b)
	p := &peer{Listener: l, answer: welcome(func(*proto.Sentence) []byte { return table })}
	go p.serve()
	defer p.Close()
	c, err := Dial(context.Background(), Options{URL: p.url()})
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	b.Run("kept", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if rows, err := c.Run(context.Background(), "/ip/firewall/connection/print"); err != nil || len(rows) != 5000 {
				b.Fatal(len(rows), err)
			}
		}
	})
	b.Run("visited", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			if err := Each(context.Background(), c, func(Row) { n++ }, "/ip/firewall/connection/print"); err != nil || n != 5000 {
				b.Fatal(n, err)
			}
		}
	})
}
