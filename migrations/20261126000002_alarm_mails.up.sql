-- The mails that tell operators of an alarm: one row for each change of an alarm and each address. The row is written with the
-- change, and its job with it.
CREATE TABLE alarm_mails (
  alarm_mail_id uuid PRIMARY KEY,
  alarm text NOT NULL REFERENCES alarms (name),
  raised boolean NOT NULL,         -- false: it is over
  since timestamptz NOT NULL,
  address text NOT NULL
);

-- The platform's own, as the alarms are.
GRANT SELECT, INSERT, DELETE ON alarm_mails TO pulsecal_system;
