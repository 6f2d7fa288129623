-- The ledger. `jobs` is the small hot table of live jobs; a job that ended moves to `job_history`.
--   scheduled: worker is null, run_at in the future     ready: worker is null, run_at has come     running: worker is set
-- worker, attempt and started_at stand in no index, and half of each page is free for a second version of its rows, so that
-- a claim is a heap-only update.
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
  crashes smallint NOT NULL DEFAULT 0,  -- how often its worker died with it; at 1 it runs in a small group, from 2 on alone of its sort
  cancel_asked boolean NOT NULL DEFAULT false,
  worker uuid,
  started_at timestamptz,
  unique_key text,
  trace text,
  enqueued_at timestamptz NOT NULL,
  last_error text
) WITH (fillfactor = 45, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
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
-- One partition for each UTC month, made ahead by the job keep_history; this one catches what has no month yet.
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
CREATE INDEX job_retries_ended ON job_retries (ended_at);  -- what is too old is deleted by batches

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

-- Keeping the history. The roles of the processes own no table, so what makes and drops partitions runs as the owner, is
-- told dates only, and refuses dates that make no sense. Every lock is waited for 3 s at most: who waits for an exclusive
-- lock holds up all that come after.

-- A partition is reached through its parent only: nobody is granted anything on it, and if somebody were, row-level
-- security would hold all the same.
CREATE FUNCTION job_history_seal(part regclass) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
  EXECUTE format('REVOKE ALL ON TABLE %s FROM PUBLIC, pulsecal_app, pulsecal_system', part);
  EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', part);
  EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', part);
  EXECUTE format('CREATE POLICY own_organization ON %s TO pulsecal_app
    USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', part);
  EXECUTE format('CREATE POLICY every_organization ON %s TO pulsecal_system USING (true) WITH CHECK (true)', part);
END $$;

-- Makes the partition of a month and moves into it what the default partition has of it. Outcome: 'made'; 'there', if there
-- is one; 'too_many', if so many rows would have to move that others would wait for long: they stay where they are.
CREATE FUNCTION job_history_make_month(month date, OUT outcome text, OUT moved bigint) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET lock_timeout = '3s' AS $$
DECLARE
  most CONSTANT bigint := 100000;
  part text := to_char(month, '"job_history_y"YYYY"m"MM');
  starts timestamptz := month::timestamp;
  ends timestamptz := month + interval '1 month';
BEGIN
  IF month IS NULL OR month < '2000-01-01' OR month > now() + interval '12 months' OR extract(day FROM month) <> 1 THEN
    RAISE invalid_parameter_value USING MESSAGE = 'a partition begins on the first of a month, from 2000 on, at most a year ahead';
  END IF;
  moved := 0;
  outcome := 'there';
  IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'public.job_history'::regclass AND inhrelid = to_regclass('public.' || part)) THEN
    RETURN;
  END IF;
  SELECT count(*) > most INTO outcome
    FROM (SELECT FROM public.job_history_rest WHERE ended_at >= starts AND ended_at < ends LIMIT most + 1) AS few;
  IF outcome::boolean THEN
    outcome := 'too_many';
    RETURN;
  END IF;
  -- The parent first, as everybody locks it; this also lets one keeper in at a time.
  LOCK TABLE ONLY public.job_history IN SHARE UPDATE EXCLUSIVE MODE;
  outcome := 'there';
  IF EXISTS (SELECT FROM pg_inherits WHERE inhparent = 'public.job_history'::regclass AND inhrelid = to_regclass('public.' || part)) THEN
    RETURN;
  END IF;
  LOCK TABLE public.job_history_rest IN ACCESS EXCLUSIVE MODE;
  EXECUTE format('CREATE TABLE public.%I (LIKE public.job_history INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part);
  EXECUTE format('WITH gone AS (DELETE FROM public.job_history_rest WHERE ended_at >= $1 AND ended_at < $2 RETURNING *)
    INSERT INTO public.%I SELECT * FROM gone', part) USING starts, ends;
  GET DIAGNOSTICS moved = ROW_COUNT;
  -- Attached rather than made as a partition, which would lock the whole history exclusively.
  EXECUTE format('ALTER TABLE public.job_history ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', part, starts, ends);
  PERFORM public.job_history_seal(format('public.%I', part)::regclass);
  outcome := 'made';
END $$;

-- The months of which the default partition has rows. Reads all of it; it is nearly always empty.
CREATE FUNCTION job_history_rest_months() RETURNS SETOF date LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' AS
  $$ SELECT DISTINCT date_trunc('month', ended_at)::date FROM public.job_history_rest $$;

-- Whether history before this date may go: whole months, and never one that is younger than a month.
CREATE FUNCTION job_history_check_limit(before date) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
BEGIN
  IF before IS NULL OR extract(day FROM before) <> 1 OR before > date_trunc('month', now() - interval '1 month') THEN
    RAISE invalid_parameter_value USING MESSAGE = 'history goes by whole months, and stays for a month at least';
  END IF;
END $$;

-- Drops the oldest month that ended by `before`, and says which it was; null: there is none.
CREATE FUNCTION job_history_drop_month(before date) RETURNS date LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' SET datestyle = 'ISO, YMD' SET lock_timeout = '3s' AS $$
DECLARE
  oldest date;
BEGIN
  PERFORM public.job_history_check_limit(before);
  FOR look IN 1..2 LOOP
    -- By its bounds, not by its name alone.
    SELECT min(p.month) INTO oldest FROM (
      SELECT make_date(name[1]::int, name[2]::int, 1) AS month, pg_get_expr(c.relpartbound, c.oid) AS bounds
      FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid,
        regexp_match(c.relname, '^job_history_y(\d{4})m(0[1-9]|1[0-2])$') AS name
      WHERE i.inhparent = 'public.job_history'::regclass
    ) AS p WHERE p.month + interval '1 month' <= before
      AND p.bounds = format('FOR VALUES FROM (%L) TO (%L)', p.month::timestamptz, (p.month + interval '1 month')::timestamptz);
    EXIT WHEN oldest IS NULL;
    -- Nothing is locked while there is nothing to drop; what was found is looked for again behind the lock.
    LOCK TABLE ONLY public.job_history IN ACCESS EXCLUSIVE MODE;
  END LOOP;
  IF oldest IS NOT NULL THEN
    EXECUTE format('DROP TABLE public.%I', to_char(oldest, '"job_history_y"YYYY"m"MM'));
  END IF;
  RETURN oldest;
END $$;

-- Deletes from the default partition, and of the tries, what ended before this date: 5,000 rows of each at most.
CREATE FUNCTION job_history_trim(before date, OUT ended bigint, OUT tries bigint) LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '3s' AS $$
BEGIN
  PERFORM public.job_history_check_limit(before);
  DELETE FROM public.job_history_rest
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM public.job_history_rest WHERE ended_at < before::timestamp LIMIT 5000));
  GET DIAGNOSTICS ended = ROW_COUNT;
  DELETE FROM public.job_retries
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM public.job_retries WHERE ended_at < before::timestamp ORDER BY ended_at LIMIT 5000));
  GET DIAGNOSTICS tries = ROW_COUNT;
END $$;

REVOKE ALL ON FUNCTION job_history_seal(regclass), job_history_make_month(date), job_history_rest_months(),
  job_history_check_limit(date), job_history_drop_month(date), job_history_trim(date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION job_history_make_month(date), job_history_rest_months(), job_history_drop_month(date),
  job_history_trim(date) TO pulsecal_system;

DO $$
BEGIN
  PERFORM job_history_seal('job_history_rest');
  -- This month and the two after it, in UTC.
  PERFORM job_history_make_month((date_trunc('month', now() AT TIME ZONE 'UTC') + make_interval(months => ahead))::date)
    FROM generate_series(0, 2) AS ahead;
END $$;
