-- What an organization says of those who work for it, and when somebody was last invited to an account.
ALTER TABLE people
  ADD COLUMN specialty text CHECK (length(specialty) BETWEEN 1 AND 100),
  ADD COLUMN qualification text CHECK (length(qualification) BETWEEN 1 AND 200),
  ADD COLUMN languages text[] NOT NULL DEFAULT '{}' CHECK (cardinality(languages) <= 20),
  ADD COLUMN invited_at timestamptz;
CREATE INDEX people_staff_by_name ON people (org_id, family_name, given_name, person_id)
  WHERE role IN ('doctor', 'nurse', 'receptionist', 'admin');
