-- The steps of the day of a visit. The status stays what FHIR knows; when each step was taken stands beside it.
ALTER TABLE appointments
  ADD COLUMN checked_in_at timestamptz,
  ADD COLUMN started_at timestamptz,     -- the doctor began; the status is still checked-in
  ADD COLUMN completed_at timestamptz,
  ADD CONSTRAINT appointments_steps_in_order CHECK ((started_at IS NULL OR checked_in_at IS NOT NULL AND started_at >= checked_in_at)
    AND (completed_at IS NULL OR started_at IS NOT NULL AND completed_at >= started_at)),
  DROP CONSTRAINT appointments_cancel_reason_check,
  ADD CONSTRAINT appointments_cancel_reason_check CHECK (cancel_reason IN ('patient', 'clinic', 'doctor_away', 'duplicate', 'other', 'declined'));

-- So many minutes after its end a visit to which nobody was checked in is a no-show, by itself. None: staff say so.
ALTER TABLE organizations ADD COLUMN no_show_after_minutes int CHECK (no_show_after_minutes BETWEEN 0 AND 1440);
CREATE INDEX appointments_unattended ON appointments (ends_at) WHERE status = 'booked';
