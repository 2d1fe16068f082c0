-- What several clouds on one database must know together: requests that came with a
-- key, and passwords tried.

-- +goose Up
CREATE TABLE request_once (
    key    TEXT   PRIMARY KEY, -- made of the sender's, which nobody can get back from it
    body   TEXT   NOT NULL,    -- of the first request, likewise
    at     BIGINT NOT NULL,
    answer TEXT   NOT NULL     -- sealed by the sender's key; '' while it is at work
);
CREATE INDEX request_once_at ON request_once (at);

CREATE TABLE sign_in_try (
    key     TEXT   PRIMARY KEY, -- hash of an address, an account or a browser
    failed  BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    until   BIGINT NOT NULL -- not to be tried before; 0: at once
);
CREATE INDEX sign_in_try_last ON sign_in_try (last_at);
