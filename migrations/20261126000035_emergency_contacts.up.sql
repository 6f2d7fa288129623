-- Whom to call when something happens to a patient. Without consent they are known, and not contacted: `may_contact` says so, and
-- nothing but consent makes it true. One that is removed stays, for the trail.
CREATE TABLE emergency_contacts (
  contact_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  patient_id uuid NOT NULL REFERENCES people,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  relationship text NOT NULL
    CHECK (relationship IN ('spouse', 'partner', 'parent', 'child', 'sibling', 'relative', 'friend', 'guardian', 'other')),
  phone text NOT NULL CHECK (length(phone) BETWEEN 1 AND 50),
  email text CHECK (length(email) BETWEEN 3 AND 254),
  is_primary boolean NOT NULL DEFAULT false,
  may_decide boolean NOT NULL DEFAULT false,           -- decides about treatment when the patient cannot
  consent_given_by text CHECK (consent_given_by IN ('contact', 'patient', 'guardian')),
  consent_given_at timestamptz,
  consent_withdrawn_at timestamptz,
  removed_at timestamptz,
  may_contact boolean NOT NULL GENERATED ALWAYS AS
    (consent_given_at IS NOT NULL AND consent_withdrawn_at IS NULL AND removed_at IS NULL) STORED,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1,
  CHECK ((consent_given_by IS NULL) = (consent_given_at IS NULL)),
  CHECK (consent_withdrawn_at >= consent_given_at),
  CHECK (consent_withdrawn_at IS NULL OR consent_given_at IS NOT NULL),
  CHECK (removed_at IS NULL OR NOT is_primary)
);
CREATE UNIQUE INDEX emergency_contacts_one_primary ON emergency_contacts (patient_id) WHERE is_primary;
CREATE INDEX emergency_contacts_by_patient ON emergency_contacts (patient_id, contact_id) WHERE removed_at IS NULL;

ALTER TABLE emergency_contacts ENABLE ROW LEVEL SECURITY;
ALTER TABLE emergency_contacts FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON emergency_contacts TO pulsecal_app
  USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]));
CREATE POLICY every_organization ON emergency_contacts TO pulsecal_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON emergency_contacts TO pulsecal_app;
GRANT SELECT ON emergency_contacts TO pulsecal_system;
