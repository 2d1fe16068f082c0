-- When the site recorded a figure, by the cloud's clock: its age. What is stored
-- already gets it of the last known difference between the two clocks.

-- +goose Up
ALTER TABLE session ADD COLUMN as_of BIGINT NOT NULL DEFAULT 0; -- heard_at by the cloud's clock; 0 is not known
ALTER TABLE pass_usage ADD COLUMN as_of BIGINT NOT NULL DEFAULT 0; -- cloud's clock; 0 is not known
UPDATE session SET as_of = heard_at - COALESCE((SELECT st.clock_offset_ms FROM site_status st WHERE st.site = session.site), 0) WHERE heard_at > 0;
UPDATE pass_usage SET as_of = COALESCE((SELECT MAX(x.as_of) FROM session x
    WHERE x.site = pass_usage.site AND x.account = pass_usage.account AND x.pass = pass_usage.pass), 0);
