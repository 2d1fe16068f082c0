-- Logins that failed at a site, as it tells them: why somebody cannot log in.

-- +goose Up
CREATE TABLE login_refused (
    site     TEXT   NOT NULL,
    id       TEXT   NOT NULL, -- of the site
    account  TEXT   NOT NULL, -- '' is nobody's, or not known
    nas      TEXT   NOT NULL, -- '' is none of the site
    username TEXT   NOT NULL,
    mac      TEXT   NOT NULL, -- twelve lower-case hex digits
    ip       TEXT   NOT NULL,
    reason   TEXT   NOT NULL,
    detail   TEXT   NOT NULL,
    source   TEXT   NOT NULL, -- address that asked
    silent   BIGINT NOT NULL, -- 1: met with silence
    others   BIGINT NOT NULL, -- 1: many names at once
    times    BIGINT NOT NULL,
    at       BIGINT NOT NULL, -- the first time, by our clock
    until_at BIGINT NOT NULL, -- the newest
    PRIMARY KEY (site, id)
);
CREATE INDEX login_refused_until ON login_refused (site, until_at);
