-- The release before knows neither the factor nor its mails.
DELETE FROM account_mails WHERE kind IN ('second_factor_on', 'second_factor_off', 'recovery_code_used', 'codes_locked');
ALTER TABLE account_mails DROP CONSTRAINT account_mails_kind_check;
ALTER TABLE account_mails ADD CONSTRAINT account_mails_kind_check CHECK (kind IN ('invitation', 'reset', 'locked', 'password_changed'));
DROP TABLE half_sessions, account_recovery_codes, account_factors;
