-- Programs that get tokens by their keys (SMART Backend Services). A client acts as a person of its organization.
CREATE TABLE oauth_clients (
  client_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  person_id uuid NOT NULL REFERENCES people,
  scopes text[] NOT NULL CHECK (cardinality(scopes) >= 1),
  label text NOT NULL DEFAULT '' CHECK (length(label) <= 100),
  keys jsonb NOT NULL,                 -- public ones, as RFC 7517 writes them
  created_at timestamptz NOT NULL,
  revoked_at timestamptz
);
CREATE INDEX oauth_clients_by_org ON oauth_clients (org_id, created_at);

-- What clients signed counts once. Kept until it is over by itself.
CREATE TABLE client_assertions (
  client_id uuid NOT NULL REFERENCES oauth_clients,
  name_hash bytea NOT NULL CHECK (length(name_hash) = 32),   -- SHA-256 of its jti
  org_id uuid NOT NULL REFERENCES organizations,
  expires_at timestamptz NOT NULL,
  PRIMARY KEY (client_id, name_hash)
);
CREATE INDEX client_assertions_by_end ON client_assertions (client_id, expires_at);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['oauth_clients', 'client_assertions']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_organization ON %I TO pulsecal_app
      USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', t);
    EXECUTE format('CREATE POLICY every_organization ON %I TO pulsecal_system USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

-- Which organization a client is of is known only after it is found, so that only the platform's role gets here.
GRANT SELECT, INSERT ON oauth_clients TO pulsecal_system;
GRANT UPDATE (keys, revoked_at) ON oauth_clients TO pulsecal_system;
GRANT SELECT, INSERT, DELETE ON client_assertions TO pulsecal_system;

ALTER TABLE api_tokens ADD COLUMN client_id uuid REFERENCES oauth_clients;
CREATE INDEX api_tokens_by_client ON api_tokens (client_id, expires_at) WHERE client_id IS NOT NULL;
GRANT DELETE ON api_tokens TO pulsecal_system;

-- As before; a client's token is worth nothing when the client is revoked.
DROP FUNCTION find_token(bytea, timestamptz);
CREATE FUNCTION find_token(hash bytea, at timestamptz)
RETURNS TABLE (token_id uuid, org_id uuid, person_id uuid, role text, scopes text[], client_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.token_id, t.org_id, t.person_id, p.role, t.scopes, t.client_id
  FROM public.api_tokens t JOIN public.people p USING (person_id)
  WHERE t.token_hash = hash AND t.expires_at > at AND t.revoked_at IS NULL AND p.active AND NOT p.deceased
    AND NOT EXISTS (SELECT FROM public.oauth_clients c WHERE c.client_id = t.client_id AND c.revoked_at IS NOT NULL)
$$;
REVOKE ALL ON FUNCTION find_token(bytea, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_token(bytea, timestamptz) TO pulsecal_app, pulsecal_system;
