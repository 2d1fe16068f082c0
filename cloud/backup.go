package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"iwas/cloud/store"
)

// keysToo is what a database alone does not bring back.
func keysToo(c config) string {
	return fmt.Sprintf("The database is not all: without %s no guest's password opens, and without %s every box must enrol again. Keep copies of both, apart from it.",
		filepath.Join(c.StateDir, "guests.key"), filepath.Join(c.StateDir, "ca"))
}

func backupCommand(load loader) *cobra.Command {
	return &cobra.Command{
		Use: "backup FILE", Short: "Copy the database into a new file, while the service runs", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := load(cmd)
			if err != nil {
				return err
			}
			to, err := filepath.Abs(args[0])
			if err != nil {
				return err
			}
			db, err := openStore(cmd.Context(), c, nil)
			if err != nil {
				return err
			}
			if err := errors.Join(db.Backup(cmd.Context(), to), db.Close()); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "The database is in %s.\n%s\n", to, keysToo(c))
			return nil
		},
	}
}

func restoreCommand(load loader) *cobra.Command {
	var inPlace bool
	c := &cobra.Command{
		Use: "restore [FILE]", Short: "Put a backup in the place of the database; the service must not run", Args: cobra.MaximumNArgs(1),
		Long: "Puts the database of FILE in place of the one in use, which is kept beside it, and begins a new lineage of what is wanted of each site.\n" +
			"Sites then send again what this database has not, and keep the locks that it has lost.\n" +
			"With --in-place the database was brought back by other means, such as pg_restore: only the lineage is begun anew.",
		RunE: func(cmd *cobra.Command, args []string) error {
			if inPlace == (len(args) == 1) {
				return &exitError{exitUsage, errors.New("give the FILE to restore from, or --in-place")}
			}
			c, err := load(cmd)
			if err != nil {
				return err
			}
			said := "Every site gets what is wanted of it anew, whole."
			if inPlace {
				db, err := openStore(cmd.Context(), c, nil)
				if err != nil {
					return err
				}
				if err := errors.Join(db.NewLineage(cmd.Context()), db.Close()); err != nil {
					return err
				}
			} else {
				key, err := guestsKey(c)
				if err != nil {
					return err
				}
				aside, err := store.Restore(cmd.Context(), store.Options{URL: c.Database, Key: key}, args[0])
				if err != nil {
					return err
				}
				if aside != "" {
					said = "The database from before is in " + aside + ".\n" + said
				}
			}
			fmt.Fprintln(cmd.OutOrStdout(), said)
			return nil
		},
	}
	c.Flags().BoolVar(&inPlace, "in-place", false, "the database was restored already, by other means")
	return c
}
