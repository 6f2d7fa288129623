ALTER TABLE appointments DROP COLUMN outside_hours;
ALTER TABLE organizations
  DROP CONSTRAINT organizations_reminders_in_order,
  DROP COLUMN address,
  DROP COLUMN opening_hours,
  DROP COLUMN holidays,
  DROP COLUMN patient_move_minutes,
  DROP COLUMN patient_cancel_minutes,
  DROP COLUMN longest_visit_minutes,
  DROP COLUMN book_ahead_days,
  DROP COLUMN offer_days,
  DROP COLUMN offer_every_minutes,
  DROP COLUMN offers,
  DROP COLUMN offers_a_day,
  DROP COLUMN first_reminder_minutes,
  DROP COLUMN last_reminder_minutes;
DROP FUNCTION is_holidays(jsonb);
DROP FUNCTION is_opening_hours(jsonb);
