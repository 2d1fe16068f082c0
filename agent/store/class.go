package store

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"hash"
	"sync"
	"time"

	"iwas/internal/hotspot"
)

// A Class carries its permit with it, so that an Accept needs no row and a
// record no look-up. RouterOS sends back what it was given, octet for octet
// (RFC 2865 §5.25):
//
//	version        1 octet, classVersion
//	time           6 octets, Unix milliseconds of the Accept
//	permit, account, pass, NAS, terms   each a length octet and its text
//	authenticator  16 octets: HMAC-SHA256 over all before it, cut short
//	               (RFC 2104 §5 allows half), by a key of this box
//
// The octets before the authenticator are readable to whoever sees the packet;
// they hold identifiers, and what the Accept gave. Tokens of 16 random octets
// are of versions before and of permits that do not fit; they lead to a row of
// the permit table.
const (
	classVersion   = 1
	classBound     = 253 // of one attribute (RFC 2865 §5)
	classMACOctets = sha256.Size / 2
)

// permit is what accounting must know of one Access-Accept. The zero value is
// none.
type permit struct {
	id      hotspot.PermitID
	account hotspot.AccountID
	pass    hotspot.PassID
	nas     hotspot.NASID
	at      time.Time
	terms   string // fromTerms; "" when not known
}

// classKey authenticates permits. Its states are kept: making one costs as much
// as using it.
type classKey struct{ macs sync.Pool }

func newClassKey(key []byte) *classKey {
	return &classKey{sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}
}

// seal appends the authenticator of b.
func (k *classKey) seal(b []byte) []byte {
	h := k.macs.Get().(hash.Hash)
	defer k.macs.Put(h)
	h.Reset()
	h.Write(b)
	return h.Sum(b)[:len(b)+classMACOctets]
}

// sealClass returns the permit as Class, or nil when it does not fit.
func sealClass(key *classKey, p permit) []byte {
	ms := uint64(millis(p.at))
	b := append(make([]byte, 0, 192), classVersion, byte(ms>>40), byte(ms>>32), byte(ms>>24), byte(ms>>16), byte(ms>>8), byte(ms))
	for _, s := range [...]string{string(p.id), string(p.account), string(p.pass), string(p.nas), p.terms} {
		if len(s) > 255 {
			return nil
		}
		b = append(append(b, byte(len(s))), s...)
	}
	b = key.seal(b)
	if len(b) > classBound || len(b) == tokenBytes {
		return nil
	}
	return b
}

// openClass reads what sealClass wrote. ok is false for anything else: cut
// short, of another box, forged.
func openClass(key *classKey, class []byte) (p permit, ok bool) {
	n := len(class) - classMACOctets
	if n < 7 || class[0] != classVersion || !hmac.Equal(key.seal(class[:n:n])[n:], class[n:]) {
		return permit{}, false
	}
	var ms [8]byte
	copy(ms[2:], class[1:7])
	p.at = fromMillis(int64(binary.BigEndian.Uint64(ms[:])))
	rest := class[7:n]
	var texts [5]string
	for i := range texts {
		if len(rest) == 0 || len(rest) <= int(rest[0]) {
			return permit{}, false
		}
		end := 1 + int(rest[0])
		texts[i], rest = string(rest[1:end]), rest[end:]
	}
	p.id, p.account, p.pass, p.nas = hotspot.PermitID(texts[0]), hotspot.AccountID(texts[1]), hotspot.PassID(texts[2]), hotspot.NASID(texts[3])
	p.terms = texts[4]
	return p, len(rest) == 0
}

// rowPermit finds the permit that has a row: by its token, echoed as Class, else
// by what the Access-Request said (design.md §3, "Permit").
func (t *tx) rowPermit(class []byte, nas hotspot.NASID, id hotspot.AcctSessionID, mac hotspot.MAC, start time.Time) (p permit, err error) {
	const columns = "SELECT id, account, pass, nas, at, terms FROM permit "
	var at int64
	into := []any{&p.id, &p.account, &p.pass, &p.nas, &at, &p.terms}
	if len(class) == tokenBytes {
		_, err = t.row("find permit", columns+"WHERE token = ?", []any{bytes.Clone(class)}, into...)
	} else if len(class) == 0 {
		_, err = t.row("find permit", columns+"WHERE nas = ? AND acct_session_id = ? AND mac = ? AND at BETWEEN ? AND ? ORDER BY at DESC LIMIT 1",
			[]any{nas, id, mac.String(), millis(start.Add(-sessionMatch)), millis(start.Add(sessionMatch))}, into...)
	}
	p.at = fromMillis(at)
	return p, err
}

// openPermit finds the permit of a session that is open and goes on with this
// record: the NAS does not echo Class, and where the session must have begun
// says nothing, since our date was set meanwhile. After a reboot, which may use
// the Acct-Session-Id again, the session's time has begun anew.
func (t *tx) openPermit(a hotspot.Accounting) (p permit, err error) {
	if a.MAC.IsZero() {
		return p, nil
	}
	if err := t.settle(); err != nil {
		return p, err
	}
	s, found, err := t.findSession("state <> 'closed' AND nas = ? AND mac = ? AND acct_session_id = ? AND permit IS NOT NULL AND time_ms <= ? ORDER BY heard_at DESC LIMIT 1",
		a.NAS, a.MAC.String(), a.AcctSessionID, a.SessionTime.Milliseconds())
	if err != nil || !found {
		return p, err
	}
	return permit{id: s.Permit, account: s.Account, pass: s.Pass, nas: s.NAS, at: t.now}, nil
}
