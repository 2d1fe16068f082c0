-- What was sold, in the console and at the counters of sites.

-- +goose Up
CREATE TABLE sale (
    site        TEXT   NOT NULL,
    id          TEXT   NOT NULL,
    at          BIGINT NOT NULL, -- by our clock; of a site as near as its clock lets us know
    sold_by     TEXT   NOT NULL,
    role        TEXT   NOT NULL, -- '' is not known
    via         TEXT   NOT NULL, -- console, page, command
    plan        TEXT   NOT NULL,
    plan_name   TEXT   NOT NULL,
    price_minor BIGINT NOT NULL,
    currency    TEXT   NOT NULL,
    account     TEXT   NOT NULL,
    username    TEXT   NOT NULL, -- as it was then
    pass        TEXT   NOT NULL,
    is_new      BIGINT NOT NULL, -- 1 when the account was made with it
    on_site     BIGINT NOT NULL,
    remark      TEXT   NOT NULL, -- what people must know of it
    PRIMARY KEY (site, id)
);
CREATE INDEX sale_at ON sale (site, at);
