-- Wrong passwords since a person last signed in. The row of '' counts those for
-- addresses nobody here has, so that both cost the same; its figures are shown to
-- nobody.

-- +goose Up
CREATE TABLE sign_in_failure (
    operator  TEXT   NOT NULL PRIMARY KEY,
    failed    BIGINT NOT NULL,
    last_at   BIGINT NOT NULL, -- cloud's clock
    last_from TEXT   NOT NULL  -- network address, masked; '' is not known
);
