DROP FUNCTION find_token(bytea, timestamptz);
DROP TABLE dev_mailbox, api_tokens, audit_entries, messages, appointments, plan_changes, dose_occurrences,
  medication_reminders, prescriptions, imported_resources, identifiers, people, organizations;
DROP FUNCTION current_orgs();
-- The roles stay: they belong to the server, and other databases may use them.
REVOKE USAGE ON SCHEMA public FROM pulsecal_app, pulsecal_system;
