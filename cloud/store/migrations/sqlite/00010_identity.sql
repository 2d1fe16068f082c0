-- Identities that last and cannot be borrowed: every certificate an agent got, the
-- runs of its program, who tries codes, and why a site has no MQTT connection.

-- +goose Up
CREATE TABLE agent_certificate (
    agent      TEXT   NOT NULL REFERENCES agent (id),
    serial     TEXT   NOT NULL, -- hex
    expires_at BIGINT NOT NULL,
    issued_at  BIGINT NOT NULL,
    PRIMARY KEY (agent, serial)
);
INSERT INTO agent_certificate SELECT id, cert_serial, cert_expires_at, enrolled_at FROM agent WHERE cert_serial <> '';

-- Runs of an agent's program that were heard. One that speaks again after a later
-- one has begun shows that there are two boxes.
CREATE TABLE agent_run (
    agent      TEXT   NOT NULL REFERENCES agent (id),
    boot       TEXT   NOT NULL,
    first_at   BIGINT NOT NULL, -- cloud's clock
    refused_at BIGINT NOT NULL, -- 0: in force
    PRIMARY KEY (agent, boot)
);
ALTER TABLE agent ADD COLUMN copy_at BIGINT NOT NULL DEFAULT 0; -- when a second copy was last heard; 0: never

ALTER TABLE enrolment_code ADD COLUMN revoked_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE enrolment_code ADD COLUMN wrong BIGINT NOT NULL DEFAULT 0; -- codes nobody made, tried while this one was open
ALTER TABLE enrolment_code ADD COLUMN wrong_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE enrolment_code ADD COLUMN wrong_from TEXT NOT NULL DEFAULT ''; -- network address, masked

ALTER TABLE site_status ADD COLUMN outage TEXT NOT NULL DEFAULT ''; -- JSON, as told over HTTPS; '' once it speaks MQTT again
