-- What the pages of staff look for: patients by their names, and what was sent to one of them.
CREATE INDEX people_by_name ON people (org_id, family_name, given_name, person_id) WHERE role = 'patient';
CREATE INDEX messages_by_recipient ON messages (recipient_id, created_at DESC, id DESC);
