-- What the hellos of a site said of it and its routers, summed up in steps: those
-- of five minutes are kept for a week, those of an hour for 90 days.

-- +goose Up
CREATE TABLE site_history (
    site  TEXT   NOT NULL REFERENCES site (id),
    width BIGINT NOT NULL, -- milliseconds of a step
    at    BIGINT NOT NULL, -- its begin, cloud's clock
    body  TEXT   NOT NULL, -- store.historyBody
    PRIMARY KEY (site, width, at)
);
CREATE INDEX site_history_age ON site_history (width, at);
