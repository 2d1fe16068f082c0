package store_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// certificate makes one of a serial that ends at a time; who signed is nothing to the store.
func certificate(t testing.TB, serial int64, until time.Time) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "agent"}, NotAfter: until}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(t, err)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// A revocation names every certificate the box ever got, until it has ended.
func TestRevocationNamesEveryCertificate(t *testing.T) {
	onBoth(t, func(w *world) {
		must(w.TB, w.db.Renew(w.Context(), w.agent, certificate(w.TB, 0x77, w.now().Add(48*time.Hour))))
		a, err := w.db.Agent(w.Context(), w.agent)
		if err != nil || !a.CertificateUntil.Equal(w.now().Add(48*time.Hour)) {
			w.Errorf("got a certificate until %v (%v), want that of the renewal", a.CertificateUntil, err)
		}
		if got, err := w.db.Revoked(w.Context()); err != nil || len(got) != 0 {
			w.Errorf("got %v (%v) before any revocation, want none", got, err)
		}
		_, err = w.db.RevokeAgent(w.Context(), w.owner, w.agent)
		must(w.TB, err)
		got, err := w.db.Revoked(w.Context())
		must(w.TB, err)
		if len(got) != 2 || !slices.ContainsFunc(got, func(r hotspot.RevokedCertificate) bool { return r.Serial.Int64() == 0x77 && r.At.Equal(w.now()) }) {
			w.Errorf("got %v, want the certificate of the enrolment and that of the renewal", got)
		}
		wantKind(w.TB, w.db.Renew(w.Context(), w.agent, certificate(w.TB, 0x78, w.now().Add(72*time.Hour))), fault.Denied)
		w.pass(49 * time.Hour)
		if got, err := w.db.Revoked(w.Context()); err != nil || len(got) > 1 {
			w.Errorf("got %v (%v), want none that has ended", got, err)
		}
	})
}

// speaks lets a run of the site's box say hello.
func (w *world) speaks(boot string) (counts bool, copied string) {
	w.Helper()
	counts, copied, err := w.db.Speaks(w.Context(), w.agent, boot, w.now())
	must(w.TB, err)
	if counts {
		must(w.TB, w.db.RecordHello(w.Context(), w.agent, wire.Hello{V: 1, Boot: boot, Epoch: "e1"}, w.now()))
	}
	return counts, copied
}

func TestASecondLiveRunIsACopy(t *testing.T) {
	onBoth(t, func(w *world) {
		step := func(what, boot string, counts bool, copied string) {
			w.Helper()
			if c, x := w.speaks(boot); c != counts || x != copied {
				w.Fatalf("%s: got counts %v, copy %q; want %v, %q", what, c, x, counts, copied)
			}
		}
		step("the first run", "b1", true, "")
		w.pass(time.Hour)
		step("a restart", "b2", true, "")
		w.pass(time.Minute)
		step("the same run", "b2", true, "")
		w.pass(time.Minute)
		step("a disk that was cloned", "b3", true, "")
		w.pass(time.Second)
		step("what may only be late", "b2", false, "")
		w.pass(time.Minute)
		step("the first one still lives", "b2", true, "b3")
		st, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
		if err != nil || !st.CopyAt.Equal(w.now()) {
			w.Errorf("got a copy heard at %v (%v), want now", st.CopyAt, err)
		}
		w.pass(time.Minute)
		step("the copy", "b3", false, "b3")
		w.reopen()
		step("the copy, after a restart of the cloud", "b3", false, "b3")
		_, err = w.db.Ingest(w.Context(), w.agent, wire.Batch{V: 1, Epoch: "e9", First: 1, Boot: "b3",
			Events: []wire.Event{{ID: "x1", Kind: wire.EventAgentStarted, At: w.now(), Body: []byte(`{}`)}}})
		wantCode(w.TB, err, "CLD-104")
		counted, err := w.db.RecordPresence(w.Context(), w.agent, wire.Presence{V: 1, State: hotspot.Online, Boot: "b3", Conn: 9}, w.now())
		if err != nil || counted {
			w.Errorf("presence of the copy: got counted %v (%v), want not", counted, err)
		}
		_, err = w.db.RecordOutage(w.Context(), w.agent, wire.Outage{Boot: "b3", N: 1}, w.now())
		wantCode(w.TB, err, "CLD-104")
		step("the first goes on", "b2", true, "")
		w.pass(time.Minute)
		step("and starts anew", "b4", true, "")
	})
}

func TestAnOutageIsKnownUntilTheSiteSpeaks(t *testing.T) {
	onBoth(t, func(w *world) {
		outage := func() *hotspot.Outage {
			w.Helper()
			st, err := w.db.Site(w.Context(), w.owner.Organization, w.site.ID)
			must(w.TB, err)
			return st.Outage
		}
		w.speaks("b1")
		off := w.now().Add(-24 * time.Hour) // the site's clock is a day behind
		tell := func(n int64, code string, since time.Duration) {
			w.Helper()
			site, err := w.db.RecordOutage(w.Context(), w.agent, wire.Outage{V: 1, Boot: "b1", N: n, At: off, Since: off.Add(-since), Code: code, Text: "no answer"}, w.now())
			if err != nil || site != w.site.ID {
				w.Fatalf("got %s (%v)", site, err)
			}
		}
		tell(2, "CLD-101", 5*time.Minute)
		if o := outage(); o == nil || o.Code != "CLD-101" || o.Text != "no answer" || !o.At.Equal(w.now()) || !o.Since.Equal(w.now().Add(-5*time.Minute)) {
			w.Errorf("got %+v, want it since five minutes ago by our clock", o)
		}
		tell(1, "CLD-102", time.Minute)
		if o := outage(); o.Code != "CLD-101" {
			w.Errorf("got %s, want older news ignored", o.Code)
		}
		tell(3, "CLD-102", time.Minute)
		if o := outage(); o.Code != "CLD-102" {
			w.Errorf("got %s, want the newest reason", o.Code)
		}
		w.pass(time.Minute)
		w.speaks("b1")
		if o := outage(); o != nil {
			w.Errorf("got %+v after a hello, want none", o)
		}
		_, err := w.db.RevokeAgent(w.Context(), w.owner, w.agent)
		must(w.TB, err)
		_, err = w.db.RecordOutage(w.Context(), w.agent, wire.Outage{Boot: "b1", N: 9}, w.now())
		wantCode(w.TB, err, "CLD-103")
	})
}

func TestCodesAreTakenBackAndGuessesCounted(t *testing.T) {
	onBoth(t, func(w *world) {
		ctx, org := w.Context(), w.owner.Organization
		must(w.TB, w.db.AddEnrolmentCode(ctx, w.owner, w.site.ID, []byte("open"), w.now().Add(time.Hour)))
		for range 12 {
			sites, err := w.db.NoteWrongCode(ctx, "203.0.113.0/24")
			if err != nil || !slices.Contains(sites, w.site.ID) {
				w.Fatalf("got %v (%v), want the site with the open code", sites, err)
			}
		}
		codes, err := w.db.EnrolmentCodes(ctx, org, w.site.ID)
		if err != nil || len(codes) != 1 || codes[0].Wrong != 12 || codes[0].WrongFrom != "203.0.113.0/24" || !codes[0].WrongAt.Equal(w.now()) || codes[0].By == "" {
			w.Fatalf("got %+v (%v), want one code with twelve tries around it", codes, err)
		}
		told := 0
		entries, err := w.db.Audit(ctx, org, 100)
		must(w.TB, err)
		for _, e := range entries {
			if e.What == "enrolment_code.guessed" && e.Site == w.site.ID {
				told++
			}
		}
		if told != 2 {
			w.Errorf("got %d entries of the audit, want those of the first and the tenth", told)
		}
		stranger, err := w.db.EnsureOwner(ctx, "Rival", "rival@example.org", "hash")
		must(w.TB, err)
		wantKind(w.TB, w.db.RevokeEnrolmentCode(ctx, stranger, w.site.ID, codes[0].ID), fault.NotFound)
		for range 2 {
			must(w.TB, w.db.RevokeEnrolmentCode(ctx, w.owner, w.site.ID, codes[0].ID))
		}
		_, err = w.db.Offer(ctx, []byte("open"))
		wantCode(w.TB, err, "CLD-207")
		_, err = w.db.Enrol(ctx, []byte("open"), enrolRequest("r1", w.key), issuer(w.TB, "agent0001"))
		wantCode(w.TB, err, "CLD-207")
		if codes, err = w.db.EnrolmentCodes(ctx, org, w.site.ID); err != nil || len(codes) != 0 {
			w.Errorf("got %+v (%v), want no open code", codes, err)
		}
		if sites, err := w.db.NoteWrongCode(ctx, ""); err != nil || slices.Contains(sites, w.site.ID) {
			w.Errorf("got %v (%v), want nobody told where no code is open", sites, err)
		}
		must(w.TB, w.db.AddEnrolmentCode(ctx, w.owner, w.site.ID, []byte("spent"), w.now().Add(time.Hour)))
		if codes, err = w.db.EnrolmentCodes(ctx, org, w.site.ID); err != nil || len(codes) != 1 {
			w.Fatalf("got %+v (%v)", codes, err)
		}
		_, err = w.db.Enrol(ctx, []byte("spent"), enrolRequest("r2", w.key), issuer(w.TB, "agent0002"))
		must(w.TB, err)
		wantCode(w.TB, w.db.RevokeEnrolmentCode(ctx, w.owner, w.site.ID, codes[0].ID), "CLD-203")
	})
}
