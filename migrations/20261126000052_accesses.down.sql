DROP FUNCTION accesses_of(uuid, uuid, timestamptz, timestamptz, timestamptz, uuid, int);
DROP INDEX audit_by_patient;
