-- When a lock was proven as its outcome says, for who stands beside the router.
ALTER TABLE lock ADD COLUMN proven_at INTEGER NOT NULL DEFAULT 0; -- Unix milliseconds; 0: not yet, or before this column
