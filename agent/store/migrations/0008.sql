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
