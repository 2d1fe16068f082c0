-- Addresses that belong in the address-lists of a site's routers until a time.

-- +goose Up
CREATE TABLE list_grant (
    site     TEXT   NOT NULL,
    id       TEXT   NOT NULL,
    list     TEXT   NOT NULL,
    address  TEXT   NOT NULL, -- prefix, 203.0.113.7/32
    until    BIGINT NOT NULL, -- 0: made on site while its date was not right, and not known yet
    remark   TEXT   NOT NULL,
    asked_by TEXT   NOT NULL,
    made_at  BIGINT NOT NULL, -- by the clock of the machine where it was
    on_site  BIGINT NOT NULL, -- 1 when made there
    revision BIGINT NOT NULL, -- of its document; 0 before there is one
    state    TEXT   NOT NULL, -- what became of it at the site; '' is not known
    state_at BIGINT NOT NULL, -- our clock
    ended_at BIGINT NOT NULL, -- removed, or over; 0: neither
    ended_by TEXT   NOT NULL, -- '' is over
    PRIMARY KEY (site, id)
);
CREATE INDEX list_grant_open ON list_grant (site, until) WHERE ended_at = 0;
