-- The file of a patient's data has all that is held, contacts that were removed too: an index over all of them serves that and the list.
CREATE INDEX emergency_contacts_of_patient ON emergency_contacts (patient_id, contact_id);
DROP INDEX emergency_contacts_by_patient;
