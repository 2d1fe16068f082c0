package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/big"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/wire"
)

// Renew keeps a certificate that was issued to an agent in force, so that a
// revocation names it too. Any other agent is refused with kind Denied.
func (db *DB) Renew(ctx context.Context, agent hotspot.AgentID, certificate string) error {
	cert, err := parseCertificate(certificate)
	if err != nil {
		return fault.New(fault.Internal, "certificate just issued", err)
	}
	return db.write(ctx, "renew certificate", func(t *tx) error {
		if _, err := t.agentInForce(agent, db.dialect.forUpdate); err != nil {
			return err
		}
		if err := t.keepCertificate(agent, cert.SerialNumber, cert.NotAfter); err != nil {
			return err
		}
		fingerprint := sha256.Sum256(cert.Raw)
		return t.exec(`UPDATE agent SET cert_serial = $2, cert_fingerprint = $3, cert_expires_at = $4 WHERE id = $1`,
			string(agent), cert.SerialNumber.Text(16), hex.EncodeToString(fingerprint[:]), ms(cert.NotAfter))
	})
}

func (t *tx) keepCertificate(agent hotspot.AgentID, serial *big.Int, expires time.Time) error {
	return t.exec(`INSERT INTO agent_certificate (agent, serial, expires_at, issued_at) VALUES ($1, $2, $3, $4)`,
		string(agent), serial.Text(16), ms(expires), ms(t.now))
}

// Revoked returns the certificates of retired agents that have not expired, and
// when each was retired.
func (db *DB) Revoked(ctx context.Context) (out []hotspot.RevokedCertificate, err error) {
	err = db.read(ctx, "revoked certificates", func(t *tx) error {
		out = nil
		return t.each(`SELECT c.serial, a.retired_at FROM agent_certificate c JOIN agent a ON a.id = c.agent
			WHERE a.retired_at > 0 AND c.expires_at > $1 ORDER BY a.retired_at, c.serial`, []any{ms(t.now)}, func(scan func(...any) error) error {
			var serial string
			var retired int64
			if err := scan(&serial, &retired); err != nil {
				return err
			}
			n, ok := new(big.Int).SetString(serial, 16)
			if !ok {
				return fault.New(fault.Damaged, fmt.Sprintf("serial %q of a certificate", serial), nil)
			}
			out = append(out, hotspot.RevokedCertificate{Serial: n, At: at(retired)})
			return nil
		})
	})
	return out, err
}

// apart is how much later than another run began a run must be heard again to
// prove that both live: a message of a run that has ended may be that late.
const apart = 3 * time.Second

// runsKept is how many runs of one agent are remembered, the newest.
const runsKept = 50

// Speaks judges which run of an agent's program says hello, at a time. copied is
// the run of a second copy of the box that this gave away, or that says it; what
// such a run says does not count, nor a message that may only be late. Kind Denied
// for an agent that is not in force.
func (db *DB) Speaks(ctx context.Context, agent hotspot.AgentID, boot string, heard time.Time) (counts bool, copied string, err error) {
	boot = text200(boot)
	look := func(t *tx, lock string) (cur string, err error) {
		site, err := t.agentInForce(agent, "")
		if err == nil {
			_, err = t.one(`SELECT boot FROM site_status WHERE site = $1 AND agent = $2`+lock, []any{string(site), string(agent)}, &cur)
		}
		return cur, err
	}
	err = db.read(ctx, "run of agent", func(t *tx) error { // nearly always the same as before
		cur, err := look(t, "")
		counts = cur == boot
		return err
	})
	if err != nil || counts {
		return counts, "", err
	}
	err = db.writeLazily(ctx, "run of agent", func(t *tx) error {
		cur, err := look(t, db.dialect.forUpdate)
		if err == nil {
			counts, copied, err = t.run(agent, boot, cur, heard)
		}
		return err
	})
	return counts && err == nil, copied, err
}

// run judges which run of an agent's program speaks, cur being the one that spoke
// last. A run that speaks after a later one began shows two boxes: the later run
// is refused from then on, until that box is enrolled again. counts is false for
// a run that is refused, and for a message that may only be late.
func (t *tx) run(agent hotspot.AgentID, boot, cur string, heard time.Time) (counts bool, copied string, err error) {
	if boot == cur || boot == "" {
		return true, "", nil
	}
	var first, refused int64
	known, err := t.one(`SELECT first_at, refused_at FROM agent_run WHERE agent = $1 AND boot = $2`, []any{string(agent), boot}, &first, &refused)
	switch {
	case err != nil:
		return false, "", err
	case !known:
		return true, "", t.newRun(agent, boot, heard)
	case refused > 0:
		return false, boot, t.exec(`UPDATE agent SET copy_at = $2 WHERE id = $1`, string(agent), ms(heard))
	case cur == "":
		return true, "", nil
	}
	var began int64
	if _, err := t.one(`SELECT first_at FROM agent_run WHERE agent = $1 AND boot = $2`, []any{string(agent), cur}, &began); err != nil {
		return false, "", err
	}
	if heard.Sub(at(began)) < apart {
		return false, "", nil
	}
	if err := t.exec(`UPDATE agent_run SET refused_at = $3 WHERE agent = $1 AND boot = $2`, string(agent), cur, ms(heard)); err != nil {
		return false, "", err
	}
	return true, cur, t.exec(`UPDATE agent SET copy_at = $2 WHERE id = $1`, string(agent), ms(heard))
}

func (t *tx) newRun(agent hotspot.AgentID, boot string, heard time.Time) error {
	if err := t.exec(`INSERT INTO agent_run (agent, boot, first_at, refused_at) VALUES ($1, $2, $3, 0)`, string(agent), boot, ms(heard)); err != nil {
		return err
	}
	return t.exec(`DELETE FROM agent_run WHERE agent = $1 AND refused_at = 0 AND boot NOT IN
		(SELECT boot FROM agent_run WHERE agent = $1 ORDER BY first_at DESC LIMIT $2)`, string(agent), runsKept)
}

// refusedRun reports whether a run is that of a second copy of the box.
func (t *tx) refusedRun(agent hotspot.AgentID, boot string) (bool, error) {
	if boot == "" {
		return false, nil
	}
	var one int64
	return t.one(`SELECT 1 FROM agent_run WHERE agent = $1 AND boot = $2 AND refused_at > 0`, []any{string(agent), boot}, &one)
}

// errCopy is the refusal of a second copy of a box.
func errCopy(agent hotspot.AgentID) error {
	return fault.New(fault.Denied, "a second copy of the box of agent "+string(agent)+" speaks", nil).
		WithCode("CLD-104", "Switch one of the two boxes off, and enrol the one that stays again.")
}

// outage is what a box said over HTTPS of its missing MQTT connection.
type outage struct {
	Agent hotspot.AgentID `json:"agent"`
	Boot  string          `json:"boot"`
	N     int64           `json:"n"`
	Code  string          `json:"code"`
	Text  string          `json:"text"`
	Since time.Time       `json:"since"` // by our clock
	At    time.Time       `json:"at"`    // when it came
}

// RecordOutage keeps why an agent in force has no MQTT connection; kind Denied
// for any other. Older news than what is known changes nothing.
func (db *DB) RecordOutage(ctx context.Context, agent hotspot.AgentID, o wire.Outage, came time.Time) (site hotspot.SiteID, err error) {
	err = db.writeLazily(ctx, "record outage", func(t *tx) error {
		if site, err = t.agentInForce(agent, ""); err != nil {
			return err
		}
		if refused, err := t.refusedRun(agent, o.Boot); err != nil || refused {
			if refused {
				err = errCopy(agent)
			}
			return err
		}
		if err := t.statusRow(site, agent); err != nil {
			return err
		}
		var text string
		if _, err := t.one(`SELECT outage FROM site_status WHERE site = $1`+db.dialect.forUpdate, []any{string(site)}, &text); err != nil {
			return err
		}
		var old outage
		if text != "" {
			if err := unmarshal(text, &old); err != nil {
				return err
			}
		}
		if old.Agent == agent && old.Boot == o.Boot && old.N >= o.N {
			return nil
		}
		// Both times are of the site's clock: how long ago it began is what it knows.
		since := came.Add(-max(0, o.At.Sub(o.Since)))
		text, err := marshal(outage{Agent: agent, Boot: text200(o.Boot), N: o.N, Code: text200(o.Code), Text: text200(o.Text), Since: since.UTC(), At: came.UTC()})
		if err != nil {
			return err
		}
		return t.exec(`UPDATE site_status SET outage = $2 WHERE site = $1`, string(site), text)
	})
	return site, err
}

// parseOutage reads what is stored of an outage; nil is none.
func parseOutage(text string) (*hotspot.Outage, error) {
	if text == "" {
		return nil, nil
	}
	var o outage
	if err := unmarshal(text, &o); err != nil {
		return nil, err
	}
	return &hotspot.Outage{Code: o.Code, Text: o.Text, Since: o.Since, At: o.At}, nil
}
