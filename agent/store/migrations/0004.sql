-- A lock of an account that is a device holds for its MAC, whatever account logs
-- in with it, and goes on holding when the account's document is no more.
ALTER TABLE lock ADD COLUMN mac TEXT NOT NULL DEFAULT ''; -- of a device, AA:BB:CC:DD:EE:FF
UPDATE lock SET mac = COALESCE((SELECT login_key FROM account WHERE id = lock.account AND kind = 'device'), '');
CREATE INDEX lock_device ON lock (mac) WHERE mac <> '';
