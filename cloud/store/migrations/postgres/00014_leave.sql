-- When a box said that it gave its identity up; 0: it did not.

-- +goose Up
ALTER TABLE agent ADD COLUMN left_at BIGINT NOT NULL DEFAULT 0;
