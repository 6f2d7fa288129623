-- People who are signed in at the pages. The cookie holds 256 random bits; only their hash is here, so a stolen table opens
-- nothing. A session is worth no more than the token it came from: `find_session` asks both, and the person.
CREATE TABLE sessions (
  session_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  person_id uuid NOT NULL REFERENCES people,
  token_id uuid NOT NULL REFERENCES api_tokens,
  secret_hash bytea NOT NULL UNIQUE,
  created_at timestamptz NOT NULL,
  seen_at timestamptz NOT NULL,       -- written once a minute at most
  idle_seconds int NOT NULL CHECK (idle_seconds BETWEEN 60 AND 86400),
  expires_at timestamptz NOT NULL,    -- however busy it is
  revoked_at timestamptz
);
CREATE INDEX sessions_by_person ON sessions (person_id);

ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON sessions TO pulsecal_app
  USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]));
CREATE POLICY every_organization ON sessions TO pulsecal_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, DELETE ON sessions TO pulsecal_app, pulsecal_system;
GRANT UPDATE (seen_at, revoked_at) ON sessions TO pulsecal_app, pulsecal_system;

-- Whose session is this? Runs as the owner, since the organization is known only after it.
CREATE FUNCTION find_session(hash bytea, at timestamptz)
RETURNS TABLE (session_id uuid, org_id uuid, person_id uuid, role text, name text, organization text, scopes text[], seen_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT s.session_id, s.org_id, s.person_id, p.role, p.given_name || ' ' || p.family_name, o.name, t.scopes, s.seen_at
  FROM public.sessions s
  JOIN public.api_tokens t USING (token_id)
  JOIN public.people p ON p.person_id = s.person_id
  JOIN public.organizations o ON o.org_id = s.org_id
  WHERE s.secret_hash = hash AND s.revoked_at IS NULL AND s.expires_at > at AND s.seen_at + make_interval(secs => s.idle_seconds) > at
    AND t.revoked_at IS NULL AND t.expires_at > at AND p.active AND NOT p.deceased
$$;
REVOKE ALL ON FUNCTION find_session(bytea, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_session(bytea, timestamptz) TO pulsecal_app, pulsecal_system;

-- Queues that an operator paused. No row: never touched, and so open.
CREATE TABLE queues (
  queue text PRIMARY KEY,
  paused boolean NOT NULL,
  changed_at timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON queues TO pulsecal_system;

-- Running jobs that are to stop: each worker asks for its own each second. Nearly always empty. It holds no column that a
-- claim writes, so claims stay heap-only.
CREATE INDEX jobs_to_cancel ON jobs (id) WHERE cancel_asked;
