-- What a write was answered, by the key that its sender gave it, so that the same request sent again is not done again.
CREATE TABLE idempotency_keys (
  org_id uuid NOT NULL REFERENCES organizations,
  person_id uuid NOT NULL REFERENCES people,
  key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
  request_hash bytea NOT NULL CHECK (length(request_hash) = 32),  -- of method, path and body
  request_id uuid NOT NULL,        -- who is doing it, or has done it
  claimed_at timestamptz NOT NULL,
  status smallint,                 -- none: it is being done
  headers jsonb,
  body bytea,
  PRIMARY KEY (org_id, person_id, key),
  CHECK ((status IS NULL) = (headers IS NULL) AND (status IS NULL) = (body IS NULL))
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (claimed_at);

ALTER TABLE idempotency_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE idempotency_keys FORCE ROW LEVEL SECURITY;
CREATE POLICY own_organization ON idempotency_keys TO pulsecal_app
  USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]));
CREATE POLICY every_organization ON idempotency_keys TO pulsecal_system USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency_keys TO pulsecal_app;
GRANT SELECT, DELETE ON idempotency_keys TO pulsecal_system;
