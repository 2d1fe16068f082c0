package store

import (
	"context"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"iwas/internal/fault"
)

//go:embed migrations
var migrations embed.FS

// migrate runs the numbered files this database has not seen, each in its own
// transaction. Replicas that start together wait for one another on a table
// row, since some engines have no advisory locks.
func (db *DB) migrate(ctx context.Context) error {
	files, err := fs.Sub(migrations, "migrations/"+db.dialect.name)
	if err != nil {
		return fault.New(fault.Internal, "store: migrations", err)
	}
	dialect := goose.DialectSQLite3
	opts := []goose.ProviderOption{goose.WithDisableGlobalRegistry(true)}
	if db.dialect.name == postgresDialect.name {
		dialect = goose.DialectPostgres
		locker, err := lock.NewPostgresTableLocker()
		if err != nil {
			return fault.New(fault.Internal, "store: migration lock", err)
		}
		opts = append(opts, goose.WithLocker(locker))
	} else if err := db.checkOurs(ctx); err != nil {
		return err
	}
	p, err := goose.NewProvider(dialect, db.durable, files, opts...)
	if err != nil {
		return fault.New(fault.Internal, "store: migrations", err)
	}
	done, err := p.Up(ctx)
	if err != nil {
		return fault.New(fault.Unavailable, "store: bring the schema up to date", err).
			WithCode("DB-106", "Nothing was half done. Check rights and free space; if a newer iwas-cloud has used this database, run that version.")
	}
	for _, m := range done {
		db.o.Log.Info("store: schema migrated", "file", m.Source.Path, "dur_ms", m.Duration.Milliseconds())
	}
	return nil
}

// checkOurs refuses an SQLite file that some other program made.
func (db *DB) checkOurs(ctx context.Context) error {
	var id, tables int64
	if err := db.durable.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return fault.New(fault.Damaged, "store: read the file's mark", err).
			WithCode("DB-101", "The file is not a readable SQLite database: restore it from a backup.")
	}
	if err := db.durable.QueryRowContext(ctx, "SELECT COUNT(*) FROM sqlite_master").Scan(&tables); err != nil {
		return fault.New(fault.Damaged, "store: read the file's tables", err)
	}
	if id != applicationID && tables > 0 {
		return fault.New(fault.Invalid, fmt.Sprintf("store: the file belongs to another program (application id %#x)", id), nil).
			WithCode("DB-104", "Name another file; this one is left as it is.")
	}
	return nil
}
