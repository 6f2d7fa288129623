-- The currency in which an organization asks for money, as ISO 4217 names it.
ALTER TABLE organizations ADD COLUMN currency text NOT NULL DEFAULT 'EUR' CHECK (currency ~ '^[A-Z]{3}$');

-- Who pays for a patient. A policy is never deleted: it ends.
CREATE TABLE insurances (
  insurance_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  patient_id uuid NOT NULL REFERENCES people,
  kind text NOT NULL CHECK (kind IN ('private', 'public', 'employer', 'medicare', 'medicaid')),
  provider text NOT NULL CHECK (length(provider) BETWEEN 1 AND 200),
  policy_number text NOT NULL CHECK (length(policy_number) BETWEEN 1 AND 100),
  group_number text CHECK (length(group_number) BETWEEN 1 AND 100),
  subscriber_name text NOT NULL CHECK (length(subscriber_name) BETWEEN 1 AND 200),
  relationship text NOT NULL CHECK (relationship IN ('self', 'spouse', 'child', 'parent', 'other')),
  effective_on date NOT NULL CHECK (effective_on BETWEEN '1900-01-01' AND '9999-12-31'),
  expires_on date CHECK (expires_on <= '9999-12-31'),      -- its last day; none: no end is known
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  copay bigint CHECK (copay BETWEEN 0 AND 1000000000000),              -- in the smallest unit of the currency
  deductible bigint CHECK (deductible BETWEEN 0 AND 1000000000000),
  ended_at timestamptz,                                    -- it was ended here, whatever its last day
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1,
  CHECK (expires_on >= effective_on)
);
CREATE UNIQUE INDEX insurances_once ON insurances (patient_id, lower(provider), policy_number) WHERE ended_at IS NULL;
CREATE INDEX insurances_by_patient ON insurances (org_id, patient_id, insurance_id);
CREATE INDEX insurances_newest ON insurances (org_id, insurance_id);

ALTER TABLE insurances ENABLE ROW LEVEL SECURITY;
ALTER TABLE insurances FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON insurances TO pulsecal_app
  USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]));
CREATE POLICY every_organization ON insurances TO pulsecal_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON insurances TO pulsecal_app;
GRANT SELECT ON insurances TO pulsecal_system;
