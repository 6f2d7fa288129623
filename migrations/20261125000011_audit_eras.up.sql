-- Numbers of transactions begin anew in another cluster. A database that was restored into one would have marks that lie
-- ahead of its transactions, and what is written there would be neither sealed nor counted. So the marks know their cluster,
-- and where it is another one, numbering goes on above the highest number that was ever written.
ALTER TABLE audit_marks
  ADD COLUMN cluster bigint NOT NULL DEFAULT 0,   -- pg_control_system(); 0: not looked yet
  ADD COLUMN ahead bigint NOT NULL DEFAULT 0;     -- what is added to the cluster's own numbers

-- Changes the default of audit_entries.xid, which only the owner may. Behind the lock every entry is committed and seen, and
-- whoever writes next takes a higher number than all of them. Both marks go back to the start: the sealer passes over what is
-- in the chain, and the rollup counts anew. True: there was something to do.
CREATE FUNCTION audit_new_era() RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET lock_timeout = '3s' AS $$
DECLARE
  here bigint;
  most bigint;
  add bigint;
BEGIN
  SELECT system_identifier INTO here FROM pg_control_system();
  PERFORM FROM public.audit_marks ORDER BY name FOR UPDATE;
  IF NOT EXISTS (SELECT FROM public.audit_marks WHERE cluster <> here) THEN
    RETURN false;
  END IF;
  IF NOT EXISTS (SELECT FROM public.audit_marks WHERE cluster <> 0) THEN
    UPDATE public.audit_marks SET cluster = here;
    RETURN false;
  END IF;
  LOCK TABLE public.audit_entries IN ACCESS EXCLUSIVE MODE;
  SELECT greatest(max(m.xid), (SELECT max(e.xid) FROM public.audit_entries e)) + 1 INTO most FROM public.audit_marks m;
  add := greatest(most - pg_snapshot_xmin(pg_current_snapshot())::text::bigint, 0);
  EXECUTE format('ALTER TABLE public.audit_entries ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint + %s', add);
  DELETE FROM public.audit_hourly;
  DELETE FROM public.audit_daily;
  UPDATE public.audit_marks SET cluster = here, ahead = add, xid = 0, entry = '00000000-0000-0000-0000-000000000000', moved_at = now();
  RETURN true;
END $$;
REVOKE ALL ON FUNCTION audit_new_era() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_new_era() TO pulsecal_system;

-- Everything written by transactions before this one is committed, or will never be.
CREATE FUNCTION audit_horizon() RETURNS bigint LANGUAGE sql STABLE SET search_path = public, pg_temp AS
  $$ SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint + ahead FROM public.audit_marks WHERE name = 'seal' $$;
REVOKE ALL ON FUNCTION audit_horizon() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit_horizon() TO pulsecal_system;
