-- Signing up: what somebody chose for an account that becomes theirs when the link that was mailed to its address comes back. Each mail
-- has a choice of its own, so that of two who sign up with one address nobody confirms the other's password.
CREATE TABLE sign_ups (
  account_mail_id uuid PRIMARY KEY REFERENCES account_mails ON DELETE CASCADE,
  given_name text NOT NULL CHECK (length(given_name) BETWEEN 1 AND 100),
  family_name text NOT NULL CHECK (length(family_name) BETWEEN 1 AND 100),
  password_hash text NOT NULL CHECK (length(password_hash) BETWEEN 1 AND 500)
);

-- What the owner calls themselves; the people of organizations have names of their own.
ALTER TABLE accounts ADD COLUMN given_name text CHECK (length(given_name) BETWEEN 1 AND 100);
ALTER TABLE accounts ADD COLUMN family_name text CHECK (length(family_name) BETWEEN 1 AND 100);
CREATE INDEX accounts_unproven ON accounts (created_at) WHERE verified_at IS NULL;

-- Who is signed in with an account that has no place yet. It opens the page that asks for one, and nothing else.
CREATE TABLE lobby_sessions (
  secret_hash bytea PRIMARY KEY CHECK (length(secret_hash) = 32),
  account_id uuid NOT NULL REFERENCES accounts,
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL
);
CREATE INDEX lobby_sessions_by_account ON lobby_sessions (account_id, created_at);
CREATE INDEX lobby_sessions_over ON lobby_sessions (expires_at);

-- The platform's own, as accounts are.
GRANT SELECT, INSERT, DELETE ON sign_ups, lobby_sessions TO pulsecal_system;
GRANT DELETE ON accounts TO pulsecal_system;

ALTER TABLE account_mails DROP CONSTRAINT account_mails_kind_check;
ALTER TABLE account_mails ADD CONSTRAINT account_mails_kind_check CHECK (kind IN
  ('invitation', 'reset', 'locked', 'password_changed', 'second_factor_on', 'second_factor_off', 'recovery_code_used', 'codes_locked',
   'linked', 'verify', 'sign_up_known'));
