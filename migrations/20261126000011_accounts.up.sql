-- Accounts: who signs in with an address and a password. An account is no member of an organization: people are, and a
-- person says whose account they belong to. One account may be a nurse in two clinics and a patient in a third.
CREATE TABLE accounts (
  account_id uuid PRIMARY KEY,
  email text NOT NULL UNIQUE CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
  password_hash text CHECK (length(password_hash) BETWEEN 1 AND 500),  -- Argon2id, as PHC writes it; none: never set
  password_changed_at timestamptz,
  verified_at timestamptz,             -- when the address was proven, by a link that was mailed to it
  failed int NOT NULL DEFAULT 0 CHECK (failed >= 0),                   -- wrong passwords since the last right one
  locked_until timestamptz,            -- until then no password is tried
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);

-- The mails of accounts, and the links in them. A link holds its row's id and an HMAC over `seed`, by a key that is not in the
-- database: a stolen table opens nothing, and neither does a stolen key by itself.
CREATE TABLE account_mails (
  account_mail_id uuid PRIMARY KEY,
  account_id uuid NOT NULL REFERENCES accounts,
  kind text NOT NULL CHECK (kind IN ('invitation', 'reset', 'locked', 'password_changed')),
  person_id uuid REFERENCES people,    -- who is invited
  seed bytea NOT NULL CHECK (length(seed) = 32),
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  used_at timestamptz,                 -- a link works once; also when it was withdrawn
  CHECK ((kind = 'invitation') = (person_id IS NOT NULL))
);
CREATE INDEX account_mails_by_account ON account_mails (account_id, created_at);

-- The platform's own. Within an organization nothing of it is seen, but through `find_session`.
GRANT SELECT, INSERT, UPDATE ON accounts TO pulsecal_system;
GRANT SELECT, INSERT, DELETE ON account_mails TO pulsecal_system;
GRANT UPDATE (used_at) ON account_mails TO pulsecal_system;

ALTER TABLE people ADD COLUMN account_id uuid REFERENCES accounts;
CREATE INDEX people_by_account ON people (account_id) WHERE account_id IS NOT NULL;

-- A session comes from a token, or from an account. Where it was begun is shown to its owner.
ALTER TABLE sessions ALTER COLUMN token_id DROP NOT NULL;
ALTER TABLE sessions ADD COLUMN account_id uuid REFERENCES accounts;
ALTER TABLE sessions ADD COLUMN begun_from text NOT NULL DEFAULT '' CHECK (length(begun_from) <= 50);
ALTER TABLE sessions ADD COLUMN begun_with text NOT NULL DEFAULT '' CHECK (length(begun_with) <= 200);
ALTER TABLE sessions ADD CONSTRAINT sessions_from_one CHECK (num_nonnulls(token_id, account_id) = 1);
CREATE INDEX sessions_by_account ON sessions (account_id) WHERE account_id IS NOT NULL;

-- As before; a session of an account has no scopes of its own, and ends when its person is no longer one of the account.
DROP FUNCTION find_session(bytea, timestamptz);
CREATE FUNCTION find_session(hash bytea, at timestamptz)
RETURNS TABLE (session_id uuid, org_id uuid, person_id uuid, account_id uuid, role text, name text, organization text, scopes text[],
  seen_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT s.session_id, s.org_id, s.person_id, s.account_id, p.role, p.given_name || ' ' || p.family_name, o.name, t.scopes, s.seen_at
  FROM public.sessions s
  JOIN public.people p ON p.person_id = s.person_id
  JOIN public.organizations o ON o.org_id = s.org_id
  LEFT JOIN public.api_tokens t ON t.token_id = s.token_id
  WHERE s.secret_hash = hash AND s.revoked_at IS NULL AND s.expires_at > at AND s.seen_at + make_interval(secs => s.idle_seconds) > at
    AND CASE WHEN s.account_id IS NULL THEN t.revoked_at IS NULL AND t.expires_at > at ELSE p.account_id = s.account_id END
    AND p.active AND NOT p.deceased
$$;
REVOKE ALL ON FUNCTION find_session(bytea, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_session(bytea, timestamptz) TO pulsecal_app, pulsecal_system;

-- Whoever acts by a mailed link, or has not said yet for which organization, acts as an account.
ALTER TABLE audit_entries DROP CONSTRAINT audit_entries_actor_kind_check;
ALTER TABLE audit_entries ADD CONSTRAINT audit_entries_actor_kind_check
  CHECK (actor_kind IN ('person', 'token', 'patient_link', 'job', 'schedule', 'operator', 'account')) NOT VALID;
