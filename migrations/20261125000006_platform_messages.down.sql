-- What belongs to no organization cannot stay: the release before knows no such messages.
DELETE FROM messages WHERE org_id IS NULL;
ALTER TABLE messages ALTER COLUMN org_id SET NOT NULL;
