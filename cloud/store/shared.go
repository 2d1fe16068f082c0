package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"slices"
	"time"

	"iwas/internal/fault"
	"iwas/internal/hotspot"
)

// BeginOnce reserves the key of a request for keep, at whichever cloud it comes
// first; the others learn whose turn it is, and the answer once there is one.
func (db *DB) BeginOnce(ctx context.Context, key, body []byte, keep time.Duration) (o hotspot.Once, err error) {
	err = db.write(ctx, "begin a request once", func(t *tx) error {
		o = hotspot.Once{}
		if err := t.exec(`DELETE FROM request_once WHERE at <= $1`, ms(t.now.Add(-keep))); err != nil {
			return err
		}
		n, err := t.touched(`INSERT INTO request_once (key, body, at, answer) VALUES ($1, $2, $3, '') ON CONFLICT (key) DO NOTHING`,
			hex.EncodeToString(key), hex.EncodeToString(body), ms(t.now))
		if o.First = n > 0; err != nil || o.First {
			return err
		}
		var told, answer string
		var begun int64
		if _, err := t.one(`SELECT body, at, answer FROM request_once WHERE key = $1`, []any{hex.EncodeToString(key)}, &told, &begun, &answer); err != nil {
			return err
		}
		o.Waits = t.now.Sub(at(begun))
		if o.Body, err = hex.DecodeString(told); err == nil {
			o.Answer, err = base64.StdEncoding.DecodeString(answer)
		}
		if err != nil {
			return fault.New(fault.Damaged, "store: a request that came with a key", err)
		}
		return nil
	})
	return o, err
}

// EndOnce keeps the answer of the request that BeginOnce let go first.
func (db *DB) EndOnce(ctx context.Context, key, answer []byte) error {
	return db.write(ctx, "end a request once", func(t *tx) error {
		return t.exec(`UPDATE request_once SET answer = $2 WHERE key = $1`, hex.EncodeToString(key), base64.StdEncoding.EncodeToString(answer))
	})
}

// ForgetOnce frees the key of a request that came to nothing.
func (db *DB) ForgetOnce(ctx context.Context, key []byte) error {
	return db.write(ctx, "forget a request once", func(t *tx) error {
		return t.exec(`DELETE FROM request_once WHERE key = $1 AND answer = ''`, hex.EncodeToString(key))
	})
}

// ChangeTries lets f change what is counted under keys, while nobody else does, at
// any cloud. f may run more than once. What was not tried for longer than keep is
// forgotten.
func (db *DB) ChangeTries(ctx context.Context, keys []string, keep time.Duration, f func(map[string]hotspot.Tries)) error {
	return db.writeLazily(ctx, "count tries", func(t *tx) error {
		if err := t.exec(`DELETE FROM sign_in_try WHERE last_at < $1`, ms(t.now.Add(-keep))); err != nil {
			return err
		}
		rows := map[string]string{}
		for _, k := range keys {
			sum := sha256.Sum256([]byte(k))
			rows[hex.EncodeToString(sum[:])] = k
		}
		order := make([]string, 0, len(rows))
		for row := range rows {
			order = append(order, row)
		}
		slices.Sort(order) // whoever holds one waits for another in this order
		tries := map[string]hotspot.Tries{}
		for _, row := range order {
			// A row that is not there cannot be held.
			if err := t.exec(`INSERT INTO sign_in_try (key, failed, last_at, until) VALUES ($1, 0, $2, 0) ON CONFLICT (key) DO NOTHING`, row, ms(t.now)); err != nil {
				return err
			}
			var one hotspot.Tries
			var last, until int64
			if _, err := t.one(`SELECT failed, last_at, until FROM sign_in_try WHERE key = $1`+db.dialect.forUpdate, []any{row}, &one.Failed, &last, &until); err != nil {
				return err
			}
			if one.Failed > 0 {
				one.Last, one.Until = at(last), at(until)
				tries[rows[row]] = one
			}
		}
		f(tries)
		for _, row := range order {
			one := tries[rows[row]]
			if one.Failed == 0 {
				if err := t.exec(`DELETE FROM sign_in_try WHERE key = $1`, row); err != nil {
					return err
				}
				continue
			}
			if err := t.exec(`UPDATE sign_in_try SET failed = $2, last_at = $3, until = $4 WHERE key = $1`, row, one.Failed, ms(one.Last), ms(one.Until)); err != nil {
				return err
			}
		}
		return nil
	})
}
