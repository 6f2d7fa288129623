-- Functions in SQL are planned anew at every call, at several times the cost of what they do; of those in PL/pgSQL the plan is kept.
-- Every request begins with one of the first two, and every visit that is written calls the third. What they say is as before.

CREATE OR REPLACE FUNCTION find_token(hash bytea, at timestamptz)
RETURNS TABLE (token_id uuid, org_id uuid, person_id uuid, role text, scopes text[], client_id uuid)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = public, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
  SELECT t.token_id, t.org_id, t.person_id, p.role, t.scopes, t.client_id
  FROM public.api_tokens t JOIN public.people p USING (person_id)
  WHERE t.token_hash = hash AND t.expires_at > at AND t.revoked_at IS NULL AND p.active AND NOT p.deceased
    AND NOT EXISTS (SELECT FROM public.oauth_clients c WHERE c.client_id = t.client_id AND c.revoked_at IS NOT NULL);
END $$;

CREATE OR REPLACE FUNCTION find_session(hash bytea, at timestamptz)
RETURNS TABLE (session_id uuid, org_id uuid, person_id uuid, account_id uuid, role text, name text, organization text, scopes text[],
  seen_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = public, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
  SELECT s.session_id, s.org_id, s.person_id, s.account_id, p.role, p.given_name || ' ' || p.family_name, o.name, t.scopes, s.seen_at
  FROM public.sessions s
  JOIN public.people p ON p.person_id = s.person_id
  JOIN public.organizations o ON o.org_id = s.org_id
  LEFT JOIN public.api_tokens t ON t.token_id = s.token_id
  WHERE s.secret_hash = hash AND s.revoked_at IS NULL AND s.expires_at > at AND s.seen_at + make_interval(secs => s.idle_seconds) > at
    AND CASE WHEN s.account_id IS NULL THEN t.revoked_at IS NULL AND t.expires_at > at ELSE p.account_id = s.account_id END
    AND p.active AND NOT p.deceased;
END $$;

CREATE OR REPLACE FUNCTION doctor_hours(doctor uuid, starts_at timestamptz, ends_at timestamptz) RETURNS numrange
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  hex text := translate(doctor::text, '-', '');
  place numeric := ('x' || left(hex, 16))::bit(64)::bigint * 1e39 + ('x' || right(hex, 16))::bit(64)::bigint * 1e18;
BEGIN
  RETURN numrange(place + extract(epoch FROM starts_at AT TIME ZONE 'UTC'), place + extract(epoch FROM ends_at AT TIME ZONE 'UTC'));
END $$;

-- Claims a key of docs/decisions/0019-idempotency-keys.md in a transaction of its own, so that this is one statement: hence it says
-- itself whose rows it sees. Its commit does not wait for the disk; that of the write does, and of all before it.
CREATE FUNCTION claim_key(of_org uuid, of_person uuid, of_key text, hash bytea, request uuid, at timestamptz, stale timestamptz, over timestamptz)
RETURNS TABLE (mine boolean, of_hash bytea, status smallint, headers jsonb, body bytea)
LANGUAGE plpgsql ROWS 1 SET search_path = public, pg_temp AS $$
#variable_conflict use_column
BEGIN
  PERFORM set_config('app.orgs', of_org::text, true), set_config('synchronous_commit', 'off', true);
  INSERT INTO idempotency_keys AS k (org_id, person_id, key, request_hash, request_id, claimed_at)
  VALUES (of_org, of_person, of_key, hash, request, at)
  ON CONFLICT (org_id, person_id, key) DO UPDATE
  SET request_hash = excluded.request_hash, request_id = excluded.request_id, claimed_at = excluded.claimed_at,
    status = NULL, headers = NULL, body = NULL
  WHERE k.claimed_at < over OR (k.status IS NULL AND k.claimed_at < stale AND k.request_hash = excluded.request_hash);
  IF FOUND THEN
    RETURN QUERY SELECT true, NULL::bytea, NULL::smallint, NULL::jsonb, NULL::bytea;
  ELSE
    RETURN QUERY SELECT false, k.request_hash, k.status, k.headers, k.body FROM idempotency_keys k
      WHERE k.org_id = of_org AND k.person_id = of_person AND k.key = of_key
      UNION ALL SELECT false, NULL, NULL, NULL, NULL LIMIT 1;
  END IF;
END $$;
REVOKE ALL ON FUNCTION claim_key(uuid, uuid, text, bytea, uuid, timestamptz, timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION claim_key(uuid, uuid, text, bytea, uuid, timestamptz, timestamptz, timestamptz) TO pulsecal_app;
