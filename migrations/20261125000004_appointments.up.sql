-- Visits become something that PulseCal books, moves, cancels and writes mail about. Statuses stay those of FHIR, as the
-- import has always written them; see docs/decisions/0015-visits.md.
ALTER TABLE appointments
  ADD COLUMN zone text,             -- the organization's when absent
  ADD COLUMN kind text NOT NULL DEFAULT 'other' CHECK (kind IN ('new', 'follow_up', 'check_up', 'procedure', 'other')),
  ADD COLUMN mode text NOT NULL DEFAULT 'in_person' CHECK (mode IN ('in_person', 'virtual')),
  ADD COLUMN place text CHECK (length(place) BETWEEN 1 AND 300),
  ADD COLUMN meeting_url text CHECK (length(meeting_url) BETWEEN 1 AND 1000),
  ADD COLUMN sequence int NOT NULL DEFAULT 0 CHECK (sequence >= 0),  -- iTIP SEQUENCE: up by one with each time, place, status
  ADD COLUMN confirmed_by_patient_at timestamptz,
  ADD COLUMN move_asked_at timestamptz,                              -- the patient asked the clinic for another time
  ADD COLUMN cancel_reason text CHECK (cancel_reason IN ('patient', 'clinic', 'doctor_away', 'duplicate', 'other')),
  ADD COLUMN cancelled_at timestamptz,
  ADD COLUMN clash_known boolean NOT NULL DEFAULT false,             -- overlapped another before double booking was ruled out
  ADD CHECK (mode = 'virtual' OR meeting_url IS NULL),
  ADD CHECK (status IN ('proposed', 'pending', 'booked', 'arrived', 'fulfilled', 'cancelled', 'noshow', 'entered-in-error',
    'checked-in', 'waitlist'));

-- A doctor is never booked twice. Equality of the doctor beside overlap of the times would need the extension btree_gist,
-- which not every server has. Ranges of numbers need none: each doctor gets a stretch of the number line (the uuid as a
-- number, 10^18 apart) and the seconds of the visit lie on it, so two such ranges overlap if and only if doctor and time do.
-- Half open: one visit may begin when the one before ends.
CREATE FUNCTION doctor_hours(doctor uuid, starts_at timestamptz, ends_at timestamptz) RETURNS numrange
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT numrange(place + extract(epoch FROM starts_at AT TIME ZONE 'UTC'), place + extract(epoch FROM ends_at AT TIME ZONE 'UTC'))
  FROM (SELECT ('x' || left(hex, 16))::bit(64)::bigint * 1e39 + ('x' || right(hex, 16))::bit(64)::bigint * 1e18 AS place
        FROM translate(doctor::text, '-', '') AS hex) AS line
$$;

-- What was double booked before this rule stays as it is, marked: the later of two steps aside.
UPDATE appointments a SET clash_known = true
WHERE a.status IN ('pending', 'booked', 'arrived', 'checked-in') AND EXISTS (
  SELECT FROM appointments b
  WHERE b.doctor_id = a.doctor_id AND b.status IN ('pending', 'booked', 'arrived', 'checked-in')
    AND (b.starts_at, b.appointment_id) < (a.starts_at, a.appointment_id) AND b.ends_at > a.starts_at);

ALTER TABLE appointments ADD CONSTRAINT appointments_doctor_free EXCLUDE USING gist
  (doctor_hours(doctor_id, starts_at, ends_at) WITH &&)
  WHERE (status IN ('pending', 'booked', 'arrived', 'checked-in') AND doctor_id IS NOT NULL AND NOT clash_known);

CREATE INDEX appointments_by_start ON appointments (org_id, starts_at, appointment_id);
CREATE INDEX appointments_by_doctor ON appointments (doctor_id, starts_at) WHERE doctor_id IS NOT NULL;
