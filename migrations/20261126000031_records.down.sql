ALTER TABLE alarm_mails DROP COLUMN about;
DROP TABLE medical_records;
DROP TABLE glass_breaks;
