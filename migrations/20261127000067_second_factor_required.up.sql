-- An organization may ask its staff for a second factor: whoever has none gets to no page but the one that switches it on.
ALTER TABLE organizations ADD COLUMN second_factor_required boolean NOT NULL DEFAULT false;

DROP FUNCTION find_session(bytea, timestamptz);
CREATE FUNCTION find_session(hash bytea, at timestamptz)
RETURNS TABLE (session_id uuid, org_id uuid, person_id uuid, account_id uuid, role text, name text, organization text, scopes text[],
  seen_at timestamptz, lacks_factor boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = public, pg_temp SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN RETURN QUERY
  SELECT s.session_id, s.org_id, s.person_id, s.account_id, p.role, p.given_name || ' ' || p.family_name, o.name, t.scopes, s.seen_at,
    o.second_factor_required AND p.role <> 'patient' AND s.account_id IS NOT NULL AND NOT EXISTS
      (SELECT FROM public.account_factors f WHERE f.account_id = s.account_id AND f.confirmed_at IS NOT NULL)
  FROM public.sessions s
  JOIN public.people p ON p.person_id = s.person_id
  JOIN public.organizations o ON o.org_id = s.org_id
  LEFT JOIN public.api_tokens t ON t.token_id = s.token_id
  WHERE s.secret_hash = hash AND s.revoked_at IS NULL AND s.expires_at > at AND s.seen_at + make_interval(secs => s.idle_seconds) > at
    AND CASE WHEN s.account_id IS NULL THEN t.revoked_at IS NULL AND t.expires_at > at ELSE p.account_id = s.account_id END
    AND p.active AND NOT p.deceased;
END $$;
REVOKE ALL ON FUNCTION find_session(bytea, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_session(bytea, timestamptz) TO pulsecal_app, pulsecal_system;
