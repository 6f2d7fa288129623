-- Runs of the backup, for operators to look at. What is a backup is told by the manifests in the blob store, also when this
-- table is gone; a row is only what became of a run.
CREATE TABLE backups (
  backup_id uuid PRIMARY KEY,
  database_name text NOT NULL,
  state text NOT NULL CHECK (state IN ('running', 'succeeded', 'failed', 'deleted')),
  started_at timestamptz NOT NULL,
  ended_at timestamptz,
  problem text,
  bytes bigint,                    -- of the encrypted dump
  tables int,
  rows bigint,
  verified_at timestamptz,         -- read back from the store, every byte of it
  drilled_at timestamptz,          -- restored, and each table compared
  drill_seconds double precision,  -- how long the restore took: what a recovery takes at least
  newest_row_at timestamptz,       -- the youngest time that the drill found in it
  drill_problem text
);
CREATE INDEX backups_newest ON backups (started_at DESC);

-- Whether something is wrong that must be told once, not each minute.
CREATE TABLE alarms (
  name text PRIMARY KEY,
  raised boolean NOT NULL,
  since timestamptz NOT NULL,
  detail text NOT NULL DEFAULT ''
);

-- The platform's own: no organization, and not for the role of requests.
GRANT SELECT, INSERT, UPDATE ON backups, alarms TO pulsecal_system;
