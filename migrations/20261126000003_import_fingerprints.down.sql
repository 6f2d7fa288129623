ALTER TABLE imported_resources DROP COLUMN fingerprint;
