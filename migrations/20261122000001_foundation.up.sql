-- The two roles that the processes run as. Both are NOLOGIN: a process signs in with its own login and takes
-- the role at connect. Neither owns a table, is superuser, nor bypasses row-level security.
--   pulsecal_app     sees only the organizations named in app.orgs of its transaction
--   pulsecal_system  the ledger's and the planner's: crosses organizations, used by worker, scheduler, cli
DO $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('pulsecal roles'));
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pulsecal_app') THEN
    BEGIN CREATE ROLE pulsecal_app NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END;
  END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'pulsecal_system') THEN
    BEGIN CREATE ROLE pulsecal_system NOLOGIN; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END;
  END IF;
  -- The owner takes these roles at connect, and meets row-level security as their member: it is forced for owners too.
  IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
    EXECUTE format('GRANT pulsecal_app, pulsecal_system TO %I', current_user);
  END IF;
END $$;

GRANT USAGE ON SCHEMA public TO pulsecal_app, pulsecal_system;

-- The organizations that this transaction may touch: set by SET LOCAL app.orgs = 'uuid,uuid'. Nothing set, nothing seen.
CREATE FUNCTION current_orgs() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE AS
  $$ SELECT coalesce(string_to_array(nullif(current_setting('app.orgs', true), ''), ',')::uuid[], '{}'::uuid[]) $$;

CREATE TABLE organizations (
  org_id uuid PRIMARY KEY,
  kind text NOT NULL DEFAULT 'clinic' CHECK (kind IN ('clinic', 'hospital', 'solo_practice')),
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  discreet_name text CHECK (length(discreet_name) BETWEEN 1 AND 200),
  zone text NOT NULL,
  locale text NOT NULL DEFAULT 'en',
  email text,
  phone text,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1
);

CREATE TABLE people (
  person_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  role text NOT NULL CHECK (role IN ('patient', 'doctor', 'nurse', 'receptionist', 'admin', 'ops')),
  given_name text NOT NULL,
  family_name text NOT NULL,
  birth_date date,
  email text,
  email_verified_at timestamptz,
  phone text,
  zone text,                       -- the organization's when absent
  locale text,                     -- the organization's when absent
  privacy_level smallint NOT NULL DEFAULT 0 CHECK (privacy_level BETWEEN 0 AND 3),
  medicine_opt_in_at timestamptz,  -- level 3 needs a recorded yes
  active boolean NOT NULL DEFAULT true,
  deceased boolean NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1,
  CHECK (privacy_level < 3 OR medicine_opt_in_at IS NOT NULL)
);
CREATE INDEX people_by_org ON people (org_id, role, person_id);

-- Who calls a row by which name: FHIR identifiers (system, value), and the id of the resource it was imported from.
CREATE TABLE identifiers (
  org_id uuid NOT NULL REFERENCES organizations,
  subject_type text NOT NULL CHECK (subject_type IN ('organization', 'person', 'prescription', 'appointment')),
  subject_id uuid NOT NULL,
  system text NOT NULL,
  value text NOT NULL,
  PRIMARY KEY (org_id, subject_type, subject_id, system, value)
);
CREATE INDEX identifiers_by_value ON identifiers (org_id, subject_type, system, value);

CREATE TABLE imported_resources (
  org_id uuid NOT NULL REFERENCES organizations,
  source text NOT NULL,            -- the system that gave the id; ids are unique within one
  resource_type text NOT NULL,
  resource_id text NOT NULL,
  subject_id uuid NOT NULL,
  imported_at timestamptz NOT NULL,
  PRIMARY KEY (org_id, source, resource_type, resource_id)
);

CREATE TABLE prescriptions (
  prescription_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  patient_id uuid NOT NULL REFERENCES people,
  prescriber_id uuid REFERENCES people,
  medicine text NOT NULL CHECK (length(medicine) BETWEEN 1 AND 500),
  dosage text NOT NULL DEFAULT '',
  timing jsonb,                    -- absent: no plan could be made of it
  status text NOT NULL DEFAULT 'active' CHECK (status IN ('active', 'on_hold', 'completed', 'stopped')),
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1
);
CREATE INDEX prescriptions_by_patient ON prescriptions (org_id, patient_id, prescription_id);

CREATE TABLE medication_reminders (
  reminder_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  prescription_id uuid NOT NULL REFERENCES prescriptions,
  patient_id uuid NOT NULL REFERENCES people,
  timing jsonb NOT NULL,
  meaning text NOT NULL CHECK (meaning IN ('wall_clock', 'elapsed', 'home_zone')),
  home_zone text,
  min_interval_seconds int NOT NULL DEFAULT 0 CHECK (min_interval_seconds >= 0),
  nudge_after_seconds int[] NOT NULL DEFAULT '{900,1800}' CHECK (cardinality(nudge_after_seconds) <= 10),
  window_seconds int NOT NULL DEFAULT 3600 CHECK (window_seconds BETWEEN 1 AND 86400),
  active boolean NOT NULL DEFAULT true,
  -- What the stored occurrences were planned with; the planner compares and plans anew.
  planned_through timestamptz,
  planned_zone text,
  planned_tzdb text,
  replan boolean NOT NULL DEFAULT true,
  next_plan_at timestamptz,        -- when the planner has to look again; null when never
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1,
  CHECK (meaning <> 'home_zone' OR home_zone IS NOT NULL)
);
CREATE INDEX reminders_to_plan ON medication_reminders (next_plan_at) WHERE next_plan_at IS NOT NULL;
CREATE INDEX reminders_by_patient ON medication_reminders (org_id, patient_id, reminder_id);
CREATE INDEX reminders_by_prescription ON medication_reminders (prescription_id);

CREATE TABLE dose_occurrences (
  occurrence_id uuid PRIMARY KEY,
  org_id uuid NOT NULL,
  reminder_id uuid NOT NULL,
  patient_id uuid NOT NULL,
  slot timestamp NOT NULL,         -- the dose's name in its plan: nominal local time, or nominal UTC when elapsed
  due_at timestamptz NOT NULL,
  zone text NOT NULL,              -- the zone it was planned in
  state text NOT NULL DEFAULT 'planned' CHECK (state IN
    ('planned', 'due', 'reminded', 'taken', 'skipped', 'snoozed', 'missed', 'uncertain')),
  ladder_at timestamptz NOT NULL,  -- where reminder and nudges count from: due_at, or the end of a snooze
  step smallint NOT NULL DEFAULT 0,  -- the reminder (0), nudge 1, 2 … that comes next
  snoozes smallint NOT NULL DEFAULT 0,
  next_at timestamptz,             -- when that step, or the end of the window, falls due; null when settled
  reason text,
  reminded_at timestamptz,
  settled_at timestamptz,
  updated_at timestamptz NOT NULL,
  UNIQUE (reminder_id, slot)
) WITH (fillfactor = 80, autovacuum_vacuum_scale_factor = 0.02);
CREATE INDEX occurrences_next ON dose_occurrences (next_at) WHERE next_at IS NOT NULL;

-- What planning anew changed, and why.
CREATE TABLE plan_changes (
  change_id uuid PRIMARY KEY,
  org_id uuid NOT NULL,
  reminder_id uuid NOT NULL,
  changed_at timestamptz NOT NULL,
  cause text NOT NULL CHECK (cause IN ('first', 'rolling', 'reminder', 'zone', 'tzdb')),
  added int NOT NULL,
  moved int NOT NULL,
  dropped int NOT NULL,
  detail jsonb NOT NULL            -- the first moves and drops by slot; bounded
);
CREATE INDEX plan_changes_by_reminder ON plan_changes (reminder_id, changed_at);

-- Visits, as far as the import needs them.
CREATE TABLE appointments (
  appointment_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  patient_id uuid NOT NULL REFERENCES people,
  doctor_id uuid REFERENCES people,
  starts_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  status text NOT NULL,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1,
  CHECK (ends_at > starts_at)
);
CREATE INDEX appointments_by_patient ON appointments (org_id, patient_id, starts_at);

-- The message log: one row for each (kind, subject, occurrence, recipient, channel), which is what makes one message one.
CREATE TABLE messages (
  id uuid PRIMARY KEY,
  org_id uuid NOT NULL,
  kind text NOT NULL,
  subject_id uuid NOT NULL,
  occurrence text NOT NULL,
  recipient_id uuid NOT NULL,
  channel text NOT NULL,
  message_id text NOT NULL,
  state text NOT NULL CHECK (state IN ('planned', 'sending', 'sent', 'uncertain', 'suppressed', 'failed')),
  category text NOT NULL CHECK (category IN ('required', 'optional', 'critical')),
  privacy_level smallint NOT NULL,
  job_id uuid NOT NULL,
  job_attempt int NOT NULL,
  job_worker uuid NOT NULL,
  reason text,
  reply text,
  created_at timestamptz NOT NULL,
  sending_at timestamptz,
  settled_at timestamptz,
  UNIQUE (subject_id, occurrence, kind, recipient_id, channel)
) WITH (fillfactor = 45);            -- each row is written twice: room for the outcome beside the promise

CREATE INDEX messages_newest ON messages (org_id, created_at DESC, id DESC);

-- Who did what to which, when: written in the transaction of what it records, never changed.
CREATE TABLE audit_entries (
  id uuid PRIMARY KEY,
  org_id uuid,
  at timestamptz NOT NULL,
  actor_kind text NOT NULL CHECK (actor_kind IN ('person', 'token', 'patient_link', 'job', 'schedule', 'operator')),
  actor_id uuid,
  action text NOT NULL,
  subject_type text NOT NULL,
  subject_id uuid NOT NULL,
  outcome text NOT NULL DEFAULT 'success',
  detail jsonb
);
CREATE INDEX audit_by_subject ON audit_entries (subject_id, at);

CREATE TABLE api_tokens (
  token_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  person_id uuid NOT NULL REFERENCES people,
  token_hash bytea NOT NULL UNIQUE,
  scopes text[] NOT NULL,
  label text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  revoked_at timestamptz
);

-- Mail of a development set-up without SMTP_URL; the API shows it at /dev/inbox.
CREATE TABLE dev_mailbox (
  id uuid PRIMARY KEY,
  recipient text NOT NULL,
  subject text NOT NULL,
  message_id text NOT NULL,
  received_at timestamptz NOT NULL,
  raw bytea NOT NULL
);
CREATE INDEX dev_mailbox_newest ON dev_mailbox (received_at DESC);

-- Row-level security, forced for the owner too, on each table that belongs to an organization.
DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['organizations', 'people', 'identifiers', 'imported_resources', 'prescriptions',
    'medication_reminders', 'dose_occurrences', 'plan_changes', 'appointments', 'messages', 'audit_entries', 'api_tokens']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_organization ON %I TO pulsecal_app
      USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', t);
    EXECUTE format('CREATE POLICY every_organization ON %I TO pulsecal_system USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT, UPDATE ON organizations, people, prescriptions, medication_reminders, dose_occurrences, messages,
  appointments, api_tokens, imported_resources TO pulsecal_app, pulsecal_system;
GRANT SELECT, INSERT, DELETE ON identifiers TO pulsecal_app, pulsecal_system;
GRANT DELETE ON dose_occurrences TO pulsecal_app, pulsecal_system;
GRANT SELECT, INSERT ON audit_entries, plan_changes TO pulsecal_app, pulsecal_system;  -- append-only
GRANT SELECT, INSERT ON dev_mailbox TO pulsecal_app, pulsecal_system;

-- Whose token is this? Runs as the owner, since the organization is known only after it.
CREATE FUNCTION find_token(hash bytea, at timestamptz)
RETURNS TABLE (token_id uuid, org_id uuid, person_id uuid, role text, scopes text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
  SELECT t.token_id, t.org_id, t.person_id, p.role, t.scopes
  FROM public.api_tokens t JOIN public.people p USING (person_id)
  WHERE t.token_hash = hash AND t.expires_at > at AND t.revoked_at IS NULL AND p.active AND NOT p.deceased
$$;
REVOKE ALL ON FUNCTION find_token(bytea, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION find_token(bytea, timestamptz) TO pulsecal_app, pulsecal_system;
