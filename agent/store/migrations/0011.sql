-- Forms of the counter that were sent, the newest of them, so that a second press of a
-- button is no second act.
CREATE TABLE sent_form (
	n     INTEGER PRIMARY KEY,
	token TEXT NOT NULL UNIQUE,
	what  TEXT NOT NULL -- digest of what was asked for with it
) STRICT;
ALTER TABLE sale ADD COLUMN form TEXT NOT NULL DEFAULT ''; -- that asked for it
CREATE INDEX sale_form ON sale (form) WHERE form <> '';
