ALTER TABLE prescriptions DROP CONSTRAINT prescriptions_refills, DROP COLUMN instructions, DROP COLUMN quantity, DROP COLUMN refills_allowed,
  DROP COLUMN refills_used, DROP COLUMN refilled_at;
