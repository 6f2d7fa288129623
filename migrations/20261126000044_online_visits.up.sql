-- Online visits: a room of their own, in meetings of the organization's provider. The address is made of the template when somebody
-- joins, so no host but the template's is ever led to, and it is never in a mail.
ALTER TABLE organizations
  ADD COLUMN meeting_url_template text
    CHECK (length(meeting_url_template) <= 300 AND meeting_url_template ~ '^https://[a-z0-9.-]+(:[0-9]{1,5})?/[!-~]*\{room\}[!-~]*$'),
  ADD COLUMN join_before_minutes int NOT NULL DEFAULT 15 CHECK (join_before_minutes BETWEEN 0 AND 1440),
  ADD COLUMN join_after_minutes int NOT NULL DEFAULT 30 CHECK (join_after_minutes BETWEEN 0 AND 1440);

ALTER TABLE appointments
  ADD COLUMN meeting_room text CHECK (meeting_room ~ '^[0-9a-f]{32}$'),
  ADD COLUMN patient_joined_at timestamptz,
  ADD COLUMN doctor_joined_at timestamptz,
  ADD CONSTRAINT appointments_rooms_are_online CHECK (mode = 'virtual' OR meeting_room IS NULL);
CREATE UNIQUE INDEX appointments_by_room ON appointments (meeting_room) WHERE meeting_room IS NOT NULL;
