-- Files that belong to medical records. They lie in the database: written, backed up, restored and kept apart as the records are.
CREATE TABLE record_attachments (
  attachment_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  record_id uuid NOT NULL REFERENCES medical_records,
  author_id uuid NOT NULL REFERENCES people,
  file_name text NOT NULL CHECK (length(file_name) BETWEEN 1 AND 120),
  media_type text NOT NULL CHECK (media_type IN ('application/pdf', 'image/png', 'image/jpeg', 'text/plain', 'application/dicom')),
  bytes int NOT NULL CHECK (bytes BETWEEN 1 AND 10485760),
  sha256 bytea NOT NULL CHECK (length(sha256) = 32),
  content bytea NOT NULL CHECK (length(content) = bytes),
  added_at timestamptz NOT NULL,
  withdrawn_at timestamptz,
  withdrawn_by uuid REFERENCES people,
  withdrawn_reason text CHECK (length(withdrawn_reason) BETWEEN 1 AND 500),
  CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL) AND (withdrawn_at IS NULL) = (withdrawn_reason IS NULL))
);
-- What is compressed already is not compressed again.
ALTER TABLE record_attachments ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE INDEX record_attachments_by_record ON record_attachments (record_id, attachment_id);

ALTER TABLE record_attachments ENABLE ROW LEVEL SECURITY;
ALTER TABLE record_attachments FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON record_attachments TO pulsecal_app
  USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]));
CREATE POLICY every_organization ON record_attachments TO pulsecal_system USING (true) WITH CHECK (true);
-- A file is never changed; it is marked as entered in error.
GRANT SELECT, INSERT ON record_attachments TO pulsecal_app;
GRANT UPDATE (withdrawn_at, withdrawn_by, withdrawn_reason) ON record_attachments TO pulsecal_app;
GRANT SELECT ON record_attachments TO pulsecal_system;
