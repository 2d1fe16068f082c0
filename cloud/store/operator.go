package store

import (
	"context"
	"encoding/hex"
	"strings"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

const operatorColumns = `o.id, o.organization, o.email, o.name, o.role`

func scanOperator(o *hotspot.Operator) []any {
	return []any{&o.ID, &o.Organization, &o.Email, &o.Name, &o.Role}
}

// OperatorByEmail returns an operator who may sign in, and the argon2id hash of
// the password. Case of the address does not matter. Kind NotFound if there is
// none.
func (db *DB) OperatorByEmail(ctx context.Context, email string) (o hotspot.Operator, passwordHash string, err error) {
	err = db.read(ctx, "operator by email", func(t *tx) error {
		found, err := t.one(`SELECT `+operatorColumns+`, o.password_hash FROM operator o WHERE o.email = $1 AND o.disabled_at = 0`,
			[]any{normalEmail(email)}, append(scanOperator(&o), &passwordHash)...)
		if err == nil && !found {
			err = notFound("operator", "of that address")
		}
		return err
	})
	return o, passwordHash, err
}

func normalEmail(email string) string { return strings.ToLower(strings.TrimSpace(email)) }

// NoteFailedSignIn counts a wrong password for the person of an e-mail address,
// from a masked network address. For an address nobody has it does the same work
// and keeps no name, so that neither its time nor its size tells who is here.
func (db *DB) NoteFailedSignIn(ctx context.Context, email, from string) error {
	return db.write(ctx, "note failed sign-in", func(t *tx) error {
		var operator string
		if _, err := t.one(`SELECT id FROM operator WHERE email = $1 AND disabled_at = 0`, []any{normalEmail(email)}, &operator); err != nil {
			return err
		}
		return t.exec(`INSERT INTO sign_in_failure (operator, failed, last_at, last_from) VALUES ($1, 1, $2, $3)
			ON CONFLICT (operator) DO UPDATE SET failed = sign_in_failure.failed + 1, last_at = excluded.last_at, last_from = excluded.last_from`,
			operator, ms(t.now), text200(from))
	})
}

// CreateOperatorSession remembers a signed-in browser by the SHA-256 of its
// token. It returns the wrong passwords given since the person last signed in,
// and begins to count anew.
func (db *DB) CreateOperatorSession(ctx context.Context, operatorID string, tokenHash []byte, expires time.Time) (failed hotspot.FailedSignIns, err error) {
	err = db.write(ctx, "create operator session", func(t *tx) error {
		failed = hotspot.FailedSignIns{}
		var last int64
		if _, err := t.one(`DELETE FROM sign_in_failure WHERE operator = $1 RETURNING failed, last_at, last_from`,
			[]any{operatorID}, &failed.Count, &last, &failed.LastFrom); err != nil {
			return err
		}
		failed.LastAt = at(last)
		if err := t.exec(`DELETE FROM operator_session WHERE expires_at <= $1`, ms(t.now)); err != nil {
			return err
		}
		return t.exec(`INSERT INTO operator_session (token_hash, operator, created_at, expires_at) VALUES ($1, $2, $3, $4)`,
			hex.EncodeToString(tokenHash), operatorID, ms(t.now), ms(expires))
	})
	return failed, err
}

// OperatorBySession returns who signed in with the token; kind NotFound when
// nobody did, or the session is over.
func (db *DB) OperatorBySession(ctx context.Context, tokenHash []byte) (hotspot.Operator, error) {
	return db.operatorBy(ctx, "operator by session", `SELECT `+operatorColumns+` FROM operator_session s JOIN operator o ON o.id = s.operator
		WHERE s.token_hash = $1 AND s.expires_at > $2 AND o.disabled_at = 0`, tokenHash, true)
}

// OperatorByToken returns whose API token it is; kind NotFound when it is
// nobody's, or revoked.
func (db *DB) OperatorByToken(ctx context.Context, tokenHash []byte) (hotspot.Operator, error) {
	return db.operatorBy(ctx, "operator by token", `SELECT `+operatorColumns+` FROM api_token k JOIN operator o ON o.id = k.operator
		WHERE k.token_hash = $1 AND k.revoked_at = 0 AND o.disabled_at = 0`, tokenHash, false)
}

func (db *DB) operatorBy(ctx context.Context, op, query string, tokenHash []byte, dated bool) (o hotspot.Operator, err error) {
	err = db.read(ctx, op, func(t *tx) error {
		args := []any{hex.EncodeToString(tokenHash)}
		if dated {
			args = append(args, ms(t.now))
		}
		found, err := t.one(query, args, scanOperator(&o)...)
		if err == nil && !found {
			err = fault.New(fault.NotFound, "no such token", nil)
		}
		return err
	})
	return o, err
}

// DeleteOperatorSession signs a browser out. A session that is not there is
// signed out already.
func (db *DB) DeleteOperatorSession(ctx context.Context, tokenHash []byte) error {
	return db.write(ctx, "delete operator session", func(t *tx) error {
		return t.exec(`DELETE FROM operator_session WHERE token_hash = $1`, hex.EncodeToString(tokenHash))
	})
}

// EnsureOwner makes an organization and its owner, unless an operator of that
// address exists: then it returns that one and changes nothing, the password
// neither.
func (db *DB) EnsureOwner(ctx context.Context, organization, email, passwordHash string) (o hotspot.Operator, err error) {
	email = normalEmail(email)
	if email == "" || strings.TrimSpace(organization) == "" || passwordHash == "" {
		return o, fault.New(fault.Invalid, "store: ensure owner: organization, email and password are needed", nil)
	}
	err = db.write(ctx, "ensure owner", func(t *tx) error {
		o = hotspot.Operator{}
		found, err := t.one(`SELECT `+operatorColumns+` FROM operator o WHERE o.email = $1`, []any{email}, scanOperator(&o)...)
		if err != nil || found {
			return err
		}
		org := hotspot.Organization{ID: hotspot.OrganizationID(hotspot.NewID(t.now)), Name: strings.TrimSpace(organization)}
		if err := t.exec(`INSERT INTO organization (id, name, created_at) VALUES ($1, $2, $3)`, string(org.ID), org.Name, ms(t.now)); err != nil {
			return err
		}
		o = hotspot.Operator{ID: hotspot.NewID(t.now), Organization: org.ID, Email: email, Role: hotspot.Owner}
		if err := t.exec(`INSERT INTO operator (id, organization, email, name, role, password_hash, created_at, disabled_at)
			VALUES ($1, $2, $3, '', $4, $5, $6, 0)`, o.ID, string(o.Organization), o.Email, string(o.Role), passwordHash, ms(t.now)); err != nil {
			return err
		}
		return t.audit(hotspot.Operator{Organization: org.ID}, "", "operator.created", o.ID, nil, map[string]string{"email": o.Email, "role": string(o.Role)})
	})
	return o, err
}

// CreateToken remembers an API token of an operator by its SHA-256. The same
// token again is no change.
func (db *DB) CreateToken(ctx context.Context, operator hotspot.Operator, tokenHash []byte, name string) error {
	return db.write(ctx, "create token", func(t *tx) error {
		n, err := t.touched(`INSERT INTO api_token (token_hash, operator, name, created_at, revoked_at) VALUES ($1, $2, $3, $4, 0)
			ON CONFLICT (token_hash) DO NOTHING`, hex.EncodeToString(tokenHash), operator.ID, name, ms(t.now))
		if err != nil || n == 0 {
			return err
		}
		return t.audit(operator, "", "token.created", name, nil, nil)
	})
}

// NewLineage must be called once after this database was restored from a
// backup: revisions may then be given anew, and sites that saw the old ones
// get a snapshot instead of a delta that does not fit.
func (db *DB) NewLineage(ctx context.Context) error {
	return db.write(ctx, "new lineage", func(t *tx) error {
		var sites []string
		err := t.each(`SELECT id FROM site ORDER BY id`, nil, func(scan func(...any) error) error {
			var id string
			err := scan(&id)
			sites = append(sites, id)
			return err
		})
		for _, id := range sites {
			if err == nil {
				err = t.exec(`UPDATE site SET lineage = $2 WHERE id = $1`, id, hotspot.NewID(t.now))
			}
		}
		return err
	})
}
