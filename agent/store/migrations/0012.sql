-- A login that fails again and again is one row that counts; so are those met
-- with silence, which say who asked.
ALTER TABLE reject ADD COLUMN ref TEXT NOT NULL DEFAULT '';        -- its name in the cloud; '' before this schema
ALTER TABLE reject ADD COLUMN ip TEXT NOT NULL DEFAULT '';         -- of the device, as the request says
ALTER TABLE reject ADD COLUMN source TEXT NOT NULL DEFAULT '';     -- who sent the request
ALTER TABLE reject ADD COLUMN silent INTEGER NOT NULL DEFAULT 0;   -- 1: nothing was answered
ALTER TABLE reject ADD COLUMN times INTEGER NOT NULL DEFAULT 1;
ALTER TABLE reject ADD COLUMN until_at INTEGER NOT NULL DEFAULT 0; -- the newest time; 0: at
ALTER TABLE reject ADD COLUMN others INTEGER NOT NULL DEFAULT 0;   -- 1: stands for many names
