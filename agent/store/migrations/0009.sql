-- A snapshot comes in windows, waits as it came, and is brought into force in
-- slices. What was staged of one is asked for anew. A lock may come ahead of its set.
DROP TABLE staged_document;
DELETE FROM staged_part;
CREATE TABLE staged_document (
	kind    TEXT    NOT NULL,
	id      TEXT    NOT NULL,
	rev     INTEGER NOT NULL,
	body    BLOB    NOT NULL,
	account TEXT    NOT NULL, -- whose facts an account, pass or lock is about; '' of others
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX staged_account ON staged_document (account, kind);
CREATE TABLE staging (
	id       INTEGER PRIMARY KEY CHECK (id = 1),
	snapshot TEXT    NOT NULL, -- whose documents are staged; '': what is there is to be deleted
	lineage  TEXT    NOT NULL,
	through  TEXT    NOT NULL, -- of the newest piece; '' in numbered parts
	whole    INTEGER NOT NULL, -- 1: all is there; then the set is that of revision, with hash
	revision INTEGER NOT NULL,
	hash     TEXT    NOT NULL,
	said     INTEGER NOT NULL  -- the cloud's clock, with the last of it
) STRICT;
INSERT INTO staging VALUES (1, '', '', '', 0, 0, '', 0);
ALTER TABLE lock ADD COLUMN ahead TEXT NOT NULL DEFAULT ''; -- lineage of a set that is not held yet
CREATE INDEX lock_ahead ON lock (account) WHERE ahead <> '';
