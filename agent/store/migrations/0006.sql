-- Addresses that belong in a router's address-list until a time: documents of the
-- cloud, and those made on site. It has two ends: a date, and a reading of the
-- running time, which counts while the date is not trusted.
CREATE TABLE list_grant (
	id       TEXT PRIMARY KEY,
	list     TEXT    NOT NULL,
	address  TEXT    NOT NULL, -- prefix, 203.0.113.7/32
	until    INTEGER NOT NULL, -- 0: not known, made here while the date was not trusted
	ends     INTEGER NOT NULL, -- milliseconds of running_time
	comment  TEXT    NOT NULL,
	asked_by TEXT    NOT NULL,
	made_at  INTEGER NOT NULL,
	here     INTEGER NOT NULL, -- 1 when made on site
	document INTEGER NOT NULL, -- 1 while its document is held
	gone_at  INTEGER NOT NULL, -- removed here, or over; 0: neither
	state    TEXT    NOT NULL, -- hotspot.GrantState
	state_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX list_grant_in_force ON list_grant (list, address) WHERE gone_at = 0;

-- Passes whose address-lists are kept over the router's API: few, if any.
CREATE INDEX pass_lists ON pass (account) WHERE json_extract(limits, '$.lists_by_api');

-- Lists in which entries of ours may stand.
CREATE TABLE list_name (
	name    TEXT PRIMARY KEY,
	used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- How long this program has run in all, by a clock that nobody sets.
CREATE TABLE running_time (
	id INTEGER PRIMARY KEY CHECK (id = 1),
	ms INTEGER NOT NULL
) STRICT;
INSERT INTO running_time (id, ms) VALUES (1, 0);
