DELETE FROM account_mails WHERE kind = 'linked';
ALTER TABLE account_mails DROP CONSTRAINT account_mails_kind_check;
ALTER TABLE account_mails ADD CONSTRAINT account_mails_kind_check CHECK (kind IN
  ('invitation', 'reset', 'locked', 'password_changed', 'second_factor_on', 'second_factor_off', 'recovery_code_used', 'codes_locked'));
DROP TABLE account_identities;
