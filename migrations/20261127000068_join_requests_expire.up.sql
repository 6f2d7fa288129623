-- A request to join that nobody decides ends by itself, and who asked is told.
ALTER TABLE join_requests DROP CONSTRAINT join_requests_state_check,
  ADD CONSTRAINT join_requests_state_check CHECK (state IN ('open', 'approved', 'denied', 'withdrawn', 'expired'));
CREATE INDEX join_requests_open ON join_requests (asked_at) WHERE state = 'open';
GRANT UPDATE (state, decided_at, version) ON join_requests TO pulsecal_system;
