-- Audit entries say in which role somebody acted, by which request, and in which transaction they were written. Entries of
-- the release before have neither role nor request. The default of xid is stable, so old rows all get this migration's, and
-- the table is not rewritten.
ALTER TABLE audit_entries
  ADD COLUMN role text,
  ADD COLUMN request_id uuid,
  ADD COLUMN xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint;
-- Both follow the order in which rows are written, so a few pages tell where to look, and a write costs next to nothing.
CREATE INDEX audit_by_xid ON audit_entries USING brin (xid) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX audit_by_time ON audit_entries USING brin (at) WITH (pages_per_range = 32, autosummarize = on);

-- The chain of each organization: a row for each entry that was sealed, numbered without gaps. The hash covers the entry
-- and the hash before it. The platform's own entries, which have no organization, are in the chain of the nil id.
CREATE TABLE audit_chain (
  org_id uuid NOT NULL,
  seq bigint NOT NULL CHECK (seq > 0),
  entry_id uuid NOT NULL UNIQUE,
  hash bytea NOT NULL CHECK (length(hash) = 32),
  PRIMARY KEY (org_id, seq)
);

-- How often something happened, by hour and by day (UTC). The platform's own is under the nil id.
CREATE TABLE audit_hourly (
  org_id uuid NOT NULL,
  hour timestamptz NOT NULL,
  action text NOT NULL,
  role text NOT NULL,              -- empty: entries of the release that did not write it
  outcome text NOT NULL,
  entries bigint NOT NULL,
  PRIMARY KEY (hour, org_id, action, role, outcome)
);
CREATE TABLE audit_daily (
  org_id uuid NOT NULL,
  day date NOT NULL,
  action text NOT NULL,
  role text NOT NULL,
  outcome text NOT NULL,
  entries bigint NOT NULL,
  PRIMARY KEY (day, org_id, action, role, outcome)
);

-- How far the sealer and the rollup are: whatever was written by a transaction before `xid` is done; the sealer may be
-- within one, after `entry`. Whoever moves a mark holds its row, so there is one sealer and one rollup at a time.
CREATE TABLE audit_marks (
  name text PRIMARY KEY CHECK (name IN ('seal', 'rollup')),
  xid bigint NOT NULL DEFAULT 0,
  entry uuid NOT NULL DEFAULT '00000000-0000-0000-0000-000000000000',
  moved_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO audit_marks (name) VALUES ('seal'), ('rollup');

-- Nobody changes or removes entries and links of the chain: the processes' roles are not granted it, and the owner, who could
-- grant it to itself, is refused as well.
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  RAISE insufficient_privilege USING MESSAGE = format('%s is append-only: %s is refused', TG_TABLE_NAME, TG_OP);
END $$;
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['audit_entries', 'audit_chain'] LOOP
    EXECUTE format('CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse()', t);
  END LOOP;
  FOREACH t IN ARRAY ARRAY['audit_chain', 'audit_hourly', 'audit_daily'] LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_organization ON %I TO pulsecal_app
      USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', t);
    EXECUTE format('CREATE POLICY every_organization ON %I TO pulsecal_system USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT ON audit_chain, audit_hourly, audit_daily TO pulsecal_app;
GRANT SELECT, INSERT ON audit_chain TO pulsecal_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON audit_hourly, audit_daily TO pulsecal_system;
GRANT SELECT, UPDATE ON audit_marks TO pulsecal_system;
