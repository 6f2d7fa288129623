//! What was sent and what runs, as the staff of an organization look at it.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{JobId, MessageRowId, OrgId, PersonId};
use crate::store::DbError;

/// The states of a message.
pub const MESSAGE_STATES: [&str; 6] = ["planned", "sending", "sent", "uncertain", "suppressed", "failed"];
/// The states of a job.
pub const JOB_STATES: [&str; 7] = ["scheduled", "ready", "running", "done", "dead", "cancelled", "expired"];

/// A message of the log, without the address and the words of the server.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Message)]
pub struct MessageLine {
    /// The message.
    pub id: MessageRowId,
    /// Its kind.
    pub kind: String,
    /// What it is about.
    pub subject_id: Uuid,
    /// Which occasion of it.
    pub occurrence: String,
    /// To whom.
    pub patient_id: PersonId,
    /// By which way.
    pub channel: String,
    /// Its `Message-ID`.
    pub message_id: String,
    /// One of [`MESSAGE_STATES`].
    pub state: String,
    /// required, optional or critical.
    pub category: String,
    /// What it may say, 0 to 3.
    pub privacy_level: i16,
    /// Why it is in this state, where that needs saying.
    pub reason: Option<String>,
    /// The job that sends it.
    pub job_id: JobId,
    /// When it went on record.
    pub created_at: DateTime<Utc>,
    /// When the last try began.
    pub sending_at: Option<DateTime<Utc>>,
    /// When it was settled.
    pub settled_at: Option<DateTime<Utc>>,
}

/// Which way a list goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Way {
    /// From the first to the last: by time the earliest first, by name from A to Z.
    #[default]
    Up,
    /// From the last to the first.
    Down,
}

/// A place in a list that is sorted by time, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Before {
    /// The time of the last row that was shown …
    pub at: DateTime<Utc>,
    /// … and its id.
    pub id: Uuid,
}

macro_rules! list_messages {
    ($conn:expr, $org:expr, $state:expr, $patient:expr, $after:expr, $limit:expr, $past:literal, $way:literal) => {
        sqlx::query_as!(
            MessageLine,
            r#"SELECT id AS "id: MessageRowId", kind, subject_id, occurrence, recipient_id AS "patient_id: PersonId", channel, message_id, state, category,
                 privacy_level, reason, job_id AS "job_id: JobId", created_at, sending_at, settled_at
               FROM messages
               WHERE org_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR recipient_id = $3)
                 AND ($4::timestamptz IS NULL OR (created_at, id) "# + $past + r#" ($4, $5::uuid))
               ORDER BY created_at "# + $way + ", id " + $way + " LIMIT $6",
            $org.0,
            $state,
            $patient.map(|id: PersonId| id.0),
            $after.map(|place: Before| place.at),
            $after.map(|place: Before| place.id),
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// Messages of `org` after a place, by when they went on record.
///
/// # Errors
/// Postgres.
pub async fn messages(
    conn: &mut PgConnection,
    org: OrgId,
    state: Option<&str>,
    patient: Option<PersonId>,
    way: Way,
    after: Option<Before>,
    limit: i64,
) -> Result<Vec<MessageLine>, DbError> {
    match way {
        Way::Up => list_messages!(conn, org, state, patient, after, limit, ">", "ASC"),
        Way::Down => list_messages!(conn, org, state, patient, after, limit, "<", "DESC"),
    }
}

/// A job of an organization.
#[derive(Clone, Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Job)]
pub struct OrgJob {
    /// The job.
    pub id: JobId,
    /// Its kind.
    pub kind: String,
    /// Its queue.
    pub queue: String,
    /// One of [`JOB_STATES`].
    pub state: String,
    /// The attempt it is at.
    pub attempt: i32,
    /// Attempts in all.
    pub max_attempts: i32,
    /// When it was enqueued.
    pub enqueued_at: DateTime<Utc>,
    /// When it is or was due.
    pub run_at: DateTime<Utc>,
    /// When the last attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The last error.
    pub last_error: Option<String>,
}

/// Jobs of `org`, live and ended, newest first.
///
/// # Errors
/// Postgres.
pub async fn jobs(
    conn: &mut PgConnection,
    org: OrgId,
    state: Option<&str>,
    before: Option<JobId>,
    limit: i64,
) -> Result<Vec<OrgJob>, DbError> {
    sqlx::query_as!(
        OrgJob,
        r#"SELECT id AS "id!: JobId", kind AS "kind!", queue AS "queue!", state AS "state!", attempt AS "attempt!", max_attempts AS "max_attempts!",
             enqueued_at AS "enqueued_at!", run_at AS "run_at!", started_at, ended_at, last_error
           FROM job_list
           WHERE org_id = $1 AND ($2::text IS NULL OR state = $2) AND ($3::uuid IS NULL OR id < $3)
           ORDER BY id DESC LIMIT $4"#,
        org.0,
        state,
        before.map(|id| id.0),
        limit
    )
    .fetch_all(conn)
    .await
}
