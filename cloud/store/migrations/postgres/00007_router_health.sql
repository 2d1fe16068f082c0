-- How the site's routers do, as its newest hello told: wire.RouterHealth, a list.

-- +goose Up
ALTER TABLE site_status ADD COLUMN routers TEXT NOT NULL DEFAULT '[]';
