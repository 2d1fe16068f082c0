-- Pauses, which the counter of a site may lift; plans that a site made while it had no cloud.

-- +goose Up
ALTER TABLE account_lock ADD COLUMN pause BIGINT NOT NULL DEFAULT 0;
ALTER TABLE plan ADD COLUMN made_by TEXT NOT NULL DEFAULT ''; -- the site; '' is the console
