REVOKE UPDATE (state, decided_at, version) ON join_requests FROM pulsecal_system;
DROP INDEX join_requests_open;
-- What had ended by itself had no decision: the nearest to it that was there before.
UPDATE join_requests SET state = 'withdrawn' WHERE state = 'expired';
ALTER TABLE join_requests DROP CONSTRAINT join_requests_state_check,
  ADD CONSTRAINT join_requests_state_check CHECK (state IN ('open', 'approved', 'denied', 'withdrawn'));
