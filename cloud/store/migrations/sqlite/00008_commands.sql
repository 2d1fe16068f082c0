-- Commands for sites: written before they are sent, sent again until they are
-- answered or over. And which documents a site holds and cannot apply.

-- +goose Up
CREATE TABLE command (
    site       TEXT   NOT NULL,
    id         TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    subject    TEXT   NOT NULL, -- the router or the account it is about
    body       TEXT   NOT NULL,
    asked_by   TEXT   NOT NULL,
    asked_at   BIGINT NOT NULL,
    expires_at BIGINT NOT NULL, -- not to be begun after this
    state      TEXT   NOT NULL, -- hotspot.CommandState
    answered   BIGINT NOT NULL, -- 1: the site gave its answer, which is the last word
    next_at    BIGINT NOT NULL, -- of sending it again
    tries      BIGINT NOT NULL,
    sent_at    BIGINT NOT NULL, -- first; 0: not yet
    ended_at   BIGINT NOT NULL,
    code       TEXT   NOT NULL,
    detail     TEXT   NOT NULL,
    next_step  TEXT   NOT NULL,
    result     TEXT   NOT NULL,
    PRIMARY KEY (site, id)
);
CREATE INDEX command_open ON command (next_at) WHERE ended_at = 0;
CREATE INDEX command_subject ON command (site, subject, id);
ALTER TABLE site_status ADD COLUMN not_in_force TEXT NOT NULL DEFAULT '[]';
