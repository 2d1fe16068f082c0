-- A lock opens again when a later proof says so: which proof is the newest, and
-- how the lock had ended before.

-- +goose Up
ALTER TABLE account_lock ADD COLUMN proof_agent TEXT NOT NULL DEFAULT ''; -- who gave proof; '' is not known
ALTER TABLE account_lock ADD COLUMN proof_epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE account_lock ADD COLUMN proof_seq BIGINT NOT NULL DEFAULT 0; -- of its event in proof_epoch; 0 is not known
ALTER TABLE account_lock ADD COLUMN ended_outcome TEXT NOT NULL DEFAULT ''; -- newest final one, '' before any
ALTER TABLE account_lock ADD COLUMN ended_at BIGINT NOT NULL DEFAULT 0; -- site's clock
ALTER TABLE account_lock ADD COLUMN ended_epoch TEXT NOT NULL DEFAULT '';
ALTER TABLE account_lock ADD COLUMN ended_seq BIGINT NOT NULL DEFAULT 0; -- as proof_seq, of ended_outcome
UPDATE account_lock SET ended_outcome = outcome, ended_at = proven_at WHERE outcome IN ('enforced', 'leaks', 'unproven');
