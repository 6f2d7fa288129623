DROP TABLE audit_marks, audit_daily, audit_hourly, audit_chain;
DROP TRIGGER append_only ON audit_entries;
DROP FUNCTION audit_refuse();
DROP INDEX audit_by_xid, audit_by_time;
ALTER TABLE audit_entries DROP COLUMN role, DROP COLUMN request_id, DROP COLUMN xid;
