DROP TABLE insurances;
ALTER TABLE organizations DROP COLUMN currency;
