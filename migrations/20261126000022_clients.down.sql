DROP FUNCTION find_token(bytea, timestamptz);
-- Tokens of clients are good for five minutes; without clients they are nobody's.
DELETE FROM api_tokens WHERE client_id IS NOT NULL;
REVOKE DELETE ON api_tokens FROM pulsecal_system;
DROP INDEX api_tokens_by_client;
ALTER TABLE api_tokens DROP COLUMN client_id;
DROP TABLE client_assertions, oauth_clients;
CREATE FUNCTION find_token(hash bytea, at timestamptz)
RETURNS TABLE (token_id uuid, org_id uuid, person_id uuid, role text, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.token_id, t.org_id, t.person_id, p.role, t.scopes
  FROM public.api_tokens t JOIN public.people p USING (person_id)
  WHERE t.token_hash = hash AND t.expires_at > at AND t.revoked_at IS NULL AND p.active AND NOT p.deceased
$$;
REVOKE ALL ON FUNCTION find_token(bytea, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_token(bytea, timestamptz) TO pulsecal_app, pulsecal_system;
