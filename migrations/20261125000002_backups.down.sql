DROP TABLE alarms;
DROP TABLE backups;
