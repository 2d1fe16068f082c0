-- Where this site stands: its log upward, its wanted state downward.
CREATE TABLE mark (
	id         INTEGER PRIMARY KEY CHECK (id = 1),
	epoch      TEXT    NOT NULL, -- of the event log, random, made with this file
	last_seq   INTEGER NOT NULL, -- of the newest event
	acked      INTEGER NOT NULL, -- events through here are stored by the cloud
	lineage    TEXT    NOT NULL, -- of the wanted state; '' before any came
	revision   INTEGER NOT NULL, -- of the wanted state
	hash       TEXT    NOT NULL  -- of the document set
, settled INTEGER NOT NULL DEFAULT 0) STRICT;

-- The wanted state as it came: body is the exact bytes, and they are hashed.
CREATE TABLE document (
	kind     TEXT    NOT NULL,
	id       TEXT    NOT NULL,
	rev      INTEGER NOT NULL,
	body     BLOB    NOT NULL,
	in_force INTEGER NOT NULL, -- 0: kept and counted, but could not be applied
	why      TEXT    NOT NULL,
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX document_idle ON document (kind, id) WHERE in_force = 0;

-- A snapshot as it comes, until it is in force.
CREATE TABLE staged_document (
	kind    TEXT    NOT NULL,
	id      TEXT    NOT NULL,
	rev     INTEGER NOT NULL,
	body    BLOB    NOT NULL,
	account TEXT    NOT NULL, -- whose facts an account, pass or lock is about; '' of others
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE INDEX staged_account ON staged_document (account, kind);
CREATE TABLE staged_part (
	snapshot TEXT    NOT NULL,
	part     INTEGER NOT NULL,
	PRIMARY KEY (snapshot, part)
) STRICT, WITHOUT ROWID;
CREATE TABLE staging (
	id       INTEGER PRIMARY KEY CHECK (id = 1),
	snapshot TEXT    NOT NULL, -- whose documents are staged; '': what is there is to be deleted
	lineage  TEXT    NOT NULL,
	through  TEXT    NOT NULL, -- of the newest piece; '' in numbered parts
	whole    INTEGER NOT NULL, -- 1: all is there; then the set is that of revision, with hash
	revision INTEGER NOT NULL,
	hash     TEXT    NOT NULL,
	said     INTEGER NOT NULL  -- the cloud's clock, with the last of it
, seen_epoch TEXT NOT NULL DEFAULT '', seen_through INTEGER NOT NULL DEFAULT 0) STRICT;

-- What the documents mean. Rebuilt from them, never edited otherwise.
CREATE TABLE account (
	id        TEXT PRIMARY KEY,
	kind      TEXT NOT NULL,
	username  TEXT NOT NULL,
	login_key TEXT NOT NULL, -- hotspot.LoginKey
	password  TEXT NOT NULL, -- sealed to this site's key
	note      TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX account_login ON account (login_key, kind);

CREATE TABLE pass (
	id          TEXT PRIMARY KEY,
	account     TEXT    NOT NULL,
	plan        TEXT    NOT NULL,
	plan_name   TEXT    NOT NULL,
	limits      TEXT    NOT NULL, -- JSON, wire.LimitsBody
	valid_from  INTEGER NOT NULL, -- Unix milliseconds; 0 is open
	valid_until INTEGER NOT NULL,
	sold_at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX pass_account ON pass (account, sold_at);

CREATE TABLE lock (
	account     TEXT PRIMARY KEY,
	set_by      TEXT    NOT NULL,
	reason      TEXT    NOT NULL,
	set_at      INTEGER NOT NULL,
	revision    INTEGER NOT NULL, -- 0: set or kept on site
	received_at INTEGER NOT NULL,
	outcome     TEXT    NOT NULL  -- hotspot.Outcome of the newest proof; '' before any
, mac TEXT NOT NULL DEFAULT '', ahead TEXT NOT NULL DEFAULT '', event TEXT NOT NULL DEFAULT '', pause INTEGER NOT NULL DEFAULT 0, proven_at INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;
CREATE INDEX lock_ahead ON lock (account) WHERE ahead <> '';
CREATE INDEX lock_device ON lock (mac) WHERE mac <> '';

-- Facts of this site. Usage outlives its pass document, so that a pass that
-- comes back is not fresh again.
CREATE TABLE usage (
	pass         TEXT PRIMARY KEY,
	account      TEXT    NOT NULL,
	first_used   INTEGER NOT NULL, -- Unix milliseconds; 0 is never
	time_ms      INTEGER NOT NULL, -- online time, counted once however many devices were on
	counted      TEXT    NOT NULL, -- JSON: newest stretches [begin, end] in time_ms, Unix milliseconds
	upload       INTEGER NOT NULL,
	download     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE permit (
	token           BLOB PRIMARY KEY, -- travels as Class
	id              TEXT    NOT NULL,
	account         TEXT    NOT NULL,
	pass            TEXT    NOT NULL,
	nas             TEXT    NOT NULL,
	acct_session_id TEXT    NOT NULL, -- of the Access-Request
	username        TEXT    NOT NULL, -- as sent
	mac             TEXT    NOT NULL,
	ip              TEXT    NOT NULL,
	at              INTEGER NOT NULL,
	started         INTEGER NOT NULL  -- 1 once a session came of it, or its reservation lapsed
, terms TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE INDEX permit_session ON permit (nas, acct_session_id, mac, at);
CREATE INDEX permit_account ON permit (account, at);

CREATE TABLE session (
	id              TEXT PRIMARY KEY,
	permit          TEXT    UNIQUE,   -- NULL when nobody here permitted it
	account         TEXT    NOT NULL,
	pass            TEXT    NOT NULL,
	nas             TEXT    NOT NULL,
	acct_session_id TEXT    NOT NULL,
	username        TEXT    NOT NULL,
	mac             TEXT    NOT NULL,
	ip              TEXT    NOT NULL,
	host_ip         TEXT    NOT NULL,
	server          TEXT    NOT NULL,
	state           TEXT    NOT NULL,
	started_at      INTEGER NOT NULL,
	heard_at        INTEGER NOT NULL,
	ended_at        INTEGER NOT NULL,
	time_ms         INTEGER NOT NULL,
	upload          INTEGER NOT NULL,
	download        INTEGER NOT NULL,
	cause           TEXT    NOT NULL,
	stopped         INTEGER NOT NULL -- 1 when a Stop said so; a close without one may be taken back
, terms TEXT NOT NULL DEFAULT '') STRICT, WITHOUT ROWID;
CREATE INDEX session_unpermitted ON session (nas, acct_session_id, mac, started_at) WHERE permit IS NULL;
CREATE INDEX session_open_pass ON session (pass) WHERE state <> 'closed';
CREATE INDEX session_account ON session (account, started_at);
CREATE INDEX session_pass_ended ON session (pass, ended_at) WHERE state = 'closed';
CREATE INDEX session_open_nas ON session (nas, mac) WHERE state <> 'closed';
CREATE INDEX session_ended ON session (ended_at) WHERE state = 'closed';

-- The site's log: one row per fact, written with the fact.
CREATE TABLE event (
	seq   INTEGER PRIMARY KEY,
	id    TEXT    NOT NULL,
	kind  TEXT    NOT NULL,
	at    INTEGER NOT NULL,
	body  BLOB    NOT NULL
, late TEXT NOT NULL DEFAULT '') STRICT;
CREATE INDEX event_proof ON event (seq) WHERE kind = 'lock.proof';

CREATE TABLE reject (
	id       INTEGER PRIMARY KEY,
	at       INTEGER NOT NULL,
	nas      TEXT    NOT NULL,
	username TEXT    NOT NULL,
	mac      TEXT    NOT NULL,
	reason   TEXT    NOT NULL,
	message  TEXT    NOT NULL, -- as the guest read it
	detail   TEXT    NOT NULL, -- for staff; '' when the message says it all
	account  TEXT    NOT NULL,
	ref      TEXT    NOT NULL DEFAULT '',
	ip       TEXT    NOT NULL DEFAULT '',
	source   TEXT    NOT NULL DEFAULT '',
	silent   INTEGER NOT NULL DEFAULT 0,
	times    INTEGER NOT NULL DEFAULT 1,
	until_at INTEGER NOT NULL DEFAULT 0,
	others   INTEGER NOT NULL DEFAULT 0
) STRICT;

-- What is known of the routers.
CREATE TABLE nas (
	id             TEXT PRIMARY KEY,
	signs_requests INTEGER NOT NULL, -- sent a valid Message-Authenticator in an Access-Request
	signs_replies  INTEGER NOT NULL, -- sent one in an answer to Disconnect- or CoA-Request
	echoes_class   INTEGER NOT NULL  -- sent a Class back in accounting
) STRICT, WITHOUT ROWID;

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

-- The chain is worked out from the events when they are sent. What is kept of it
-- are points: where the cloud acknowledged, and enough of the log of before.
CREATE TABLE chain_point (
	seq   INTEGER PRIMARY KEY,
	value TEXT NOT NULL -- chain value after event seq
) STRICT;

-- Commands of the cloud, each kept before anything comes of it. A repeat gets the
-- answer that is here. Times are milliseconds of running_time: no date is compared.
CREATE TABLE command_inbox (
	id       TEXT PRIMARY KEY,
	kind     TEXT    NOT NULL,
	account  TEXT    NOT NULL, -- of a kick; '' of others
	ends     INTEGER NOT NULL, -- not to be begun after this; 0: no end
	state    TEXT    NOT NULL, -- received, or as wire.CommandResult
	result   TEXT    NOT NULL, -- wire.CommandResult; '' before there is one
	ended    INTEGER NOT NULL  -- 0: not yet
) STRICT, WITHOUT ROWID;
CREATE INDEX command_open ON command_inbox (id) WHERE ended = 0;
CREATE INDEX event_command ON event (seq) WHERE kind = 'command.result';

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
, form TEXT NOT NULL DEFAULT '') STRICT;

-- Lock documents that a person lifted on site: not in force, until the cloud takes
-- them away or sends another lock.
CREATE TABLE lifted (
	account TEXT PRIMARY KEY,
	body    BLOB NOT NULL -- of the document
) STRICT, WITHOUT ROWID;
CREATE INDEX lock_here ON lock (account) WHERE event <> '';
CREATE INDEX event_counter ON event (id) WHERE kind IN ('lock.set', 'sale.made', 'plan.made');

-- The gaps this site has told, with their events: every new epoch begins with them.
CREATE TABLE told_gap (
	n    INTEGER PRIMARY KEY, -- in the order they were told
	id   TEXT    NOT NULL UNIQUE,
	at   INTEGER NOT NULL, -- Unix milliseconds
	body BLOB    NOT NULL  -- JSON, wire.Gap
) STRICT;
-- Forms of the counter that were sent, the newest of them, so that a second press of a
-- button is no second act.
CREATE TABLE sent_form (
	n     INTEGER PRIMARY KEY,
	token TEXT NOT NULL UNIQUE,
	what  TEXT NOT NULL -- digest of what was asked for with it
) STRICT;
CREATE INDEX sale_form ON sale (form) WHERE form <> '';
