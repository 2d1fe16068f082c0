-- The gaps this site has told, with their events: every new epoch begins with them.
CREATE TABLE told_gap (
	n    INTEGER PRIMARY KEY, -- in the order they were told
	id   TEXT    NOT NULL UNIQUE,
	at   INTEGER NOT NULL, -- Unix milliseconds
	body BLOB    NOT NULL  -- JSON, wire.Gap
) STRICT;
INSERT INTO told_gap (id, at, body) SELECT id, at, body FROM event WHERE kind = 'gap' ORDER BY seq;
