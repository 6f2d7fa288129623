DROP TABLE alarm_mails;
