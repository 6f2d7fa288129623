//! Whether ledger, belt, message log and dose plan agree, and which rows do not. Each check is one statement, so that it sees
//! one state of the database, and names ids only.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::JobId;
use crate::ledger::{Priority, Queue};
use crate::store::DbError;

/// How much it matters when rows are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Something is wrong.
    Error,
    /// Late, or caught between two looks; wrong only if it stays.
    Lagging,
    /// Worth knowing.
    Information,
}

impl Weight {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Weight::Error => "error",
            Weight::Lagging => "lagging",
            Weight::Information => "information",
        }
    }
}

/// What is compared with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Running jobs against the processes that beat.
    JobWithoutWorker,
    /// Due jobs against the lists in Redis; found by [`due_a_while`] and [`still_due`], as the belt is not in Postgres.
    JobOffBelt,
    /// Messages that are being sent against the claims of the ledger.
    MessageWithoutClaim,
    /// Sent messages against the states of their doses.
    DoseNotReminded,
    /// Reminded doses against the message log.
    DoseNotSent,
    /// Doses against the time.
    DoseBehind,
    /// Dose plans against the time.
    PlanBehind,
    /// Jobs that are done against the message log.
    JobWithoutMessage,
    /// Messages of which nobody knows whether they arrived.
    MessageUncertain,
}

/// What a check is about, in words for operators.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// Its name, for programs.
    pub name: &'static str,
    /// What its ids are ids of.
    pub of: &'static str,
    /// What it means when rows are found.
    pub meaning: &'static str,
    /// What to do then.
    pub todo: &'static str,
    /// Which tables it reads whole; none: it goes by an index.
    pub reads_whole: Option<&'static str>,
}

impl Check {
    /// Every check, in the order in which work passes through the system's parts.
    pub const ALL: [Check; 9] = [
        Check::JobWithoutWorker,
        Check::JobOffBelt,
        Check::MessageWithoutClaim,
        Check::DoseNotReminded,
        Check::DoseNotSent,
        Check::DoseBehind,
        Check::PlanBehind,
        Check::JobWithoutMessage,
        Check::MessageUncertain,
    ];

    /// How much it matters when rows are found.
    pub const fn weight(self) -> Weight {
        match self {
            Check::JobOffBelt => Weight::Lagging,
            Check::MessageUncertain => Weight::Information,
            _ => Weight::Error,
        }
    }

    /// What it is about.
    pub const fn words(self) -> Words {
        match self {
            Check::JobWithoutWorker => Words {
                name: "job_without_worker",
                of: "job",
                meaning: "These jobs are running according to the ledger, but their process has not beaten for 30 s, or is not on record.",
                todo: "The rescue should have given them back by now: see that a scheduler runs, and look for its line `rescue`.",
                reads_whole: Some("jobs"),
            },
            Check::JobOffBelt => Words {
                name: "job_off_belt",
                of: "job",
                meaning: "These jobs have been due for more than 60 s, and neither does a worker run them nor does a list in Redis have them.",
                todo: "Look again in a minute. If they stay: see that a scheduler runs, and look for its line `sweep`. With BELT=apalis-redis up to 512 jobs of a queue wait where this does not look.",
                reads_whole: None,
            },
            Check::MessageWithoutClaim => Words {
                name: "message_without_claim",
                of: "message",
                meaning: "These messages have been on record as being sent for more than 60 s, and the claim they were sent under is no longer held: a try broke off in the middle.",
                todo: "The next try of the job calls them uncertain. If `pulsecal jobs show` says that the job has ended, look for the Message-ID in the mail server's log.",
                reads_whole: Some("messages"),
            },
            Check::DoseNotReminded => Words {
                name: "dose_not_reminded",
                of: "dose",
                meaning: "A message of these doses is on record as sent, but the dose still is as if nobody had been reminded.",
                todo: "Both are written in one transaction, so somebody changed a row by hand, or this is a fault of PulseCal: report it.",
                reads_whole: Some("dose_occurrences and messages"),
            },
            Check::DoseNotSent => Words {
                name: "dose_not_sent",
                of: "dose",
                meaning: "These doses are on record as reminded of, but no message of theirs is on record as sent.",
                todo: "Both are written in one transaction, so somebody changed or removed a row by hand, or this is a fault of PulseCal: report it.",
                reads_whole: Some("dose_occurrences and messages"),
            },
            Check::DoseBehind => Words {
                name: "dose_behind",
                of: "dose",
                meaning: "The next step of these doses fell due more than 2 minutes ago, and nothing came of it.",
                todo: "See that a scheduler runs, and look for its line `dispatch`.",
                reads_whole: None,
            },
            Check::PlanBehind => Words {
                name: "plan_behind",
                of: "reminder",
                meaning: "The planner should have looked at these reminders more than 20 minutes ago; it runs each quarter of an hour.",
                todo: "Run `pulsecal doses plan`. See that the schedule materialise_doses is on and that a worker serves the queue maintenance.",
                reads_whole: None,
            },
            Check::JobWithoutMessage => Words {
                name: "job_without_message",
                of: "job",
                meaning: "These reminder jobs are done, but the log has no message of theirs that is settled (sent, uncertain, suppressed or failed).",
                todo: "Both are written in one transaction, so somebody changed or removed a row by hand, or this is a fault of PulseCal: report it.",
                reads_whole: Some("job_history and messages"),
            },
            Check::MessageUncertain => Words {
                name: "message_uncertain",
                of: "message",
                meaning: "Nobody knows whether the mail server took these messages. The newest come first.",
                todo: "Nothing has to be done. docs/OPERATIONS.md says how to find out.",
                reads_whole: Some("messages"),
            },
        }
    }
}

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// How many rows.
    pub count: i64,
    /// The first of them.
    pub ids: Vec<Uuid>,
}

macro_rules! find {
    ($conn:expr, $sql:literal, $($args:expr),*) => {{
        let rows = sqlx::query!($sql, $($args),*).fetch_all($conn).await?;
        Found { count: rows.first().map_or(0, |row| row.total), ids: rows.iter().map(|row| row.id).collect() }
    }};
}

/// Runs a check, as of `now`, and returns at most `limit` ids. [`Check::JobOffBelt`] is not for this and finds nothing.
///
/// # Errors
/// Postgres.
pub async fn find(conn: &mut PgConnection, check: Check, now: DateTime<Utc>, limit: i64) -> Result<Found, DbError> {
    Ok(match check {
        Check::JobOffBelt => Found::default(),
        // Beats and claims are written by Postgres's clock, so they are compared with it. A job whose process has no row is
        // given back after a minute at most: the rescue looks for those each 30 s, and passes those by that started just now.
        Check::JobWithoutWorker => find!(
            conn,
            r#"SELECT j.id AS "id!", count(*) OVER () AS "total!" FROM jobs j LEFT JOIN processes p ON p.process_id = j.worker
               WHERE j.worker IS NOT NULL
                 AND (p.beat_at < now() - interval '30 seconds' OR (p.process_id IS NULL AND j.started_at < now() - interval '90 seconds'))
               ORDER BY j.started_at, j.id LIMIT $1"#,
            limit
        ),
        Check::MessageWithoutClaim => find!(
            conn,
            r#"SELECT m.id AS "id!", count(*) OVER () AS "total!" FROM messages m
               WHERE m.state = 'sending' AND m.sending_at < $2::timestamptz - interval '60 seconds'
                 AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = m.job_id AND j.attempt = m.job_attempt AND j.worker = m.job_worker)
               ORDER BY m.sending_at, m.id LIMIT $1"#,
            limit,
            now
        ),
        // A message's occurrence is `ladder/step`: only what was sent since the last snooze or move counts.
        Check::DoseNotReminded => find!(
            conn,
            r#"SELECT o.occurrence_id AS "id!", count(*) OVER () AS "total!" FROM dose_occurrences o
               WHERE o.state IN ('planned', 'due', 'snoozed', 'uncertain')
                 AND EXISTS (SELECT FROM messages m WHERE m.subject_id = o.occurrence_id AND m.kind = 'medication_reminder' AND m.state = 'sent'
                   AND split_part(m.occurrence, '/', 1) = floor(extract(epoch FROM o.ladder_at))::bigint::text)
               ORDER BY o.due_at, o.occurrence_id LIMIT $1"#,
            limit
        ),
        // Of any ladder: a mail that was under way while its dose was snoozed is a reminder all the same.
        Check::DoseNotSent => find!(
            conn,
            r#"SELECT o.occurrence_id AS "id!", count(*) OVER () AS "total!" FROM dose_occurrences o
               WHERE o.state = 'reminded'
                 AND NOT EXISTS (SELECT FROM messages m WHERE m.subject_id = o.occurrence_id AND m.kind = 'medication_reminder' AND m.state = 'sent')
               ORDER BY o.due_at, o.occurrence_id LIMIT $1"#,
            limit
        ),
        Check::DoseBehind => find!(
            conn,
            r#"SELECT occurrence_id AS "id!", count(*) OVER () AS "total!" FROM dose_occurrences
               WHERE next_at < $2::timestamptz - interval '2 minutes' ORDER BY next_at, occurrence_id LIMIT $1"#,
            limit,
            now
        ),
        Check::PlanBehind => find!(
            conn,
            r#"SELECT reminder_id AS "id!", count(*) OVER () AS "total!" FROM medication_reminders
               WHERE active AND next_plan_at < $2::timestamptz - interval '20 minutes' ORDER BY next_plan_at, reminder_id LIMIT $1"#,
            limit,
            now
        ),
        // By what the job was to send, not by the job: one whose message was settled by another is done as well.
        Check::JobWithoutMessage => find!(
            conn,
            r#"SELECT h.id AS "id!", count(*) OVER () AS "total!" FROM job_history h
               WHERE h.kind = 'medication_reminder' AND h.state = 'done'
                 AND NOT EXISTS (SELECT FROM messages m
                   WHERE m.subject_id = CASE WHEN h.args->>'dose' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' THEN (h.args->>'dose')::uuid END
                   AND m.occurrence = concat(h.args->>'ladder', '/', h.args->>'step') AND m.kind = 'medication_reminder'
                   AND m.state IN ('sent', 'uncertain', 'suppressed', 'failed'))
               ORDER BY h.ended_at, h.id LIMIT $1"#,
            limit
        ),
        Check::MessageUncertain => find!(
            conn,
            r#"SELECT id AS "id!", count(*) OVER () AS "total!" FROM messages WHERE state = 'uncertain'
               ORDER BY settled_at DESC, id DESC LIMIT $1"#,
            limit
        ),
    })
}

/// Lets this transaction's statements take up to 15 minutes: a whole table may be large.
///
/// # Errors
/// Postgres.
pub async fn take_time(conn: &mut PgConnection) -> Result<(), DbError> {
    sqlx::query!("SELECT set_config('statement_timeout', '900000', true)").fetch_one(conn).await?;
    Ok(())
}

/// Jobs of a queue and priority that nobody runs though they have been due for more than 60 s, the oldest first.
///
/// # Errors
/// Postgres.
pub async fn due_a_while(
    conn: &mut PgConnection,
    queue: Queue,
    priority: Priority,
    limit: i64,
) -> Result<Vec<JobId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: JobId" FROM jobs
           WHERE queue = $1 AND priority = $2 AND run_at < now() - interval '60 seconds' AND worker IS NULL ORDER BY run_at, id LIMIT $3"#,
        queue.as_str(),
        priority.level(),
        limit
    )
    .fetch_all(conn)
    .await
}

/// Those of `ids` that still are as [`due_a_while`] has them, the oldest first.
///
/// # Errors
/// Postgres.
pub async fn still_due(conn: &mut PgConnection, ids: &[JobId]) -> Result<Vec<JobId>, DbError> {
    sqlx::query_scalar!(
        r#"SELECT id AS "id: JobId" FROM jobs
           WHERE id = ANY($1) AND run_at < now() - interval '60 seconds' AND worker IS NULL ORDER BY run_at, id"#,
        &ids.iter().map(|id| id.0).collect::<Vec<_>>()
    )
    .fetch_all(conn)
    .await
}
