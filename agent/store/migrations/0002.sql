-- What a refusal says to the technician.
ALTER TABLE reject ADD COLUMN detail TEXT NOT NULL DEFAULT '';
