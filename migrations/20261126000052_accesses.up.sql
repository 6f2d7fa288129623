-- Who saw a patient's record, or changed it. A look at a list names its patients in `detail`; an index finds those of one.
CREATE INDEX audit_by_patient ON audit_entries USING gin ((detail -> 'patients') jsonb_path_ops) WHERE detail ? 'patients';

-- Row-level security keeps such an index from whoever it is about: its operator is not one that may look at rows before the policy
-- has. So this runs as the owner, and asks itself whether the organization is one that the transaction sees.
CREATE FUNCTION accesses_of(patient uuid, org uuid, since timestamptz, until timestamptz, before_at timestamptz, before_id uuid, most int)
RETURNS TABLE (id uuid, at timestamptz, actor_kind text, actor_id uuid, role text, action text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT e.id, e.at, e.actor_kind, e.actor_id, e.role, e.action
  FROM (
    SELECT * FROM public.audit_entries WHERE detail ? 'patients' AND detail -> 'patients' @> to_jsonb(patient::text)
    UNION ALL
    SELECT * FROM public.audit_entries WHERE subject_id = patient AND NOT coalesce(detail ? 'patients', false)
  ) AS e
  WHERE e.org_id = org AND org = ANY (current_orgs()) AND e.outcome = 'success'
    AND (since IS NULL OR e.at >= since) AND (until IS NULL OR e.at < until)
    AND (before_at IS NULL OR (e.at, e.id) < (before_at, before_id))
  ORDER BY e.at DESC, e.id DESC LIMIT most
$$;
REVOKE ALL ON FUNCTION accesses_of(uuid, uuid, timestamptz, timestamptz, timestamptz, uuid, int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION accesses_of(uuid, uuid, timestamptz, timestamptz, timestamptz, uuid, int) TO pulsecal_app, pulsecal_system;
