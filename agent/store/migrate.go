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
	app, have, err := identify(ctx, db)
	if err != nil {
		return err
	}
	if app != applicationID && (app != 0 || have != 0) {
		return fault.New(fault.Invalid, "store: the database belongs to another program", nil)
	}
	steps, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return err
	}
	for _, name := range steps {
		n, err := number(name)
		if err != nil {
			return err
		}
		if n <= have {
			continue
		}
		if err := step(ctx, db, name, n); err != nil {
			return sqlFault("migrate to schema "+strconv.Itoa(n), err)
		}
	}
	return nil
}

// identify reads whose file it is and of which schema; one of a newer schema is an
// error of kind Invalid.
func identify(ctx context.Context, db *sql.DB) (app, have int, err error) {
	for pragma, into := range map[string]*int{"PRAGMA application_id": &app, "PRAGMA user_version": &have} {
		if err := db.QueryRowContext(ctx, pragma).Scan(into); err != nil {
			return 0, 0, sqlFault("read whose file it is", err)
		}
	}
	if newest := Schema(); app == applicationID && have > newest {
		err = fault.New(fault.Invalid, fmt.Sprintf("store: the database is of schema %d, this program knows schemas to %d: install the newer program again, or restore a backup made with this one", have, newest), nil)
	}
	return app, have, err
}

// number is that in a step's name. Numbers rise, and some may be left out.
func number(name string) (int, error) {
	n, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(name, "migrations/"), ".sql"))
	if err != nil {
		return 0, fmt.Errorf("store: migration %s is not a number: %w", name, err)
	}
	return n, nil
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
