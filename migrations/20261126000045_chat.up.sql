-- Talk among the staff of an organization: rooms, who takes part, and what was said, in one order for everybody.
CREATE TABLE chat_rooms (
  room_id uuid PRIMARY KEY,
  org_id uuid NOT NULL REFERENCES organizations,
  name text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
  closed boolean NOT NULL DEFAULT false,             -- nothing more is said
  last_seq bigint NOT NULL DEFAULT 0 CHECK (last_seq >= 0),  -- of the newest message; taken under the row's lock, so there are no gaps
  created_by uuid NOT NULL REFERENCES people,
  created_at timestamptz NOT NULL,
  updated_at timestamptz NOT NULL,
  version int NOT NULL DEFAULT 1
);

CREATE TABLE chat_participants (
  room_id uuid NOT NULL REFERENCES chat_rooms,
  person_id uuid NOT NULL REFERENCES people,
  org_id uuid NOT NULL REFERENCES organizations,
  added_at timestamptz NOT NULL,
  removed_at timestamptz,                            -- since then they neither read nor write
  read_seq bigint NOT NULL DEFAULT 0 CHECK (read_seq >= 0),  -- how far they have read
  PRIMARY KEY (room_id, person_id)
);
CREATE INDEX chat_participants_by_person ON chat_participants (person_id, room_id) WHERE removed_at IS NULL;

CREATE TABLE chat_messages (
  room_id uuid NOT NULL REFERENCES chat_rooms,
  seq bigint NOT NULL CHECK (seq >= 1),
  org_id uuid NOT NULL REFERENCES organizations,
  sender_id uuid NOT NULL REFERENCES people,
  body text NOT NULL CHECK (length(body) BETWEEN 1 AND 4000),
  sent_at timestamptz NOT NULL,
  PRIMARY KEY (room_id, seq)
);

DO $$
DECLARE t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['chat_rooms', 'chat_participants', 'chat_messages']
  LOOP
    EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY own_organization ON %I TO pulsecal_app
      USING (org_id = ANY ((SELECT current_orgs())::uuid[])) WITH CHECK (org_id = ANY ((SELECT current_orgs())::uuid[]))', t);
    EXECUTE format('CREATE POLICY every_organization ON %I TO pulsecal_system USING (true) WITH CHECK (true)', t);
  END LOOP;
END $$;
GRANT SELECT, INSERT, UPDATE ON chat_rooms, chat_participants TO pulsecal_app;
GRANT SELECT, INSERT ON chat_messages TO pulsecal_app;  -- what was said stays said
GRANT SELECT ON chat_rooms, chat_participants, chat_messages TO pulsecal_system;
