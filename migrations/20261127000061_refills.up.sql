-- What is said about taking a medicine, how much is handed out, and how often again.
ALTER TABLE prescriptions
  ADD COLUMN instructions text CHECK (length(instructions) BETWEEN 1 AND 1000),
  ADD COLUMN quantity int CHECK (quantity BETWEEN 1 AND 100000),
  ADD COLUMN refills_allowed int NOT NULL DEFAULT 0 CHECK (refills_allowed BETWEEN 0 AND 99),
  ADD COLUMN refills_used int NOT NULL DEFAULT 0 CHECK (refills_used >= 0),
  ADD COLUMN refilled_at timestamptz,
  ADD CONSTRAINT prescriptions_refills CHECK (refills_used <= refills_allowed);
