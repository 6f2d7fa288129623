-- Whom an account is at an issuer of OpenID Connect. Of an issuer an account is one, so that a second one who comes to have its address
-- there does not get in.
CREATE TABLE account_identities (
  issuer text NOT NULL CHECK (length(issuer) BETWEEN 1 AND 2000),
  sub text NOT NULL CHECK (length(sub) BETWEEN 1 AND 255),
  account_id uuid NOT NULL REFERENCES accounts,
  created_at timestamptz NOT NULL,
  PRIMARY KEY (issuer, sub),
  UNIQUE (account_id, issuer)
);

-- The platform's own, as accounts are.
GRANT SELECT, INSERT, DELETE ON account_identities TO pulsecal_system;

ALTER TABLE account_mails DROP CONSTRAINT account_mails_kind_check;
ALTER TABLE account_mails ADD CONSTRAINT account_mails_kind_check CHECK (kind IN
  ('invitation', 'reset', 'locked', 'password_changed', 'second_factor_on', 'second_factor_off', 'recovery_code_used', 'codes_locked',
   'linked'));
