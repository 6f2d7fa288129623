DROP INDEX appointments_by_start, appointments_by_doctor;
ALTER TABLE appointments
  DROP CONSTRAINT appointments_doctor_free,
  DROP CONSTRAINT appointments_status_check,
  DROP COLUMN zone,
  DROP COLUMN kind,
  DROP COLUMN mode,
  DROP COLUMN place,
  DROP COLUMN meeting_url,
  DROP COLUMN sequence,
  DROP COLUMN confirmed_by_patient_at,
  DROP COLUMN move_asked_at,
  DROP COLUMN cancel_reason,
  DROP COLUMN cancelled_at,
  DROP COLUMN clash_known;
DROP FUNCTION doctor_hours(uuid, timestamptz, timestamptz);
