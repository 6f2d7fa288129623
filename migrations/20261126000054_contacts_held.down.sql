CREATE INDEX emergency_contacts_by_patient ON emergency_contacts (patient_id, contact_id) WHERE removed_at IS NULL;
DROP INDEX emergency_contacts_of_patient;
