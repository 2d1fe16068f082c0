-- Tombstones of revisions through this one may be gone: who holds an older
-- revision gets the whole set.

-- +goose Up
ALTER TABLE site ADD COLUMN compacted BIGINT NOT NULL DEFAULT 0;
