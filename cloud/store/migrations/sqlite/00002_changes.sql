-- What live sessions run at, and what became of the last change of each.

-- +goose Up
ALTER TABLE session ADD COLUMN rate TEXT NOT NULL DEFAULT ''; -- Mikrotik-Rate-Limit, 0/0 is no limit; '' is not reported
ALTER TABLE session ADD COLUMN change_wanted TEXT NOT NULL DEFAULT ''; -- as rate
ALTER TABLE session ADD COLUMN change_outcome TEXT NOT NULL DEFAULT ''; -- '' while none was made
ALTER TABLE session ADD COLUMN change_code TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN change_detail TEXT NOT NULL DEFAULT '';
ALTER TABLE session ADD COLUMN changed_at BIGINT NOT NULL DEFAULT 0; -- site's clock
