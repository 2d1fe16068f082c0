-- What sessions run under, what became of changing them, and what staff changed
-- of passes on site.
ALTER TABLE permit ADD COLUMN terms TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN terms TEXT NOT NULL DEFAULT '';

-- What a person changed of a pass on site. It applies on top of the document
-- until that names it.
CREATE TABLE adjustment (
	id   TEXT PRIMARY KEY, -- of its event
	pass TEXT    NOT NULL,
	at   INTEGER NOT NULL,
	body TEXT    NOT NULL  -- JSON, wire.AdjustedBody
) STRICT, WITHOUT ROWID;
CREATE INDEX adjustment_pass ON adjustment (pass, id);

-- Open sessions that were changed, or have a speed of their own.
CREATE TABLE session_change (
	session TEXT PRIMARY KEY,
	rate    TEXT    NOT NULL, -- speed set for this session alone; 'plan' is none
	want    TEXT    NOT NULL, -- JSON, what was tried last; '' is nothing
	outcome TEXT    NOT NULL, -- hotspot.ChangeOutcome
	code    TEXT    NOT NULL,
	detail  TEXT    NOT NULL,
	at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
