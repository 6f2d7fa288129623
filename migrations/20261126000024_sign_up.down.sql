DROP TABLE sign_ups;
DELETE FROM account_mails WHERE kind IN ('verify', 'sign_up_known');
ALTER TABLE account_mails DROP CONSTRAINT account_mails_kind_check;
ALTER TABLE account_mails ADD CONSTRAINT account_mails_kind_check CHECK (kind IN
  ('invitation', 'reset', 'locked', 'password_changed', 'second_factor_on', 'second_factor_off', 'recovery_code_used', 'codes_locked',
   'linked'));
DROP TABLE lobby_sessions;
REVOKE DELETE ON accounts FROM pulsecal_system;
DROP INDEX accounts_unproven;
ALTER TABLE accounts DROP COLUMN given_name, DROP COLUMN family_name;
