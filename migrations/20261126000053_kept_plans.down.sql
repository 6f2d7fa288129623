DROP FUNCTION claim_key(uuid, uuid, text, bytea, uuid, timestamptz, timestamptz, timestamptz);

CREATE OR REPLACE FUNCTION find_token(hash bytea, at timestamptz)
RETURNS TABLE (token_id uuid, org_id uuid, person_id uuid, role text, scopes text[], client_id uuid)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.token_id, t.org_id, t.person_id, p.role, t.scopes, t.client_id
  FROM public.api_tokens t JOIN public.people p USING (person_id)
  WHERE t.token_hash = hash AND t.expires_at > at AND t.revoked_at IS NULL AND p.active AND NOT p.deceased
    AND NOT EXISTS (SELECT FROM public.oauth_clients c WHERE c.client_id = t.client_id AND c.revoked_at IS NOT NULL)
$$;

CREATE OR REPLACE FUNCTION find_session(hash bytea, at timestamptz)
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

CREATE OR REPLACE FUNCTION doctor_hours(doctor uuid, starts_at timestamptz, ends_at timestamptz) RETURNS numrange
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT numrange(place + extract(epoch FROM starts_at AT TIME ZONE 'UTC'), place + extract(epoch FROM ends_at AT TIME ZONE 'UTC'))
  FROM (SELECT ('x' || left(hex, 16))::bit(64)::bigint * 1e39 + ('x' || right(hex, 16))::bit(64)::bigint * 1e18 AS place
        FROM translate(doctor::text, '-', '') AS hex) AS line
$$;
