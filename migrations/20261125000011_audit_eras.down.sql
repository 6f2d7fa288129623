DROP FUNCTION audit_new_era(), audit_horizon();
ALTER TABLE audit_entries ALTER COLUMN xid SET DEFAULT pg_current_xact_id()::text::bigint;
ALTER TABLE audit_marks DROP COLUMN cluster, DROP COLUMN ahead;
