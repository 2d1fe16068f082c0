-- The chain is worked out from the events when they are sent. What is kept of it
-- are points: where the cloud acknowledged, and enough of the log of before.
CREATE TABLE chain_point (
	seq   INTEGER PRIMARY KEY,
	value TEXT NOT NULL -- chain value after event seq
) STRICT;
INSERT INTO chain_point (seq, value) SELECT seq, chain FROM event
	WHERE seq % 100 = 0 OR seq IN (SELECT MIN(seq) FROM event) OR seq IN (SELECT acked FROM mark);
ALTER TABLE event DROP COLUMN chain;
ALTER TABLE mark DROP COLUMN last_chain;
