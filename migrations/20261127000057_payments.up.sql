-- What patients pay, and what they get back. Amounts are in the smallest unit of their currency; a refund is a row of its own, and
-- together refunds are never more than what was paid.
CREATE TABLE payments (
  payment_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  patient_id uuid NOT NULL REFERENCES people,
  appointment_id uuid REFERENCES appointments,
  insurance_id uuid REFERENCES insurances,
  kind text NOT NULL CHECK (kind IN ('consultation', 'procedure', 'medicine', 'other')),
  method text NOT NULL CHECK (method IN ('cash', 'card', 'transfer', 'insurance')),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
  amount bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000),
  covered bigint NOT NULL DEFAULT 0,   -- the share that the insurance pays
  refunded bigint NOT NULL DEFAULT 0,
  due_on date CHECK (due_on BETWEEN '1900-01-01' AND '9999-12-30'),
  due_sort date NOT NULL GENERATED ALWAYS AS (coalesce(due_on, '9999-12-31'::date)) STORED,
  state text NOT NULL DEFAULT 'pending'
    CHECK (state IN ('pending', 'processing', 'completed', 'failed', 'cancelled', 'partly_refunded', 'refunded')),
  reference text CHECK (length(reference) BETWEEN 1 AND 100),          -- of the bank or the terminal
  failed_reason text CHECK (length(failed_reason) BETWEEN 1 AND 500),
  completed_at timestamptz,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1,
  CHECK (covered BETWEEN 0 AND amount),
  CHECK (covered = 0 OR insurance_id IS NOT NULL),
  CHECK (refunded BETWEEN 0 AND amount),
  CHECK ((state = 'refunded') = (refunded = amount)),
  CHECK ((state = 'partly_refunded') = (refunded > 0 AND refunded < amount)),
  CHECK ((completed_at IS NOT NULL) = (state IN ('completed', 'partly_refunded', 'refunded'))),
  CHECK ((failed_reason IS NOT NULL) = (state = 'failed'))
);
CREATE INDEX payments_newest ON payments (org_id, created_at, payment_id);
CREATE INDEX payments_by_due ON payments (org_id, due_sort, payment_id);
CREATE INDEX payments_by_patient ON payments (org_id, patient_id, created_at, payment_id);
CREATE INDEX payments_by_appointment ON payments (appointment_id) WHERE appointment_id IS NOT NULL;
CREATE INDEX payments_open ON payments (org_id, state, created_at, payment_id);

CREATE TABLE refunds (
  refund_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  payment_id uuid NOT NULL REFERENCES payments,
  amount bigint NOT NULL CHECK (amount > 0),
  reason text NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
  refunded_by uuid NOT NULL REFERENCES people,
  refunded_at timestamptz NOT NULL
);
CREATE INDEX refunds_by_payment ON refunds (payment_id, refund_id);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['payments', 'refunds']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_organization ON %I TO pulsecal_app
      USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', t);
    EXECUTE format('CREATE POLICY every_organization ON %I TO pulsecal_system USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
-- Neither is deleted, and a refund is not changed.
GRANT SELECT, INSERT, UPDATE ON payments TO pulsecal_app;
GRANT SELECT, INSERT ON refunds TO pulsecal_app;
GRANT SELECT ON payments, refunds TO pulsecal_system;
