DROP INDEX jobs_to_cancel;
DROP TABLE queues;
DROP FUNCTION find_session(bytea, timestamptz);
DROP TABLE sessions;
