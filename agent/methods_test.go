package main

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"iwas/agent/aaa"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// radclient sends one Access-Request and holds the whole reply against want, one
// attribute a line. Its absence is a failure, never a skip.
func (b *bench) radclient(request, want string) {
	b.t.Helper()
	dir := b.t.TempDir()
	req, exp := filepath.Join(dir, "req"), filepath.Join(dir, "want")
	for name, text := range map[string]string{req: request, exp: want} {
		if err := os.WriteFile(name, []byte(text+"\n"), 0o600); err != nil {
			b.t.Fatal(err)
		}
	}
	out, err := exec.Command("radclient", "-x", "-r", "3", "-t", "3", "-f", req+":"+exp, b.server.AuthAddr().String(), "auth", lockSecret).CombinedOutput()
	if err != nil {
		b.t.Errorf("radclient (Debian package freeradius-utils): %v\n%s\n%s", err, request, out)
	}
}

// put brings documents to the site.
func (b *bench) put(docs ...wire.Doc) {
	b.rev++
	b.apply(wire.State{From: b.rev - 1, Docs: docs})
}

// TestEveryMethodAsAnIndependentClientSendsIt goes through the ways to prove
// who one is, and the ways to fail, by FreeRADIUS's client against the whole
// program: sockets, codec, judge, store, decision.
func TestEveryMethodAsAnIndependentClientSendsIt(t *testing.T) {
	const ours = "AA:BB:CC:DD:EE:01"
	b := newBench(t, 1, wire.LimitsBody{Devices: 1000})
	limits := wire.LimitsBody{Devices: 3, Rate: "2M/10M 4M/20M 1M/5M 10/10 5 512k/1M", IdleS: 300, Download: 5 << 32, AddressLists: []string{"paid", "vip"}}
	b.put(b.doc(wire.DocAccount, "v", wire.AccountDoc{Kind: hotspot.Voucher, Username: "ABCD-2345"}), b.doc(wire.DocPass, "pv", wire.PassDoc{Account: "v", Limits: limits}),
		b.doc(wire.DocAccount, "d", wire.AccountDoc{Kind: hotspot.Device, Username: ours}), b.doc(wire.DocPass, "pd", wire.PassDoc{Account: "d"}))
	const granted = "Response-Packet-Type == Access-Accept\nMessage-Authenticator =* ANY\nClass =* ANY\nAcct-Interim-Interval == 120\n"
	user, device := granted+"Port-Limit == 1000", granted+"Port-Limit == 1"
	voucher := granted + `Port-Limit == 3
Idle-Timeout == 300
Mikrotik-Rate-Limit == "2M/10M 4M/20M 1M/5M 10/10 5 512k/1M"
Mikrotik-Xmit-Limit == 0
Mikrotik-Xmit-Limit-Gigawords == 5
Mikrotik-Address-List == "paid"
Mikrotik-Address-List == "vip"`
	refused := func(reason hotspot.Reason) string {
		return "Response-Packet-Type == Access-Reject\nMessage-Authenticator =* ANY\nReply-Message == \"" + aaa.GuestMessage(reason, "en") + `"`
	}
	wrong := refused(hotspot.ReasonBadPassword)
	type request struct{ name, credential, mac, want string }
	tests := map[string]request{
		"user, PAP":                       {"user0", `User-Password = "pw"`, "", user},
		"user, CHAP":                      {"user0", `CHAP-Password = "pw"`, "", user},
		"user, CHAP with CHAP-Challenge":  {"user0", "CHAP-Password = \"pw\"\nCHAP-Challenge = 0x00112233445566778899aabbccddeeff", "", user},
		"user, wrong PAP":                 {"user0", `User-Password = "PW"`, "", wrong},
		"user, wrong CHAP":                {"user0", `CHAP-Password = "PW"`, "", wrong},
		"user, name in capitals":          {"USER0", `User-Password = "pw"`, "", wrong},
		"user, a blank after the name":    {"user0 ", `User-Password = "pw"`, "", wrong},
		"user, no password":               {"user0", "", "", refused(hotspot.ReasonNoCredential)},
		"user, both kinds of password":    {"user0", "User-Password = \"pw\"\nCHAP-Password = \"pw\"", "", refused(hotspot.ReasonTwoCredentials)},
		"voucher, no password":            {"ABCD-2345", "", "", voucher},
		"voucher, empty PAP":              {"abcd2345", `User-Password = ""`, "", voucher},
		"voucher, empty CHAP":             {"abcd 2345", `CHAP-Password = ""`, "", voucher},
		"voucher, the code by PAP":        {"abcd-2345", `User-Password = "ABCD2345"`, "", voucher},
		"voucher, the code by CHAP":       {"Abcd-2345", `CHAP-Password = "Abcd-2345"`, "", voucher},
		"voucher, another password":       {"ABCD-2345", `User-Password = "hello"`, "", wrong},
		"voucher, a code nobody has":      {"ABCD-2346", "", "", wrong},
		"device, from another device":     {ours, "", "AA:BB:CC:DD:EE:02", refused(hotspot.ReasonMACMismatch)},
		"device, with a password of none": {ours, `User-Password = "hello"`, ours, wrong},
	}
	for _, spelled := range []string{ours, "AA-BB-CC-DD-EE-01", "AABBCCDDEE01", "AABBCC:DDEE01", "AABBCC-DDEE01", "AABB:CCDD:EE01", "AABB-CCDD-EE01", strings.ToLower(ours)} {
		for form, credential := range map[string]string{"empty PAP": `User-Password = ""`, "empty CHAP": `CHAP-Password = ""`,
			"PAP of the name": `User-Password = "` + spelled + `"`, "CHAP of the name": `CHAP-Password = "` + spelled + `"`} {
			tests["device as "+spelled+", "+form] = request{spelled, credential, ours, device}
		}
	}
	guest := 0
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			b.t = t
			if guest++; tc.mac == "" { // each from a device of its own: a guess must not slow the next one down
				tc.mac = fmt.Sprintf("02:00:00:00:01:%02X", guest)
				if tc.want == voucher {
					tc.mac = "02:00:00:00:02:01"
				}
			}
			b.radclient(strings.TrimSpace(fmt.Sprintf("User-Name = %q\nCalling-Station-Id = %q\nMessage-Authenticator = 0x00\n%s", tc.name, tc.mac, tc.credential)), tc.want)
		})
	}
	b.t = t
}

// TestRecordedPacketsThroughTheWholeProgram replays what real routers sent: a
// login with its Start, which was sent three times and does not echo Class, and an
// Interim-Update of a session that nobody here let in.
func TestRecordedPacketsThroughTheWholeProgram(t *testing.T) {
	b := newBench(t, 0, wire.LimitsBody{})
	sealed, err := b.key.Public().Seal("user00001")
	if err != nil {
		t.Fatal(err)
	}
	b.put(b.doc(wire.DocAccount, "u", wire.AccountDoc{Kind: hotspot.User, Username: "user00001", Password: sealed}),
		b.doc(wire.DocPass, "pu", wire.PassDoc{Account: "u", Limits: wire.LimitsBody{Rate: "20M/20M"}}))
	send := func(to netip.AddrPort, name string) []byte {
		t.Helper()
		text, err := os.ReadFile(filepath.Join("radius", "testdata", name+".hex"))
		if err != nil {
			t.Fatal(err)
		}
		packet, err := hex.DecodeString(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.DialUDP("udp4", nil, net.UDPAddrFromAddrPort(to))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		reply := make([]byte, 4096)
		if _, err := conn.Write(packet); err != nil {
			t.Fatal(err)
		}
		if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(reply)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		return reply[:n]
	}
	if got := send(b.server.AuthAddr(), "access-chap"); got[0] != 2 {
		t.Fatalf("the login got code %d, want an Access-Accept", got[0])
	}
	for range 3 { // from another port each time, so that the store must know it again
		send(b.server.AcctAddr(), "start")
	}
	send(b.server.AcctAddr(), "interim")
	got := map[string]string{}
	sessions, err := b.db.OpenSessions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range sessions {
		got[string(s.AcctSessionID)] += fmt.Sprintf("%s/%s/%s %s %s %d/%d; ", s.Account, s.Pass, s.Username, s.MAC, s.IP, s.Upload, s.Download)
	}
	if want := map[string]string{"80100014": "u/pu/user00001 BC:24:11:00:00:01 10.5.88.2 0/0; ", "80900009": "//user001 C8:94:BB:00:00:04 192.168.88.254 14960/12341; "}; !reflect.DeepEqual(got, want) {
		t.Errorf("sessions:\n got %q\nwant %q", got, want)
	}
}

// TestEveryRefusalSpeaksTheSitesLanguage: also those for the form of a request,
// which no account is asked about; and the technician reads why.
func TestEveryRefusalSpeaksTheSitesLanguage(t *testing.T) {
	b := newBench(t, 1, wire.LimitsBody{Devices: 1})
	b.put(b.doc(wire.DocSite, "s1", wire.SiteDoc{Name: "Blue Cup", Language: "ar"}), b.doc(wire.DocAccount, "bare", wire.AccountDoc{Kind: hotspot.Voucher, Username: "ABCD-2345"}))
	const name, both = "User-Name = \"user0\"\n", "User-Password = \"pw\"\nCHAP-Password = \"pw\""
	for request, reason := range map[string]hotspot.Reason{
		name + both:                          hotspot.ReasonTwoCredentials,
		name + name + `User-Password = "pw"`: hotspot.ReasonMalformed,
		`User-Password = "pw"`:               hotspot.ReasonMalformed,
		name + `User-Password = "wrong"`:     hotspot.ReasonBadPassword,
		name + `NAS-Port-Id = "ether1"`:      hotspot.ReasonNoCredential,
		`User-Name = "nobody"`:               hotspot.ReasonUnknown,
		`User-Name = "ABCD-2345"`:            hotspot.ReasonNoPass,
	} {
		b.radclient(request+"\nCalling-Station-Id = \"02:00:00:00:00:05\"\nMessage-Authenticator = 0x00",
			"Response-Packet-Type == Access-Reject\nMessage-Authenticator =* ANY\nReply-Message == \""+aaa.GuestMessage(reason, "ar")+`"`)
		var last []hotspot.Reject
		for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			var err error
			if last, err = b.db.Rejects(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if len(last) == 1 && last[0].Reason == reason && last[0].Detail == aaa.TechnicianMessage(reason) {
				break
			}
		}
		if len(last) != 1 || last[0].Reason != reason || last[0].Detail != aaa.TechnicianMessage(reason) {
			t.Errorf("%q: the technician reads %+v, want %q", request, last, aaa.TechnicianMessage(reason))
		}
	}
}

// TestGuessesReadThatTheyAreTooMany guesses codes by radclient from one device.
func TestGuessesReadThatTheyAreTooMany(t *testing.T) {
	b := newBench(t, 1, wire.LimitsBody{Devices: 1})
	now := time.Now()
	b.frozen.Store(&now) // or slow guesses would be forgiven
	const reject = "Response-Packet-Type == Access-Reject\nMessage-Authenticator =* ANY\nReply-Message == \"%s\""
	for i := range 10 {
		b.radclient(fmt.Sprintf("User-Name = \"GUES-%04d\"\nCalling-Station-Id = \"02:00:00:00:00:09\"", i), fmt.Sprintf(reject, aaa.GuestMessage(hotspot.ReasonUnknown, "en")))
	}
	b.radclient("User-Name = \"GUES-0010\"\nCalling-Station-Id = \"02:00:00:00:00:09\"", fmt.Sprintf(reject, aaa.GuestMessage(hotspot.ReasonTooManyTries, "en")))
	b.radclient("User-Name = \"user0\"\nUser-Password = \"pw\"\nCalling-Station-Id = \"02:00:00:00:00:10\"",
		"Response-Packet-Type == Access-Accept\nMessage-Authenticator =* ANY\nClass =* ANY\nAcct-Interim-Interval == 120\nPort-Limit == 1")
	// The technician reads why, with the wait.
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		rejects, err := b.db.Rejects(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(rejects) == 1 && rejects[0].Reason == hotspot.ReasonTooManyTries {
			if want := "too many wrong passwords or codes from this device: the next try counts in 5s"; rejects[0].Detail != want {
				t.Errorf("the technician reads %q, want %q", rejects[0].Detail, want)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the newest refusal is %+v, want one for %s", rejects, hotspot.ReasonTooManyTries)
		}
	}
}
