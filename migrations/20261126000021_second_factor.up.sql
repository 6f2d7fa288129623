-- The second factor of an account: codes of an app (TOTP, RFC 6238). It is on once a code of the app confirmed it.
CREATE TABLE account_factors (
  account_id uuid PRIMARY KEY REFERENCES accounts,
  sealed_key bytea NOT NULL CHECK (length(sealed_key) BETWEEN 1 AND 1000),  -- by a key that is not in the database
  begun_at timestamptz NOT NULL,
  confirmed_at timestamptz,
  last_step bigint NOT NULL DEFAULT 0,            -- codes of this time step and of older ones are worth nothing any more
  failed int NOT NULL DEFAULT 0 CHECK (failed >= 0),                        -- wrong codes since the last right one
  locked_until timestamptz             -- until then no code of the app is tried
);

-- For who has lost the app: each works once. Of a code there is an HMAC only, by a key that is not in the database.
CREATE TABLE account_recovery_codes (
  account_id uuid NOT NULL REFERENCES account_factors ON DELETE CASCADE,
  code_hash bytea NOT NULL CHECK (length(code_hash) = 32),
  used_at timestamptz,
  PRIMARY KEY (account_id, code_hash)
);

-- Between the right password and the code: opens nothing but the page that asks for it.
CREATE TABLE half_sessions (
  secret_hash bytea PRIMARY KEY CHECK (length(secret_hash) = 32),
  account_id uuid NOT NULL REFERENCES accounts,
  wrong int NOT NULL DEFAULT 0,        -- codes that were tried in vain
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX half_sessions_by_account ON half_sessions (account_id, created_at);

-- The platform's own, as accounts are.
GRANT SELECT, INSERT, UPDATE, DELETE ON account_factors, account_recovery_codes, half_sessions TO pulsecal_system;

ALTER TABLE account_mails DROP CONSTRAINT account_mails_kind_check;
ALTER TABLE account_mails ADD CONSTRAINT account_mails_kind_check CHECK (kind IN
  ('invitation', 'reset', 'locked', 'password_changed', 'second_factor_on', 'second_factor_off', 'recovery_code_used', 'codes_locked'));
