DROP INDEX people_staff_by_name;
ALTER TABLE people DROP COLUMN specialty, DROP COLUMN qualification, DROP COLUMN languages, DROP COLUMN invited_at;
