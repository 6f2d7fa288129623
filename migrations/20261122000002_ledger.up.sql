-- The ledger. `jobs` is the small hot table of live jobs; a job that ended moves to `job_history`.
--   scheduled: worker is null, run_at in the future     ready: worker is null, run_at has come     running: worker is set
-- worker, attempt and started_at stand in no index, so that a claim is a heap-only update.
CREATE TABLE jobs (
  id uuid PRIMARY KEY,
  kind text NOT NULL,
  queue text NOT NULL,
  priority smallint NOT NULL DEFAULT 1 CHECK (priority BETWEEN 0 AND 2),  -- 0 first
  args jsonb NOT NULL,             -- ids only
  org_id uuid,                     -- null: belongs to the platform
  run_at timestamptz NOT NULL,
  expires_at timestamptz,
  attempt int NOT NULL DEFAULT 0,  -- counted at claim; with the worker, the fencing token
  max_attempts int NOT NULL CHECK (max_attempts BETWEEN 1 AND 1000),
  crashes smallint NOT NULL DEFAULT 0,  -- how often its worker died with it; above 0 it runs alone of its sort
  cancel_asked boolean NOT NULL DEFAULT false,
  worker uuid,
  started_at timestamptz,
  unique_key text,
  trace text,
  enqueued_at timestamptz NOT NULL,
  last_error text
) WITH (fillfactor = 60, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
        autovacuum_vacuum_cost_delay = 0, autovacuum_analyze_scale_factor = 0.2);
CREATE UNIQUE INDEX jobs_one_live ON jobs (kind, unique_key) WHERE unique_key IS NOT NULL;
CREATE INDEX jobs_due ON jobs (queue, priority, run_at, id);

CREATE TABLE job_history (
  id uuid NOT NULL,
  kind text NOT NULL,
  queue text NOT NULL,
  priority smallint NOT NULL,
  args jsonb NOT NULL,
  org_id uuid,
  run_at timestamptz NOT NULL,
  expires_at timestamptz,
  attempt int NOT NULL,
  max_attempts int NOT NULL,
  crashes smallint NOT NULL,
  worker uuid,
  started_at timestamptz,
  unique_key text,
  trace text,
  enqueued_at timestamptz NOT NULL,
  last_error text,
  state text NOT NULL CHECK (state IN ('done', 'dead', 'cancelled', 'expired')),
  ended_at timestamptz NOT NULL
) PARTITION BY RANGE (ended_at);
CREATE TABLE job_history_rest PARTITION OF job_history DEFAULT;
CREATE INDEX job_history_id ON job_history (id);
CREATE INDEX job_history_ended ON job_history USING brin (ended_at);
CREATE INDEX job_history_not_done ON job_history (state, ended_at) WHERE state <> 'done';

-- Tries that did not end their job; the last try is the job's own row. `job_attempts` shows all.
CREATE TABLE job_retries (
  job_id uuid NOT NULL,
  attempt int NOT NULL,
  worker uuid,
  started_at timestamptz,
  ended_at timestamptz NOT NULL,
  outcome text NOT NULL CHECK (outcome IN ('retry', 'snoozed', 'lost', 'given_back')),
  org_id uuid,
  error text
);
CREATE INDEX job_retries_job ON job_retries (job_id);

CREATE TABLE processes (
  process_id uuid PRIMARY KEY,
  kind text NOT NULL CHECK (kind IN ('api', 'worker', 'scheduler')),
  host text NOT NULL,
  pid int NOT NULL,
  queues text NOT NULL DEFAULT '',
  started_at timestamptz NOT NULL,
  beat_at timestamptz NOT NULL,
  stopping boolean NOT NULL DEFAULT false
);

-- One row: the belt's epoch, mirrored in Redis, and who feeds the belt at the moment (a hint that saves work, not a lock).
CREATE TABLE belt_state (
  only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
  epoch text NOT NULL,
  feeder uuid,
  feeder_until timestamptz
);
INSERT INTO belt_state (epoch) VALUES ('none');

CREATE TABLE schedules (
  name text PRIMARY KEY,
  cron text NOT NULL,
  zone text NOT NULL,
  job_kind text NOT NULL,
  args jsonb NOT NULL DEFAULT '{}',
  enabled boolean NOT NULL DEFAULT true,
  overlap text NOT NULL DEFAULT 'skip' CHECK (overlap IN ('skip', 'allow')),
  misfire text NOT NULL DEFAULT 'coalesce' CHECK (misfire ~ '^(coalesce|skip|catch_up:[1-9][0-9]{0,3})$'),
  window_seconds int NOT NULL DEFAULT 86400,
  gap text NOT NULL DEFAULT 'after' CHECK (gap IN ('after', 'skip')),
  fold text NOT NULL DEFAULT 'first' CHECK (fold IN ('first', 'second', 'both')),
  decided_until timestamptz NOT NULL,  -- every slot up to here has its row
  next_slot timestamptz,               -- what the tick looks for
  changed_by_operator boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL
);
CREATE INDEX schedules_next ON schedules (next_slot) WHERE enabled;

CREATE TABLE schedule_slots (
  schedule text NOT NULL REFERENCES schedules ON UPDATE CASCADE ON DELETE CASCADE,
  slot_at timestamptz NOT NULL,
  decision text NOT NULL CHECK (decision IN ('fired', 'missed')),
  reason text,
  job_id uuid,
  decided_at timestamptz NOT NULL,
  PRIMARY KEY (schedule, slot_at)   -- this row is what makes one firing
);

-- Every job that is or was, as people look at it.
CREATE VIEW job_list WITH (security_invoker = true) AS
  SELECT id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes, worker, started_at,
    unique_key, trace, enqueued_at, last_error,
    CASE WHEN worker IS NOT NULL THEN 'running' WHEN run_at > now() THEN 'scheduled' ELSE 'ready' END AS state,
    NULL::timestamptz AS ended_at FROM jobs
  UNION ALL
  SELECT id, kind, queue, priority, args, org_id, run_at, expires_at, attempt, max_attempts, crashes, worker, started_at,
    unique_key, trace, enqueued_at, last_error, state, ended_at FROM job_history;

CREATE VIEW job_attempts WITH (security_invoker = true) AS
  SELECT job_id, attempt, worker, started_at, ended_at, outcome, error FROM job_retries
  UNION ALL
  SELECT id, attempt, worker, started_at, ended_at, state, last_error FROM job_history WHERE attempt > 0
  UNION ALL
  SELECT id, attempt, worker, started_at, NULL, 'running', NULL FROM jobs WHERE worker IS NOT NULL;

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['jobs', 'job_history', 'job_retries']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_organization ON %I TO pulsecal_app
      USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', t);
    EXECUTE format('CREATE POLICY every_organization ON %I TO pulsecal_system USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE, DELETE ON jobs TO pulsecal_app, pulsecal_system;
GRANT SELECT, INSERT ON job_history, job_retries TO pulsecal_app, pulsecal_system;
GRANT SELECT ON job_list, job_attempts, schedules, schedule_slots TO pulsecal_app;
GRANT SELECT ON job_list, job_attempts TO pulsecal_system;
GRANT SELECT, INSERT, UPDATE, DELETE ON processes TO pulsecal_app, pulsecal_system;
GRANT SELECT, UPDATE ON belt_state TO pulsecal_system;
GRANT SELECT, INSERT, UPDATE ON schedules TO pulsecal_system;
GRANT SELECT, INSERT, UPDATE (job_id) ON schedule_slots TO pulsecal_system;
