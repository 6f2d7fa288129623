-- Report exports: one row for each file that somebody asked for. Who asked, what for, how far it is, and where the file is.
CREATE TABLE exports (
  export_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  asked_by uuid NOT NULL REFERENCES people,
  report text NOT NULL CHECK (report IN ('appointments')),
  format text NOT NULL CHECK (format IN ('csv', 'xlsx', 'pdf')),
  spec jsonb NOT NULL,             -- filters, columns, zone, options: ids, words and times only
  state text NOT NULL DEFAULT 'queued' CHECK (state IN ('queued', 'running', 'succeeded', 'failed', 'cancelled', 'expired')),
  job_id uuid NOT NULL,            -- who writes it …
  attempt int NOT NULL DEFAULT 0,  -- … and at which try, counted here: what an older try reports changes nothing
  object text,                     -- its place in the blob store, named before the first byte is written
  phase text NOT NULL DEFAULT 'waiting' CHECK (phase IN ('waiting', 'counting', 'writing', 'storing', 'over')),
  rows_done bigint NOT NULL DEFAULT 0,
  rows_estimated bigint,
  bytes bigint NOT NULL DEFAULT 0,
  as_of timestamptz,               -- the moment that the rows show
  sha256 text,                     -- of the file as it is downloaded
  notes jsonb NOT NULL DEFAULT '[]',  -- what the reader of the file should know, in words
  problem text,                    -- why it is not there, in words
  created_at timestamptz NOT NULL,
  started_at timestamptz,
  ended_at timestamptz,
  expires_at timestamptz,          -- when the file is deleted
  CHECK (state NOT IN ('succeeded', 'expired') OR (sha256 IS NOT NULL AND expires_at IS NOT NULL))
);
CREATE INDEX exports_newest ON exports (org_id, created_at DESC, export_id DESC);
CREATE INDEX exports_live ON exports (org_id) WHERE state IN ('queued', 'running');
CREATE INDEX exports_to_expire ON exports (expires_at) WHERE state = 'succeeded';

ALTER TABLE exports ENABLE ROW LEVEL SECURITY;
ALTER TABLE exports FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON exports TO pulsecal_app
  USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]));
CREATE POLICY every_organization ON exports TO pulsecal_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON exports TO pulsecal_app, pulsecal_system;
