DROP INDEX appointments_unattended;
ALTER TABLE organizations DROP COLUMN no_show_after_minutes;
UPDATE appointments SET cancel_reason = 'clinic' WHERE cancel_reason = 'declined';
ALTER TABLE appointments
  DROP CONSTRAINT appointments_steps_in_order,
  DROP CONSTRAINT appointments_cancel_reason_check,
  ADD CONSTRAINT appointments_cancel_reason_check CHECK (cancel_reason IN ('patient', 'clinic', 'doctor_away', 'duplicate', 'other')),
  DROP COLUMN checked_in_at,
  DROP COLUMN started_at,
  DROP COLUMN completed_at;
