package store

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
	"iwas/internal/secret"
	"iwas/internal/wire"
)

const agentColumns = `id, site, host, version, check_number, confirmed_at, enrolled_at, retired_at, cert_expires_at, copy_at, left_at`

func scanAgent(scan func(...any) error) (a hotspot.Agent, err error) {
	var confirmed, enrolled, retired, expires, copied, left int64
	err = scan(&a.ID, &a.Site, &a.Host, &a.Version, &a.CheckNumber, &confirmed, &enrolled, &retired, &expires, &copied, &left)
	a.Confirmed, a.EnrolledAt, a.RetiredAt, a.CertificateUntil, a.CopyAt, a.LeftAt = confirmed > 0, at(enrolled), at(retired), at(expires), at(copied), at(left)
	return a, err
}

// Agent returns one enrolment, retired ones too; kind NotFound if there is none.
func (db *DB) Agent(ctx context.Context, agent hotspot.AgentID) (a hotspot.Agent, err error) {
	err = db.read(ctx, "agent", func(t *tx) error {
		a, err = scanAgent(func(dest ...any) error {
			found, err := t.one(`SELECT `+agentColumns+` FROM agent WHERE id = $1`, []any{string(agent)}, dest...)
			if err == nil && !found {
				err = notFound("agent", string(agent))
			}
			return err
		})
		return err
	})
	return a, err
}

// Agents returns a site's enrolments, the newest first.
func (db *DB) Agents(ctx context.Context, org hotspot.OrganizationID, site hotspot.SiteID) (agents []hotspot.Agent, err error) {
	err = db.read(ctx, "agents", func(t *tx) error {
		agents = nil
		if err := t.owns(org, site); err != nil {
			return err
		}
		return t.each(`SELECT `+agentColumns+` FROM agent WHERE site = $1 ORDER BY id DESC`, []any{string(site)}, func(scan func(...any) error) error {
			a, err := scanAgent(scan)
			agents = append(agents, a)
			return err
		})
	})
	return agents, err
}

// owns refuses a site of another organization as if it did not exist.
func (t *tx) owns(org hotspot.OrganizationID, site hotspot.SiteID) error {
	var one int64
	found, err := t.one(`SELECT 1 FROM site WHERE id = $1 AND organization = $2`, []any{string(site), string(org)}, &one)
	if err == nil && !found {
		err = notFound("site", string(site))
	}
	return err
}

// agentInForce returns the site of an agent that a person confirmed and nobody
// retired; any other is refused with kind Denied. suffix goes behind the SELECT.
func (t *tx) agentInForce(agent hotspot.AgentID, suffix string) (site hotspot.SiteID, err error) {
	var confirmed, retired int64
	found, err := t.one(`SELECT site, confirmed_at, retired_at FROM agent WHERE id = $1`+suffix, []any{string(agent)}, &site, &confirmed, &retired)
	switch {
	case err != nil:
		return "", err
	case !found:
		return "", fault.New(fault.Denied, "agent "+string(agent)+" was never enrolled here", nil)
	case retired > 0:
		return "", fault.New(fault.Denied, "agent "+string(agent)+" is retired", nil).WithCode("CLD-103", "Enrol the box again.")
	case confirmed == 0:
		return "", fault.New(fault.Denied, "agent "+string(agent)+" is not confirmed", nil).
			WithCode("CLD-110", "Compare the check number on the box with the one in the console, and confirm it there.")
	}
	return site, nil
}

// AgentSite returns the site of an agent in force; kind Denied for any other.
func (db *DB) AgentSite(ctx context.Context, agent hotspot.AgentID) (site hotspot.SiteID, err error) {
	err = db.read(ctx, "site of agent", func(t *tx) error {
		site, err = t.agentInForce(agent, "")
		return err
	})
	return site, err
}

// AgentSiteName returns the site an agent was enrolled for, and the name people
// gave it, whether or not the agent is in force.
func (db *DB) AgentSiteName(ctx context.Context, agent hotspot.AgentID) (site hotspot.SiteID, name string, err error) {
	err = db.read(ctx, "site's name", func(t *tx) error {
		found, err := t.one(`SELECT s.id, s.name FROM agent a JOIN site s ON s.id = a.site WHERE a.id = $1`, []any{string(agent)}, &site, &name)
		if err == nil && !found {
			err = notFound("agent", string(agent))
		}
		return err
	})
	return site, name, err
}

// ConfirmAgent makes an enrolment the site's agent, by a person who compared
// the check numbers. All other enrolments of the site retire with it, and the
// documents that hold secrets are sealed anew, to it.
func (db *DB) ConfirmAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) (site hotspot.SiteID, retired []hotspot.AgentID, err error) {
	err = db.write(ctx, "confirm agent", func(t *tx) error {
		retired = nil
		a, err := t.agentOf(actor.Organization, agent)
		if err != nil {
			return err
		}
		site = a.Site
		if !a.RetiredAt.IsZero() {
			return fault.New(fault.Conflict, "agent "+string(agent)+" is retired", nil).
				WithCode("CLD-103", "Make a new code and enrol the box again.")
		}
		c, err := t.change(actor.Organization, site)
		if err != nil {
			return err
		}
		if a.Confirmed {
			return c.finish()
		}
		err = t.each(`UPDATE agent SET retired_at = $3 WHERE site = $1 AND id <> $2 AND retired_at = 0 RETURNING id`,
			[]any{string(site), string(agent), ms(t.now)}, func(scan func(...any) error) error {
				var id hotspot.AgentID
				err := scan(&id)
				retired = append(retired, id)
				return err
			})
		if err != nil {
			return err
		}
		if err := t.exec(`UPDATE agent SET confirmed_at = $2, confirmed_by = $3 WHERE id = $1`, string(agent), ms(t.now), nameOf(actor)); err != nil {
			return err
		}
		// What another box was sent and received says nothing of this one.
		if err := t.exec(`UPDATE account_lock SET sent_at = 0, received_at = 0 WHERE site = $1 AND lifted_at = 0 AND outcome IN ('', $2)`,
			string(site), string(hotspot.OutcomePending)); err != nil {
			return err
		}
		if err := c.findAgent(); err != nil {
			return err
		}
		if err := c.sealAgain(); err != nil {
			return err
		}
		if err := c.finish(); err != nil {
			return err
		}
		return t.audit(actor, site, "agent.confirmed", string(agent), map[string]any{"retired": retired}, map[string]string{"host": a.Host, "check_number": a.CheckNumber})
	})
	return site, retired, err
}

// RevokeAgent retires an enrolment: it is refused from now on. Retiring what is
// retired changes nothing.
func (db *DB) RevokeAgent(ctx context.Context, actor hotspot.Operator, agent hotspot.AgentID) (site hotspot.SiteID, err error) {
	err = db.write(ctx, "revoke agent", func(t *tx) error {
		a, err := t.agentOf(actor.Organization, agent)
		if err != nil {
			return err
		}
		site = a.Site
		n, err := t.touched(`UPDATE agent SET retired_at = $2 WHERE id = $1 AND retired_at = 0`, string(agent), ms(t.now))
		if err != nil || n == 0 {
			return err
		}
		if err := t.exec(`UPDATE site_status SET presence = $3, reason = '' WHERE site = $1 AND agent = $2`,
			string(site), string(agent), string(hotspot.Lost)); err != nil {
			return err
		}
		return t.audit(actor, site, "agent.revoked", string(agent), map[string]string{"host": a.Host}, nil)
	})
	return site, err
}

func (t *tx) agentOf(org hotspot.OrganizationID, agent hotspot.AgentID) (hotspot.Agent, error) {
	return scanAgent(func(dest ...any) error {
		found, err := t.one(`SELECT a.id, a.site, a.host, a.version, a.check_number, a.confirmed_at, a.enrolled_at, a.retired_at, a.cert_expires_at, a.copy_at, a.left_at
			FROM agent a JOIN site s ON s.id = a.site WHERE a.id = $1 AND s.organization = $2`, []any{string(agent), string(org)}, dest...)
		if err == nil && !found {
			err = notFound("agent", string(agent))
		}
		return err
	})
}

// AddEnrolmentCode remembers a code by its hash. The same box may spend it once.
func (db *DB) AddEnrolmentCode(ctx context.Context, actor hotspot.Operator, site hotspot.SiteID, hash []byte, expires time.Time) error {
	return db.write(ctx, "add enrolment code", func(t *tx) error {
		if err := t.owns(actor.Organization, site); err != nil {
			return err
		}
		if err := t.exec(`INSERT INTO enrolment_code (hash, site, created_by, created_at, expires_at, used_at, request, csr_hash, agent, reply)
			VALUES ($1, $2, $3, $4, $5, 0, '', '', '', '')`, hex.EncodeToString(hash), string(site), nameOf(actor), ms(t.now), ms(expires)); err != nil {
			return err
		}
		return t.audit(actor, site, "enrolment_code.created", "", nil, map[string]any{"expires_at": expires.UTC()})
	})
}

// code is an enrolment code as stored.
type code struct {
	offer   wire.EnrolOffer
	expires time.Time
	used    time.Time
	revoked time.Time
	request string
	csrHash string
	reply   string
	agent   hotspot.AgentID
}

func (t *tx) enrolmentCode(hash []byte) (c code, err error) {
	var expires, used, revoked int64
	found, err := t.one(`SELECT o.name, s.name, s.id, c.expires_at, c.used_at, c.revoked_at, c.request, c.csr_hash, c.reply, c.agent
		FROM enrolment_code c JOIN site s ON s.id = c.site JOIN organization o ON o.id = s.organization WHERE c.hash = $1`,
		[]any{hex.EncodeToString(hash)}, &c.offer.Organization, &c.offer.Site, &c.offer.SiteID, &expires, &used, &revoked, &c.request, &c.csrHash, &c.reply, &c.agent)
	if err != nil {
		return c, err
	}
	if !found {
		return c, fault.New(fault.NotFound, "the code is not known", nil).
			WithCode("CLD-201", "Check it letter by letter against the console. Codes have no 0, O, 1, I or L.")
	}
	c.expires, c.used, c.revoked = at(expires), at(used), at(revoked)
	c.offer.ExpiresAt, c.offer.Time = c.expires, t.now
	return c, nil
}

// valid refuses a code that is spent or too old.
func (c code) valid(now time.Time) error {
	if !c.used.IsZero() {
		return fault.New(fault.Conflict, "the code has been used", nil).
			WithCode("CLD-203", "Each code is for one box: make a new one in the console. If no box of yours used it, tell the owner.")
	}
	if !c.revoked.IsZero() {
		return fault.New(fault.Conflict, "the code was revoked", nil).
			WithCode("CLD-207", "Somebody took it back in the console: ask for a new one.")
	}
	if !now.Before(c.expires) {
		return fault.New(fault.Conflict, "the code has expired", nil).
			WithCode("CLD-202", "Codes live 60 minutes: make a new one in the console.")
	}
	return nil
}

// Offer says what a code is for, without spending it.
func (db *DB) Offer(ctx context.Context, hash []byte) (offer wire.EnrolOffer, err error) {
	err = db.read(ctx, "look at enrolment code", func(t *tx) error {
		c, err := t.enrolmentCode(hash)
		if err == nil {
			err = c.valid(t.now)
		}
		offer = c.offer
		return err
	})
	return offer, err
}

// Enrol spends a code for the identity that issue makes. The same request with
// the same certificate request gets the same answer again, so that a lost reply
// makes no twin.
func (db *DB) Enrol(ctx context.Context, hash []byte, r wire.EnrolRequest, issue func(wire.EnrolOffer) (wire.EnrolReply, error)) (reply wire.EnrolReply, err error) {
	if _, err := secret.ParsePublicKey(r.SealKey); err != nil || r.Request == "" {
		return reply, fault.New(fault.Invalid, "store: enrol: a request id and a sealing key are needed", err)
	}
	sum := sha256.Sum256([]byte(r.CSR))
	csrHash := hex.EncodeToString(sum[:])
	err = db.write(ctx, "enrol", func(t *tx) error {
		c, err := t.enrolmentCode(hash)
		if err != nil {
			return err
		}
		if !c.used.IsZero() && c.request == r.Request && c.csrHash == csrHash {
			reply, err = t.sameReply(c)
			return err
		}
		if err := c.valid(t.now); err != nil {
			return err
		}
		if reply, err = issue(c.offer); err != nil {
			return err
		}
		return t.spend(hash, r, csrHash, c.offer, reply)
	})
	return reply, err
}

func (t *tx) sameReply(c code) (reply wire.EnrolReply, err error) {
	if err := unmarshal(c.reply, &reply); err != nil {
		return reply, err
	}
	var confirmed int64
	_, err = t.one(`SELECT confirmed_at FROM agent WHERE id = $1`, []any{string(c.agent)}, &confirmed)
	reply.Confirmed, reply.Time = confirmed > 0, t.now
	return reply, err
}

func (t *tx) spend(hash []byte, r wire.EnrolRequest, csrHash string, offer wire.EnrolOffer, reply wire.EnrolReply) error {
	cert, err := parseCertificate(reply.Certificate)
	if err != nil {
		return fault.New(fault.Internal, "certificate just issued", err)
	}
	text, err := marshal(reply)
	if err != nil {
		return err
	}
	// The condition decides who wins when two boxes spend one code at once.
	n, err := t.touched(`UPDATE enrolment_code SET used_at = $2, request = $3, csr_hash = $4, agent = $5, reply = $6 WHERE hash = $1 AND used_at = 0 AND revoked_at = 0`,
		hex.EncodeToString(hash), ms(t.now), r.Request, csrHash, reply.Agent, text)
	if err != nil {
		return err
	}
	if n == 0 {
		return code{used: t.now}.valid(t.now)
	}
	fingerprint := sha256.Sum256(cert.Raw)
	if err := t.exec(`INSERT INTO agent (id, site, host, version, check_number, seal_key, cert_serial, cert_fingerprint, cert_expires_at,
			enrolled_at, confirmed_at, confirmed_by, retired_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 0, '', 0)`,
		reply.Agent, offer.SiteID, text200(r.Host), text200(r.Version), reply.CheckNumber, r.SealKey, cert.SerialNumber.Text(16),
		hex.EncodeToString(fingerprint[:]), ms(cert.NotAfter), ms(t.now)); err != nil {
		return err
	}
	if err := t.keepCertificate(hotspot.AgentID(reply.Agent), cert.SerialNumber, cert.NotAfter); err != nil {
		return err
	}
	var org hotspot.OrganizationID
	if _, err := t.one(`SELECT organization FROM site WHERE id = $1`, []any{offer.SiteID}, &org); err != nil {
		return err
	}
	return t.audit(hotspot.Operator{Organization: org, Name: text200(r.Host)}, hotspot.SiteID(offer.SiteID), "agent.enrolled", reply.Agent, nil,
		map[string]string{"host": text200(r.Host), "version": text200(r.Version), "check_number": reply.CheckNumber})
}

func parseCertificate(text string) (*x509.Certificate, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("no PEM block")
	}
	return x509.ParseCertificate(block.Bytes)
}
