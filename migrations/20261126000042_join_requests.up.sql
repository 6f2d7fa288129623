-- Doctors ask to join another organization; its administrators approve or deny. A request is the organization's that is asked,
-- and says who asks, as their own organization and account know them. Ended ones stay: that is the history.
CREATE TABLE join_requests (
  join_request_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  account_id uuid NOT NULL REFERENCES accounts,
  from_person_id uuid NOT NULL REFERENCES people,
  given_name text NOT NULL,
  family_name text NOT NULL,
  email text NOT NULL,             -- the account's
  email_verified boolean NOT NULL,
  message text CHECK (length(message) BETWEEN 1 AND 1000),
  state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'denied', 'withdrawn')),
  asked_at timestamptz NOT NULL,
  decided_at timestamptz,
  decided_by uuid REFERENCES people,
  note text CHECK (length(note) BETWEEN 1 AND 1000),   -- why, as the doctor is told
  person_id uuid REFERENCES people,                    -- who they are here, once approved
  version int NOT NULL DEFAULT 1,
  CHECK ((state = 'open') = (decided_at IS NULL)),
  CHECK ((state IN ('approved', 'denied')) = (decided_by IS NOT NULL)),
  CHECK ((state = 'approved') = (person_id IS NOT NULL))
);
CREATE UNIQUE INDEX join_requests_one_open ON join_requests (org_id, account_id) WHERE state = 'open';
CREATE INDEX join_requests_newest ON join_requests (org_id, asked_at DESC, join_request_id DESC);
CREATE INDEX join_requests_by_account ON join_requests (account_id, asked_at DESC, join_request_id DESC);

ALTER TABLE join_requests ENABLE ROW LEVEL SECURITY;
ALTER TABLE join_requests FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON join_requests TO pulsecal_app
  USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]));
CREATE POLICY every_organization ON join_requests TO pulsecal_system USING (true) WITH CHECK (true);
GRANT SELECT, UPDATE ON join_requests TO pulsecal_app;
GRANT SELECT ON join_requests TO pulsecal_system;

-- The three functions run as the owner, since who asks sees their own organization only, and nothing of accounts. Each takes a
-- person of the transaction's organizations, and reaches that person's account and no other.

-- Asks. Says what came of it: asked, no_account, no_organization, member, open, or too_many.
CREATE FUNCTION ask_to_join(request uuid, asked_org uuid, asker uuid, words text, at timestamptz) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE who record;
BEGIN
  SELECT p.org_id, p.account_id, p.given_name, p.family_name, a.email, a.verified_at IS NOT NULL AS verified INTO who
    FROM public.people p JOIN public.accounts a USING (account_id)
    WHERE p.person_id = asker AND p.org_id = ANY (public.current_orgs()) AND p.active AND NOT p.deceased
    FOR NO KEY UPDATE OF a;      -- whoever asks twice at once asks one after the other
  IF NOT FOUND THEN RETURN 'no_account'; END IF;
  IF NOT EXISTS (SELECT FROM public.organizations WHERE org_id = asked_org) THEN RETURN 'no_organization'; END IF;
  IF EXISTS (SELECT FROM public.people WHERE org_id = asked_org AND account_id = who.account_id AND role <> 'patient' AND active)
    THEN RETURN 'member'; END IF;
  IF EXISTS (SELECT FROM public.join_requests WHERE org_id = asked_org AND account_id = who.account_id AND state = 'open')
    THEN RETURN 'open'; END IF;
  IF (SELECT count(*) FROM public.join_requests WHERE account_id = who.account_id AND state = 'open') >= 20
    OR (SELECT count(*) FROM public.join_requests WHERE account_id = who.account_id AND org_id = asked_org AND asked_at > at - interval '30 days') >= 5
    THEN RETURN 'too_many'; END IF;
  INSERT INTO public.join_requests (join_request_id, org_id, account_id, from_person_id, given_name, family_name, email, email_verified, message, asked_at)
    VALUES (request, asked_org, who.account_id, asker, who.given_name, who.family_name, who.email, who.verified, words, at);
  RETURN 'asked';
END $$;

-- The requests of the asker's account, newest first.
CREATE FUNCTION own_join_requests(asker uuid, before_at timestamptz, before_id uuid, most bigint) RETURNS SETOF join_requests
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT j.* FROM public.people p JOIN public.join_requests j USING (account_id)
  WHERE p.person_id = asker AND p.org_id = ANY (public.current_orgs())
    AND (before_at IS NULL OR (j.asked_at, j.join_request_id) < (before_at, before_id))
  ORDER BY j.asked_at DESC, j.join_request_id DESC LIMIT most
$$;

-- Takes an open request back, and gives it as it is then. Nothing: there is none that is open.
CREATE FUNCTION withdraw_join_request(request uuid, asker uuid, at timestamptz) RETURNS SETOF join_requests
LANGUAGE sql VOLATILE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  UPDATE public.join_requests j SET state = 'withdrawn', decided_at = at, version = j.version + 1
  FROM public.people p
  WHERE j.join_request_id = request AND j.state = 'open' AND p.person_id = asker AND p.org_id = ANY (public.current_orgs())
    AND p.account_id = j.account_id
  RETURNING j.*
$$;

REVOKE ALL ON FUNCTION ask_to_join(uuid, uuid, uuid, text, timestamptz), own_join_requests(uuid, timestamptz, uuid, bigint),
  withdraw_join_request(uuid, uuid, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ask_to_join(uuid, uuid, uuid, text, timestamptz), own_join_requests(uuid, timestamptz, uuid, bigint),
  withdraw_join_request(uuid, uuid, timestamptz) TO pulsecal_app;
