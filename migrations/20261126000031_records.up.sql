-- The medical records of patients, and who breaks the glass to read them.

-- Somebody of the clinic reads the records of a patient whom they do not treat: said why, for a bounded time, and told to operators.
CREATE TABLE glass_breaks (
  glass_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  person_id uuid NOT NULL REFERENCES people,         -- who reads …
  patient_id uuid NOT NULL REFERENCES people,        -- … the records of whom
  reason text NOT NULL CHECK (length(reason) BETWEEN 10 AND 500),
  broken_at timestamptz NOT NULL,
  ends_at timestamptz NOT NULL,
  told_at timestamptz,                               -- operators were
  CHECK (ends_at > broken_at AND ends_at <= broken_at + interval '1 day')
);
CREATE INDEX glass_breaks_of ON glass_breaks (patient_id, person_id, ends_at);
CREATE INDEX glass_breaks_by_end ON glass_breaks (ends_at);

CREATE TABLE medical_records (
  record_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  patient_id uuid NOT NULL REFERENCES people,
  author_id uuid NOT NULL REFERENCES people,
  kind text NOT NULL CHECK (kind IN ('allergy', 'condition', 'medication', 'surgery', 'vaccination', 'lab_result', 'imaging', 'note')),
  severity text CHECK (severity IN ('low', 'moderate', 'high', 'critical')),
  title text NOT NULL CHECK (length(title) BETWEEN 1 AND 200),
  description text NOT NULL DEFAULT '' CHECK (length(description) <= 10000),
  occurred_on date CHECK (occurred_on >= '1880-01-01'),
  -- What it is sorted by: the day that it happened, else the day that it was written.
  sorts_on date NOT NULL GENERATED ALWAYS AS (coalesce(occurred_on, (recorded_at AT TIME ZONE 'UTC')::date)) STORED,
  recorded_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  glass_id uuid REFERENCES glass_breaks,             -- it was written under a broken glass
  state text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'entered_in_error')),
  withdrawn_at timestamptz,
  withdrawn_by uuid REFERENCES people,
  withdrawn_reason text CHECK (length(withdrawn_reason) BETWEEN 1 AND 500),
  version int NOT NULL DEFAULT 1,
  CHECK (severity IS NULL OR kind IN ('allergy', 'condition', 'lab_result', 'imaging')),
  CHECK ((state = 'entered_in_error') = (withdrawn_at IS NOT NULL)),
  CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL) AND (withdrawn_at IS NULL) = (withdrawn_reason IS NULL))
);
CREATE INDEX medical_records_by_recorded ON medical_records (org_id, patient_id, recorded_at, record_id);
CREATE INDEX medical_records_by_occurred ON medical_records (org_id, patient_id, sorts_on, record_id);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['glass_breaks', 'medical_records']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_organization ON %I TO pulsecal_app
      USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', t);
    EXECUTE format('CREATE POLICY every_organization ON %I TO pulsecal_system USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- Neither is ever deleted; why the glass was broken is not changed either.
GRANT SELECT, INSERT, UPDATE ON medical_records TO pulsecal_app;
GRANT SELECT, INSERT ON glass_breaks TO pulsecal_app;
GRANT SELECT ON medical_records TO pulsecal_system;
GRANT SELECT, UPDATE (told_at) ON glass_breaks TO pulsecal_system;

-- What an alarm's mail names besides the alarm: ids only.
ALTER TABLE alarm_mails ADD COLUMN about text;
