//! Talk among staff: rooms, who takes part, what was said. Whoever does not take part finds nothing.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{OrgId, PersonId, RoomId};
use crate::store::DbError;
use crate::store::listing::Way;

/// A room, as one who takes part sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    /// The room.
    pub id: RoomId,
    /// Its name.
    pub name: String,
    /// Nothing more is said in it.
    pub closed: bool,
    /// The number of its newest message; 0: there is none.
    pub last_seq: i64,
    /// How far the one who looks has read.
    pub read_seq: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed; messages do not change it.
    pub updated_at: DateTime<Utc>,
    /// Counts its changes, from 1.
    pub version: i32,
}

/// Somebody who takes part in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// Who.
    pub person: PersonId,
    /// How far they have read.
    pub read_seq: i64,
}

/// What somebody said. No `Debug`: it is theirs.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// In which room.
    pub room: RoomId,
    /// Its number in the room, from 1, without gaps.
    pub seq: i64,
    /// Who said it.
    pub sender: PersonId,
    /// What.
    pub body: String,
    /// When.
    pub sent_at: DateTime<Utc>,
}

macro_rules! select_rooms {
    ($tail:literal, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Room,
            r#"SELECT r.room_id AS "id: RoomId", r.name, r.closed, r.last_seq, p.read_seq, r.created_at, r.updated_at, r.version
               FROM chat_rooms r JOIN chat_participants p USING (room_id) WHERE p.person_id = $1 AND p.removed_at IS NULL "# + $tail,
            $($args),*
        )
    };
}

/// The rooms that somebody takes part in after a place, by their ids, which follow the time.
///
/// # Errors
/// Postgres.
pub async fn rooms(
    conn: &mut PgConnection,
    person: PersonId,
    way: Way,
    after: Option<RoomId>,
    limit: i64,
) -> Result<Vec<Room>, DbError> {
    let after = after.map(|id| id.0);
    match way {
        Way::Up => {
            select_rooms!(
                "AND ($2::uuid IS NULL OR r.room_id > $2) ORDER BY r.room_id LIMIT $3",
                person.0,
                after,
                limit
            )
            .fetch_all(conn)
            .await
        }
        Way::Down => {
            select_rooms!(
                "AND ($2::uuid IS NULL OR r.room_id < $2) ORDER BY r.room_id DESC LIMIT $3",
                person.0,
                after,
                limit
            )
            .fetch_all(conn)
            .await
        }
    }
}

/// A room that somebody takes part in.
///
/// # Errors
/// Postgres.
pub async fn room(conn: &mut PgConnection, person: PersonId, room: RoomId) -> Result<Option<Room>, DbError> {
    select_rooms!("AND r.room_id = $2", person.0, room.0).fetch_optional(conn).await
}

/// A room that somebody takes part in, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn room_to_change(conn: &mut PgConnection, person: PersonId, room: RoomId) -> Result<Option<Room>, DbError> {
    select_rooms!("AND r.room_id = $2 FOR NO KEY UPDATE OF r", person.0, room.0).fetch_optional(conn).await
}

/// Makes a room without anybody in it.
///
/// # Errors
/// Postgres.
pub async fn insert_room(
    conn: &mut PgConnection,
    (org, by): (OrgId, PersonId),
    room: RoomId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO chat_rooms (room_id, org_id, name, created_by, created_at, updated_at) VALUES ($1, $2, $3, $4, $5, $5)",
        room.0,
        org.0,
        name,
        by.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Writes name and end of a room; its version goes up by one.
///
/// # Errors
/// Postgres.
pub async fn save_room(conn: &mut PgConnection, room: &mut Room, now: DateTime<Utc>) -> Result<(), DbError> {
    room.version = sqlx::query_scalar!(
        "UPDATE chat_rooms SET name = $2, closed = $3, updated_at = $4, version = version + 1 WHERE room_id = $1 RETURNING version",
        room.id.0,
        room.name,
        room.closed,
        now
    )
    .fetch_one(conn)
    .await?;
    room.updated_at = now;
    Ok(())
}

/// Who takes part in a room, by their ids.
///
/// # Errors
/// Postgres.
pub async fn participants(conn: &mut PgConnection, room: RoomId) -> Result<Vec<Participant>, DbError> {
    sqlx::query_as!(
        Participant,
        r#"SELECT person_id AS "person: PersonId", read_seq FROM chat_participants WHERE room_id = $1 AND removed_at IS NULL ORDER BY person_id"#,
        room.0
    )
    .fetch_all(conn)
    .await
}

/// Which of these people cannot take part: they are no active staff of the organization.
///
/// # Errors
/// Postgres.
pub async fn strangers(conn: &mut PgConnection, org: OrgId, people: &[PersonId]) -> Result<Vec<PersonId>, DbError> {
    let ids: Vec<Uuid> = people.iter().map(|person| person.0).collect();
    sqlx::query_scalar!(
        r#"SELECT id AS "id!: PersonId" FROM unnest($2::uuid[]) AS n (id)
           WHERE NOT EXISTS (SELECT FROM people WHERE person_id = id AND org_id = $1 AND active AND role IN ('doctor', 'nurse', 'receptionist', 'admin'))"#,
        org.0,
        &ids
    )
    .fetch_all(conn)
    .await
}

/// Makes these people, and nobody else, those who take part. Who comes back has read as far as they had.
///
/// # Errors
/// Postgres.
pub async fn set_participants(
    conn: &mut PgConnection,
    (org, room): (OrgId, RoomId),
    people: &[PersonId],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let ids: Vec<Uuid> = people.iter().map(|person| person.0).collect();
    sqlx::query!(
        "UPDATE chat_participants SET removed_at = $3 WHERE room_id = $1 AND removed_at IS NULL AND person_id <> ALL ($2)",
        room.0,
        &ids,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO chat_participants (room_id, person_id, org_id, added_at) SELECT $1, id, $2, $4 FROM unnest($3::uuid[]) AS n (id)
         ON CONFLICT (room_id, person_id) DO UPDATE SET removed_at = NULL",
        room.0,
        org.0,
        &ids,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Puts on record what somebody said, as the next message of the room. Whoever calls holds the room's row.
///
/// # Errors
/// Postgres.
pub async fn say(
    conn: &mut PgConnection,
    (org, sender): (OrgId, PersonId),
    room: &Room,
    body: String,
    now: DateTime<Utc>,
) -> Result<ChatMessage, DbError> {
    let seq = sqlx::query_scalar!(
        "UPDATE chat_rooms SET last_seq = last_seq + 1 WHERE room_id = $1 RETURNING last_seq",
        room.id.0
    )
    .fetch_one(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO chat_messages (room_id, seq, org_id, sender_id, body, sent_at) VALUES ($1, $2, $3, $4, $5, $6)",
        room.id.0,
        seq,
        org.0,
        sender.0,
        body,
        now
    )
    .execute(&mut *conn)
    .await?;
    // Who says something has read what was said before it.
    read(conn, sender, room.id, seq).await?;
    Ok(ChatMessage { room: room.id, seq, sender, body, sent_at: now })
}

/// What was said in a room after a message, oldest first; nothing to whom does not take part.
///
/// # Errors
/// Postgres.
pub async fn messages(
    conn: &mut PgConnection,
    person: PersonId,
    room: RoomId,
    after: i64,
    limit: i64,
) -> Result<Vec<ChatMessage>, DbError> {
    sqlx::query_as!(
        ChatMessage,
        r#"SELECT m.room_id AS "room: RoomId", m.seq, m.sender_id AS "sender: PersonId", m.body, m.sent_at
           FROM chat_messages m JOIN chat_participants p ON p.room_id = m.room_id AND p.person_id = $1 AND p.removed_at IS NULL
           WHERE m.room_id = $2 AND m.seq > $3 ORDER BY m.seq LIMIT $4"#,
        person.0,
        room.0,
        after,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Somebody has read up to a message, and never less than before. Says how far that is.
///
/// # Errors
/// Postgres.
pub async fn read(conn: &mut PgConnection, person: PersonId, room: RoomId, seq: i64) -> Result<Option<i64>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE chat_participants p SET read_seq = greatest(p.read_seq, least($3, r.last_seq))
           FROM chat_rooms r WHERE r.room_id = $2 AND p.room_id = $2 AND p.person_id = $1 AND p.removed_at IS NULL RETURNING p.read_seq"#,
        person.0,
        room.0,
        seq
    )
    .fetch_optional(conn)
    .await
}
