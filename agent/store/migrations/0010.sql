-- What staff made on site: plans, accounts, passes. Each is in force by itself, until
-- the cloud's document of the same id is held.
CREATE TABLE made (
	kind     TEXT    NOT NULL,
	id       TEXT    NOT NULL,
	body     BLOB    NOT NULL, -- of the document, without a password
	sale     TEXT    NOT NULL, -- what told the cloud of it; '' of a plan
	event    TEXT    NOT NULL, -- of the newest telling; '' of a test, of which nobody is told
	document INTEGER NOT NULL, -- 1 while its document is held
	secret   INTEGER NOT NULL, -- 1 while its password is not told
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX made_secret ON made (id) WHERE secret = 1;

-- What was sold on site.
CREATE TABLE sale (
	n    INTEGER PRIMARY KEY, -- in the order of the sales
	id   TEXT    NOT NULL UNIQUE,
	at   INTEGER NOT NULL,
	body TEXT    NOT NULL -- JSON, wire.SaleMade
) STRICT;

-- Lock documents that a person lifted on site: not in force, until the cloud takes
-- them away or sends another lock.
CREATE TABLE lifted (
	account TEXT PRIMARY KEY,
	body    BLOB NOT NULL -- of the document
) STRICT, WITHOUT ROWID;
ALTER TABLE lock ADD COLUMN event TEXT NOT NULL DEFAULT ''; -- lock.set of one set on site, also beneath a document
ALTER TABLE lock ADD COLUMN pause INTEGER NOT NULL DEFAULT 0;
CREATE INDEX lock_here ON lock (account) WHERE event <> '';
CREATE INDEX event_counter ON event (id) WHERE kind IN ('lock.set', 'sale.made', 'plan.made');
-- Which events of this site the snapshot staged knows (wire.State.Seen).
ALTER TABLE staging ADD COLUMN seen_epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE staging ADD COLUMN seen_through INTEGER NOT NULL DEFAULT 0;
