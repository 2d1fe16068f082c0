-- Rows of session and usage may follow the log by a moment: what an event says,
-- and what of the rows it does not say, brings them up again after a power cut.
ALTER TABLE mark ADD COLUMN settled INTEGER NOT NULL DEFAULT 0; -- events through here are in the rows
UPDATE mark SET settled = last_seq;
ALTER TABLE event ADD COLUMN late TEXT NOT NULL DEFAULT ''; -- JSON, lateBody; '' when the rows came with it
