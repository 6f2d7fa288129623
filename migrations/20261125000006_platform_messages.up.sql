-- The platform sends messages of its own, as alarms: they belong to no organization, and no organization sees them.
ALTER TABLE messages ALTER COLUMN org_id DROP NOT NULL;
