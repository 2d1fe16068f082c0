package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"iwas/internal/fault"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as ours: "IWAS" in ASCII (PRAGMA application_id).
const applicationID = 0x49574153

// migrate brings the file to the newest schema, one transaction per step.
// PRAGMA user_version is the number of the last step applied.
func migrate(ctx context.Context, db *sql.DB) error {
	var app, have int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&app); err != nil {
		return fault.New(fault.Damaged, "store: the file cannot be read as a database", err)
	}
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return sqlFault("read schema version", err)
	}
	if app != applicationID && (app != 0 || have != 0) {
		return fault.New(fault.Invalid, "store: the database belongs to another program", nil)
	}
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	if have > len(steps) {
		return fault.New(fault.Invalid, fmt.Sprintf("store: the database is of schema %d, this program knows schemas to %d: install the newer program again, or restore a backup made with this one", have, len(steps)), nil)
	}
	for _, name := range steps {
		n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql"))
		if err != nil {
			return fmt.Errorf("store: migration %s is not a number: %w", name, err)
		}
		if n <= have {
			continue
		}
		if err := step(ctx, db, name, n); err != nil {
			return fault.New(fault.Unavailable, "store: migrate to schema "+strconv.Itoa(n), err)
		}
	}
	return nil
}

func step(ctx context.Context, db *sql.DB, name string, n int) (err error) {
	text, err := migrations.ReadFile(name)
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	for _, q := range []string{string(text), fmt.Sprintf("PRAGMA user_version = %d", n), fmt.Sprintf("PRAGMA application_id = %d", applicationID)} {
		if _, err := tx.ExecContext(ctx, q); err != nil {
			return err
		}
	}
	return tx.Commit()
}
