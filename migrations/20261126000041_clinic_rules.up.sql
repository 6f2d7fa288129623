-- What an organization decides for itself: when it is open, and the rules of its visits. They stand in its own row, so that
-- one statement reads all that decides about a visit; see docs/decisions/0026-rules-of-a-clinic.md.

-- Seven days, each with spans as {"opens": "08:00", "closes": "12:00"}, one after another and not touching. A day that ends at
-- midnight closes at 24:00.
CREATE FUNCTION is_opening_hours(hours jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(hours) <> 'object' THEN false
    WHEN (SELECT count(*) FROM jsonb_object_keys(hours)) <> 7 OR NOT hours ?& '{mon,tue,wed,thu,fri,sat,sun}' THEN false
    WHEN EXISTS (SELECT FROM jsonb_each(hours) AS d (day, spans) WHERE jsonb_typeof(spans) <> 'array') THEN false
    WHEN EXISTS (SELECT FROM jsonb_each(hours) AS d (day, spans) WHERE jsonb_array_length(spans) > 6) THEN false
    ELSE NOT EXISTS (
      SELECT FROM jsonb_each(hours) AS d (day, spans), LATERAL (
        SELECT span->>'opens' AS opens, span->>'closes' AS closes, lag(span->>'closes') OVER (ORDER BY at) AS closed
        FROM jsonb_array_elements(spans) WITH ORDINALITY AS s (span, at)) AS one
      WHERE (opens ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$' AND closes ~ '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$'
        AND opens < closes COLLATE "C" AND coalesce(closed < opens COLLATE "C", true)) IS NOT TRUE)
  END
$$;

-- Days as {"day": "2026-12-25", "name": "Christmas"}, rising.
CREATE FUNCTION is_holidays(holidays jsonb) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN jsonb_typeof(holidays) <> 'array' THEN false
    WHEN jsonb_array_length(holidays) > 200 THEN false
    ELSE NOT EXISTS (
      SELECT FROM (
        SELECT holiday->>'day' AS day, holiday->>'name' AS name, lag(holiday->>'day') OVER (ORDER BY at) AS before
        FROM jsonb_array_elements(holidays) WITH ORDINALITY AS h (holiday, at)) AS one
      WHERE (day ~ '^[0-9]{4}-[0-9]{2}-[0-9]{2}$' AND length(name) BETWEEN 1 AND 100 AND coalesce(before < day COLLATE "C", true)) IS NOT TRUE)
  END
$$;

ALTER TABLE organizations
  ADD COLUMN address text CHECK (length(address) BETWEEN 1 AND 500),
  ADD COLUMN opening_hours jsonb NOT NULL CHECK (is_opening_hours(opening_hours)) DEFAULT
    '{"mon": [{"opens": "08:00", "closes": "18:00"}], "tue": [{"opens": "08:00", "closes": "18:00"}], "wed": [{"opens": "08:00", "closes": "18:00"}],
      "thu": [{"opens": "08:00", "closes": "18:00"}], "fri": [{"opens": "08:00", "closes": "18:00"}], "sat": [], "sun": []}',
  ADD COLUMN holidays jsonb NOT NULL DEFAULT '[]' CHECK (is_holidays(holidays)),
  ADD COLUMN patient_move_minutes int NOT NULL DEFAULT 60 CHECK (patient_move_minutes BETWEEN 0 AND 43200),
  ADD COLUMN patient_cancel_minutes int NOT NULL DEFAULT 30 CHECK (patient_cancel_minutes BETWEEN 0 AND 43200),
  ADD COLUMN longest_visit_minutes int NOT NULL DEFAULT 1440 CHECK (longest_visit_minutes BETWEEN 5 AND 1440),
  ADD COLUMN book_ahead_days int NOT NULL DEFAULT 1830 CHECK (book_ahead_days BETWEEN 1 AND 1830),
  ADD COLUMN offer_days int NOT NULL DEFAULT 14 CHECK (offer_days BETWEEN 1 AND 60),
  ADD COLUMN offer_every_minutes int NOT NULL DEFAULT 30 CHECK (offer_every_minutes BETWEEN 10 AND 240),
  ADD COLUMN offers int NOT NULL DEFAULT 12 CHECK (offers BETWEEN 0 AND 50),
  ADD COLUMN offers_a_day int NOT NULL DEFAULT 3 CHECK (offers_a_day BETWEEN 1 AND 50),
  ADD COLUMN first_reminder_minutes int NOT NULL DEFAULT 1440 CHECK (first_reminder_minutes BETWEEN 10 AND 20160),
  ADD COLUMN last_reminder_minutes int NOT NULL DEFAULT 60 CHECK (last_reminder_minutes BETWEEN 5 AND 1440),
  ADD CONSTRAINT organizations_reminders_in_order CHECK (last_reminder_minutes < first_reminder_minutes);

-- Staff may book when the clinic is closed; it is said where the visit is shown.
ALTER TABLE appointments ADD COLUMN outside_hours boolean NOT NULL DEFAULT false;
