-- Times are Unix milliseconds, 0 means never or absent. Documents of JSON are
-- TEXT. Every key of a site's data starts with the site.

-- +goose Up
CREATE TABLE organization (
    id         TEXT   NOT NULL PRIMARY KEY,
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE operator (
    id            TEXT   NOT NULL PRIMARY KEY,
    organization  TEXT   NOT NULL REFERENCES organization (id),
    email         TEXT   NOT NULL UNIQUE, -- lower case
    name          TEXT   NOT NULL,
    role          TEXT   NOT NULL,
    password_hash TEXT   NOT NULL, -- argon2id
    created_at    BIGINT NOT NULL,
    disabled_at   BIGINT NOT NULL
);

CREATE TABLE operator_session (
    token_hash TEXT   NOT NULL PRIMARY KEY, -- hex
    operator   TEXT   NOT NULL REFERENCES operator (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX operator_session_expires ON operator_session (expires_at);

CREATE TABLE api_token (
    token_hash TEXT   NOT NULL PRIMARY KEY, -- hex
    operator   TEXT   NOT NULL REFERENCES operator (id),
    name       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    revoked_at BIGINT NOT NULL
);

CREATE TABLE site (
    id           TEXT   NOT NULL PRIMARY KEY,
    organization TEXT   NOT NULL REFERENCES organization (id),
    name         TEXT   NOT NULL,
    time_zone    TEXT   NOT NULL,
    currency     TEXT   NOT NULL,
    language     TEXT   NOT NULL,
    lineage      TEXT   NOT NULL, -- new after a restore from a backup
    rev          BIGINT NOT NULL, -- of the newest change of intent
    hash         TEXT   NOT NULL, -- of the document set at rev
    created_at   BIGINT NOT NULL
);
CREATE INDEX site_organization ON site (organization, id);

-- What a site should hold: the bytes that go down and that the hash is over.
CREATE TABLE document (
    site    TEXT   NOT NULL REFERENCES site (id),
    kind    TEXT   NOT NULL,
    id      TEXT   NOT NULL,
    rev     BIGINT NOT NULL, -- that wrote or removed it
    body    TEXT   NOT NULL,
    deleted BIGINT NOT NULL, -- 1: a tombstone
    PRIMARY KEY (site, kind, id)
);
CREATE INDEX document_rev ON document (site, rev);

CREATE TABLE plan (
    organization TEXT   NOT NULL REFERENCES organization (id),
    id           TEXT   NOT NULL,
    name         TEXT   NOT NULL,
    price_minor  BIGINT NOT NULL,
    currency     TEXT   NOT NULL,
    limits       TEXT   NOT NULL,
    created_at   BIGINT NOT NULL,
    PRIMARY KEY (organization, id)
);

CREATE TABLE account (
    site       TEXT   NOT NULL REFERENCES site (id),
    id         TEXT   NOT NULL,
    kind       TEXT   NOT NULL,
    username   TEXT   NOT NULL,
    login_key  TEXT   NOT NULL,
    password   TEXT   NOT NULL, -- sealed to the cloud's key
    note       TEXT   NOT NULL,
    search     TEXT   NOT NULL, -- lower case: name, code without dashes, note
    created_at BIGINT NOT NULL,
    PRIMARY KEY (site, id),
    UNIQUE (site, login_key)
);
CREATE INDEX account_id ON account (id);

CREATE TABLE pass (
    site        TEXT   NOT NULL REFERENCES site (id),
    id          TEXT   NOT NULL,
    account     TEXT   NOT NULL,
    plan        TEXT   NOT NULL,
    plan_name   TEXT   NOT NULL,
    limits      TEXT   NOT NULL,
    valid_from  BIGINT NOT NULL,
    valid_until BIGINT NOT NULL,
    sold_at     BIGINT NOT NULL,
    PRIMARY KEY (site, id)
);
CREATE INDEX pass_account ON pass (site, account, id);

-- The site owns usage; the pass it belongs to may be unknown here.
CREATE TABLE pass_usage (
    site          TEXT   NOT NULL REFERENCES site (id),
    pass          TEXT   NOT NULL,
    account       TEXT   NOT NULL,
    first_used_at BIGINT NOT NULL,
    time_ms       BIGINT NOT NULL,
    upload        BIGINT NOT NULL,
    download      BIGINT NOT NULL,
    PRIMARY KEY (site, pass)
);

-- Locks, lifted ones too: the history of an account.
CREATE TABLE account_lock (
    site          TEXT   NOT NULL REFERENCES site (id),
    id            TEXT   NOT NULL,
    account       TEXT   NOT NULL,
    revision      BIGINT NOT NULL, -- of the site, that carried it
    locked_by     TEXT   NOT NULL,
    reason        TEXT   NOT NULL,
    requested_at  BIGINT NOT NULL, -- cloud's clock
    sent_at       BIGINT NOT NULL, -- cloud's clock
    received_at   BIGINT NOT NULL, -- site's clock
    proven_at     BIGINT NOT NULL, -- site's clock
    outcome       TEXT   NOT NULL, -- '' before any proof
    proof         TEXT   NOT NULL, -- wire.LockProof, '' before any
    lifted_at     BIGINT NOT NULL,
    lifted_by     TEXT   NOT NULL,
    lifted_reason TEXT   NOT NULL,
    PRIMARY KEY (site, id)
);
CREATE UNIQUE INDEX account_lock_current ON account_lock (site, account) WHERE lifted_at = 0;
CREATE INDEX account_lock_revision ON account_lock (site, account, revision);

-- Proofs of no lock of ours: expiries, and locks set on site.
CREATE TABLE off_proof (
    site     TEXT   NOT NULL REFERENCES site (id),
    account  TEXT   NOT NULL,
    revision BIGINT NOT NULL,
    at       BIGINT NOT NULL, -- site's clock
    outcome  TEXT   NOT NULL,
    proof    TEXT   NOT NULL,
    PRIMARY KEY (site, account, revision, at, outcome)
);

CREATE TABLE agent (
    id               TEXT   NOT NULL PRIMARY KEY, -- CN of its certificate
    site             TEXT   NOT NULL REFERENCES site (id),
    host             TEXT   NOT NULL,
    version          TEXT   NOT NULL,
    check_number     TEXT   NOT NULL,
    seal_key         TEXT   NOT NULL, -- public, for secrets inside documents
    cert_serial      TEXT   NOT NULL,
    cert_fingerprint TEXT   NOT NULL, -- SHA-256, hex
    cert_expires_at  BIGINT NOT NULL,
    enrolled_at      BIGINT NOT NULL,
    confirmed_at     BIGINT NOT NULL,
    confirmed_by     TEXT   NOT NULL,
    retired_at       BIGINT NOT NULL
);
CREATE INDEX agent_site ON agent (site, id);
CREATE UNIQUE INDEX agent_in_force ON agent (site) WHERE confirmed_at > 0 AND retired_at = 0;

CREATE TABLE enrolment_code (
    hash       TEXT   NOT NULL PRIMARY KEY, -- hex, keyed
    site       TEXT   NOT NULL REFERENCES site (id),
    created_by TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at    BIGINT NOT NULL,
    request    TEXT   NOT NULL, -- idempotency id of the box that spent it
    csr_hash   TEXT   NOT NULL, -- hex; a repeat must show the same
    agent      TEXT   NOT NULL,
    reply      TEXT   NOT NULL  -- as given; a repeat gets it again
);

-- How far each log of a site is stored.
CREATE TABLE event_mark (
    site    TEXT   NOT NULL REFERENCES site (id),
    epoch   TEXT   NOT NULL,
    agent   TEXT   NOT NULL,
    through BIGINT NOT NULL,
    chain   TEXT   NOT NULL,
    at      BIGINT NOT NULL,
    PRIMARY KEY (site, epoch)
);

-- Every event ever stored, so that none counts twice under another number. The
-- body is kept only where no table of its own has what it says.
CREATE TABLE event (
    site  TEXT   NOT NULL,
    id    TEXT   NOT NULL,
    epoch TEXT   NOT NULL,
    seq   BIGINT NOT NULL,
    kind  TEXT   NOT NULL,
    at    BIGINT NOT NULL, -- site's clock
    body  TEXT   NOT NULL,
    PRIMARY KEY (site, id)
);

-- Events nobody here could read, with their bytes.
CREATE TABLE event_dead (
    site        TEXT   NOT NULL REFERENCES site (id),
    epoch       TEXT   NOT NULL,
    seq         BIGINT NOT NULL,
    agent       TEXT   NOT NULL,
    event       BYTEA  NOT NULL, -- the whole event as it came, JSON
    reason      TEXT   NOT NULL,
    received_at BIGINT NOT NULL,
    PRIMARY KEY (site, epoch, seq)
);

CREATE TABLE session (
    site            TEXT   NOT NULL REFERENCES site (id),
    id              TEXT   NOT NULL,
    permit          TEXT   NOT NULL,
    account         TEXT   NOT NULL,
    pass            TEXT   NOT NULL,
    nas             TEXT   NOT NULL,
    acct_session_id TEXT   NOT NULL,
    username        TEXT   NOT NULL,
    mac             TEXT   NOT NULL, -- twelve lower-case hex digits
    ip              TEXT   NOT NULL,
    state           TEXT   NOT NULL,
    started_at      BIGINT NOT NULL, -- site's clock, as all below
    heard_at        BIGINT NOT NULL,
    ended_at        BIGINT NOT NULL,
    time_ms         BIGINT NOT NULL,
    upload          BIGINT NOT NULL,
    download        BIGINT NOT NULL,
    cause           TEXT   NOT NULL,
    PRIMARY KEY (site, id)
);
CREATE INDEX session_account ON session (site, account);
CREATE INDEX session_started ON session (site, started_at);
CREATE INDEX session_open ON session (site, account) WHERE state IN ('live', 'suspect');

-- What a site last said of itself.
CREATE TABLE site_status (
    site            TEXT   NOT NULL PRIMARY KEY REFERENCES site (id),
    agent           TEXT   NOT NULL,
    presence        TEXT   NOT NULL,
    reason          TEXT   NOT NULL,
    boot            TEXT   NOT NULL,
    conn            BIGINT NOT NULL,
    heard_at        BIGINT NOT NULL, -- cloud's clock
    version         TEXT   NOT NULL,
    lineage         TEXT   NOT NULL,
    applied         BIGINT NOT NULL,
    hash            TEXT   NOT NULL,
    epoch           TEXT   NOT NULL,
    last_seq        BIGINT NOT NULL,
    router_seen_at  BIGINT NOT NULL, -- site's clock
    clock_offset_ms BIGINT NOT NULL, -- site's clock minus ours
    conditions      TEXT   NOT NULL
);

CREATE TABLE audit (
    organization TEXT   NOT NULL,
    id           TEXT   NOT NULL,
    site         TEXT   NOT NULL,
    at           BIGINT NOT NULL,
    who_id       TEXT   NOT NULL, -- operator; '' is the system or the site
    who          TEXT   NOT NULL, -- as people know them
    what         TEXT   NOT NULL,
    subject      TEXT   NOT NULL,
    was          TEXT   NOT NULL, -- JSON, '' if nothing
    became       TEXT   NOT NULL,
    PRIMARY KEY (organization, id)
);
