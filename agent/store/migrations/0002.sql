-- What is known of the routers.
CREATE TABLE nas (
	id             TEXT PRIMARY KEY,
	signs_requests INTEGER NOT NULL, -- sent a valid Message-Authenticator in an Access-Request
	signs_replies  INTEGER NOT NULL, -- sent one in an answer to Disconnect- or CoA-Request
	echoes_class   INTEGER NOT NULL  -- sent a Class back in accounting
) STRICT, WITHOUT ROWID;

-- Reservations live in memory now.
DROP INDEX permit_reserved;

-- Devices of an account are found by its sessions, closed ones too, since a
-- permit that travels in its Class has no row.
DROP INDEX session_open_account;
CREATE INDEX session_account ON session (account, started_at);
CREATE INDEX session_pass_ended ON session (pass, ended_at) WHERE state = 'closed';

ALTER TABLE reject RENAME TO old_reject;
CREATE TABLE reject (
	id       INTEGER PRIMARY KEY,
	at       INTEGER NOT NULL,
	nas      TEXT    NOT NULL,
	username TEXT    NOT NULL,
	mac      TEXT    NOT NULL,
	reason   TEXT    NOT NULL,
	message  TEXT    NOT NULL, -- as the guest read it
	detail   TEXT    NOT NULL, -- for staff; '' when the message says it all
	account  TEXT    NOT NULL
) STRICT;
INSERT INTO reject SELECT id, at, nas, username, mac, reason, message, '', account FROM old_reject;
DROP TABLE old_reject;

-- Passwords are kept in the vault from their arrival on. Half a snapshot that
-- was on its way is sent again.
DROP TABLE staged_document;
DELETE FROM staged_part;
CREATE TABLE staged_document (
	kind  TEXT    NOT NULL,
	id    TEXT    NOT NULL,
	rev   INTEGER NOT NULL,
	body  BLOB    NOT NULL,
	why   TEXT    NOT NULL, -- what was found wrong with it on arrival; '' for nothing
	vault TEXT    NOT NULL, -- of an account: its password for the account table
	PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
