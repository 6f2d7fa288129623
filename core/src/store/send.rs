//! The message log and the dose that a message is about: read, promised and recorded in batches.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{MessageRowId, OccurrenceId, OrgId, PersonId};
use crate::ledger::Fence;
use crate::store::DbError;

/// A dose with all that its mail may need, as it is at this moment. No `Debug`: it holds personal data.
pub struct DoseSubject {
    /// The dose.
    pub occurrence: OccurrenceId,
    /// Whose.
    pub org: OrgId,
    /// The patient.
    pub patient: PersonId,
    /// When it is due.
    pub due_at: DateTime<Utc>,
    /// The zone it was planned in.
    pub zone: String,
    /// Its state.
    pub state: String,
    /// The step that comes next.
    pub step: i16,
    /// Where its steps count from.
    pub ladder_at: DateTime<Utc>,
    /// The reminder is on.
    pub reminder_active: bool,
    /// The prescription's status.
    pub prescription_status: String,
    /// The medicine's name.
    pub medicine: String,
    /// How much of it.
    pub dosage: String,
    /// The patient's address.
    pub email: Option<String>,
    /// The address was proven.
    pub email_verified: bool,
    /// What a mail may say, 0 to 3.
    pub privacy_level: i16,
    /// The patient is active and alive.
    pub reachable: bool,
    /// The clinic's name.
    pub clinic_name: String,
    /// The name it uses where its own tells too much.
    pub discreet_name: Option<String>,
    /// The clinic's telephone number.
    pub clinic_phone: Option<String>,
    /// Who prescribed.
    pub prescriber: Option<String>,
}

/// Reads doses with what their mails need.
///
/// # Errors
/// Postgres.
pub async fn dose_subjects(
    conn: &mut PgConnection,
    ids: &[OccurrenceId],
) -> Result<HashMap<OccurrenceId, DoseSubject>, DbError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let rows = sqlx::query_as!(
        DoseSubject,
        r#"SELECT o.occurrence_id AS "occurrence: OccurrenceId", o.org_id AS "org: OrgId", o.patient_id AS "patient: PersonId", o.due_at, o.zone,
             o.state, o.step, o.ladder_at, r.active AS reminder_active, x.status AS prescription_status, x.medicine, x.dosage,
             p.email, p.email_verified_at IS NOT NULL AS "email_verified!", p.privacy_level, p.active AND NOT p.deceased AS "reachable!",
             c.name AS clinic_name, c.discreet_name, c.phone AS clinic_phone,
             CASE WHEN d.person_id IS NOT NULL THEN concat_ws(' ', d.given_name, d.family_name) END AS prescriber
           FROM dose_occurrences o
           JOIN medication_reminders r USING (reminder_id)
           JOIN prescriptions x USING (prescription_id)
           JOIN people p ON p.person_id = o.patient_id
           JOIN organizations c ON c.org_id = o.org_id
           LEFT JOIN people d ON d.person_id = x.prescriber_id
           WHERE o.occurrence_id = ANY($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.occurrence, row)).collect())
}

/// The class of a message: what a recipient's wishes and an unsure outcome mean to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Category {
    /// Part of the care: sent whatever the recipient prefers.
    Required,
    /// Sent unless the recipient does not want it.
    Optional,
    /// As required, and late is as bad as never.
    Critical,
}

impl Category {
    /// As the log has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Critical => "critical",
        }
    }
}

/// A message that is about to be sent, or will not be.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// The row: derived from (kind, subject, occurrence, recipient, channel), so one message has one.
    pub id: MessageRowId,
    /// Whose; none: the platform's own.
    pub org: Option<OrgId>,
    /// The kind.
    pub kind: &'static str,
    /// What it is about.
    pub subject: Uuid,
    /// Which occasion of it.
    pub occurrence: String,
    /// To whom.
    pub recipient: PersonId,
    /// Its `Message-ID`.
    pub message_id: String,
    /// Its class.
    pub category: Category,
    /// What it may say.
    pub privacy_level: i16,
    /// The claim under which it is sent.
    pub fence: Fence,
    /// Not to be sent, and why.
    pub suppressed: Option<&'static str>,
}

/// What the log says to a message that wants to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Promised {
    /// It is on record as being sent: send it now, and record how that ended.
    Send,
    /// It is on record as not to be sent.
    Suppressed,
    /// It has its outcome already: this state.
    Settled(String),
    /// An earlier try broke off in the middle; whether the server took it is unknown. It is on record as uncertain.
    BecameUncertain,
    /// The job was given to another worker: leave everything alone.
    Fenced,
}

/// Puts messages on record as being sent (or suppressed), if their claims still hold and no try has settled them.
///
/// # Errors
/// Postgres.
pub async fn promise(
    conn: &mut PgConnection,
    messages: &[&NewMessage],
    now: DateTime<Utc>,
) -> Result<HashMap<MessageRowId, Promised>, DbError> {
    let ids: Vec<Uuid> = messages.iter().map(|m| m.id.0).collect();
    let jobs: Vec<Uuid> = messages.iter().map(|m| m.fence.job.0).collect();
    let attempts: Vec<i32> = messages.iter().map(|m| m.fence.attempt).collect();
    let rows = sqlx::query!(
        r#"INSERT INTO messages (id, org_id, kind, subject_id, occurrence, recipient_id, channel, message_id, state, category, privacy_level,
             job_id, job_attempt, job_worker, reason, created_at, sending_at, settled_at)
           SELECT n.id, n.org, n.kind, n.subject, n.occurrence, n.recipient, 'email', n.message_id,
             CASE WHEN n.why IS NULL THEN 'sending' ELSE 'suppressed' END, n.category, n.level, n.job, n.attempt, n.worker, n.why, $14::timestamptz,
             CASE WHEN n.why IS NULL THEN $14::timestamptz END, CASE WHEN n.why IS NOT NULL THEN $14::timestamptz END
           FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::int2[], $10::uuid[],
             $11::int4[], $12::uuid[], $13::text[])
             AS n (id, org, kind, subject, occurrence, recipient, message_id, category, level, job, attempt, worker, why)
           JOIN jobs j ON j.id = n.job AND j.attempt = n.attempt AND j.worker = n.worker
           ON CONFLICT (subject_id, occurrence, kind, recipient_id, channel) DO UPDATE
             SET state = excluded.state, job_id = excluded.job_id, job_attempt = excluded.job_attempt, job_worker = excluded.job_worker, reason = excluded.reason,
               sending_at = excluded.sending_at, settled_at = excluded.settled_at
             WHERE messages.state = 'planned'
           RETURNING id AS "id: MessageRowId", state"#,
        &ids,
        &messages.iter().map(|m| m.org.map(|org| org.0)).collect::<Vec<_>>() as &[Option<Uuid>],
        &messages.iter().map(|m| m.kind.to_owned()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.subject).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.occurrence.clone()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.recipient.0).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.message_id.clone()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.category.as_str().to_owned()).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.privacy_level).collect::<Vec<_>>(),
        &jobs,
        &attempts,
        &messages.iter().map(|m| m.fence.worker.0).collect::<Vec<_>>(),
        &messages.iter().map(|m| m.suppressed.map(str::to_owned)).collect::<Vec<_>>() as &[Option<String>],
        now,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut answer: HashMap<MessageRowId, Promised> = rows
        .into_iter()
        .map(|row| (row.id, if row.state == "sending" { Promised::Send } else { Promised::Suppressed }))
        .collect();
    if answer.len() == messages.len() {
        return Ok(answer);
    }
    // The rest has an outcome, broke off under an earlier claim, or lost its claim.
    let rest: Vec<usize> = (0..messages.len()).filter(|i| !answer.contains_key(&messages[*i].id)).collect();
    let pick = |of: &[Uuid]| rest.iter().map(|i| of[*i]).collect::<Vec<_>>();
    let broken = sqlx::query_scalar!(
        r#"UPDATE messages m SET state = 'uncertain', reason = 'the try before broke off in the middle', settled_at = $5
           FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::uuid[]) AS n (id, job, attempt, worker)
           JOIN jobs j ON j.id = n.job AND j.attempt = n.attempt AND j.worker = n.worker
           WHERE m.id = n.id AND m.state = 'sending' AND (m.job_id, m.job_attempt, m.job_worker) <> (n.job, n.attempt, n.worker)
           RETURNING m.id AS "id: MessageRowId""#,
        &pick(&ids),
        &pick(&jobs),
        &rest.iter().map(|i| attempts[*i]).collect::<Vec<_>>(),
        &rest.iter().map(|i| messages[*i].fence.worker.0).collect::<Vec<_>>(),
        now
    )
    .fetch_all(&mut *conn)
    .await?;
    answer.extend(broken.into_iter().map(|id| (id, Promised::BecameUncertain)));
    let settled = sqlx::query!(
        r#"SELECT m.id AS "id: MessageRowId", m.state FROM messages m JOIN unnest($1::uuid[], $2::uuid[], $3::int4[], $4::uuid[]) AS n (id, job, attempt, worker)
             ON m.id = n.id JOIN jobs j ON j.id = n.job AND j.attempt = n.attempt AND j.worker = n.worker
           WHERE m.state NOT IN ('sending', 'planned')"#,
        &pick(&ids),
        &pick(&jobs),
        &rest.iter().map(|i| attempts[*i]).collect::<Vec<_>>(),
        &rest.iter().map(|i| messages[*i].fence.worker.0).collect::<Vec<_>>(),
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in settled {
        answer.entry(row.id).or_insert(Promised::Settled(row.state));
    }
    for message in messages {
        answer.entry(message.id).or_insert(Promised::Fenced);
    }
    Ok(answer)
}

/// How a try to send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The server took it.
    Sent,
    /// The server may have taken it.
    Uncertain,
    /// It will not be sent.
    Failed,
    /// It was not sent, and another try comes.
    Planned,
}

impl Outcome {
    /// As the log has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Uncertain => "uncertain",
            Self::Failed => "failed",
            Self::Planned => "planned",
        }
    }
}

/// How a try to send ended, as the log keeps it.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The message.
    pub id: MessageRowId,
    /// The claim under which it was sent.
    pub fence: Fence,
    /// How it ended.
    pub outcome: Outcome,
    /// The server's word.
    pub reply: Option<String>,
    /// Why not.
    pub reason: Option<String>,
}

/// Records in the message log how tries ended. Returns the messages whose claim still held; the others stay as the newer
/// claim has them.
///
/// # Errors
/// Postgres.
pub async fn record(
    conn: &mut PgConnection,
    all: &[&Recorded],
    now: DateTime<Utc>,
) -> Result<Vec<MessageRowId>, DbError> {
    let held = sqlx::query_scalar!(
        r#"UPDATE messages m SET state = n.state, reply = n.reply, reason = n.why, settled_at = CASE WHEN n.state <> 'planned' THEN $7::timestamptz END
           FROM unnest($1::uuid[], $2::uuid[], $3::int4[], $4::text[], $5::text[], $6::text[]) AS n (id, job, attempt, state, reply, why)
           WHERE m.id = n.id AND m.state = 'sending' AND m.job_id = n.job AND m.job_attempt = n.attempt AND m.job_worker = ANY ($8)
           RETURNING m.id AS "id: MessageRowId""#,
        &all.iter().map(|r| r.id.0).collect::<Vec<_>>(),
        &all.iter().map(|r| r.fence.job.0).collect::<Vec<_>>(),
        &all.iter().map(|r| r.fence.attempt).collect::<Vec<_>>(),
        &all.iter().map(|r| r.outcome.as_str().to_owned()).collect::<Vec<_>>(),
        &all.iter().map(|r| r.reply.clone()).collect::<Vec<_>>() as &[Option<String>],
        &all.iter().map(|r| r.reason.clone()).collect::<Vec<_>>() as &[Option<String>],
        now,
        &all.iter().map(|r| r.fence.worker.0).collect::<Vec<_>>()
    )
    .fetch_all(&mut *conn)
    .await?;
    Ok(held)
}

/// What messages did to their doses: reminded, or perhaps reminded. A dose that was answered or missed meanwhile stays so.
///
/// # Errors
/// Postgres.
pub async fn mark_doses(
    conn: &mut PgConnection,
    doses: &[(OccurrenceId, bool)],
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE dose_occurrences o SET state = CASE WHEN n.sent THEN 'reminded' ELSE 'uncertain' END,
           reminded_at = CASE WHEN n.sent THEN coalesce(o.reminded_at, $3) ELSE o.reminded_at END, updated_at = $3
         FROM unnest($1::uuid[], $2::bool[]) AS n (id, sent)
         WHERE o.occurrence_id = n.id AND (o.state IN ('due', 'uncertain') OR (n.sent AND o.state = 'snoozed'))",
        &doses.iter().map(|(id, _)| id.0).collect::<Vec<_>>(),
        &doses.iter().map(|(_, sent)| *sent).collect::<Vec<_>>(),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A message that its job left behind.
#[derive(Clone, Debug)]
pub struct LeftBehind {
    /// The message.
    pub id: MessageRowId,
    /// Whose; none: the platform's own.
    pub org: Option<OrgId>,
    /// Its kind.
    pub kind: String,
    /// What it is about.
    pub subject: Uuid,
    /// Its job.
    pub job: Uuid,
    /// What it is on record as now.
    pub state: String,
}

/// Settles messages whose job ended since `since` without them: it expired or was cancelled before another try, or died with
/// its worker. What was being sent then is uncertain; what waited for another try is failed if its job is dead, else
/// suppressed. A job that an operator has retried meanwhile keeps its messages.
///
/// # Errors
/// Postgres.
pub async fn settle_left_behind(
    conn: &mut PgConnection,
    since: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Vec<LeftBehind>, DbError> {
    // No index of the log goes by job: it would cost each send. One goes by subject, which is among the ids in the job's args.
    sqlx::query_as!(
        LeftBehind,
        r#"WITH ended AS MATERIALIZED (
             SELECT h.id, h.state, (arg #>> '{}')::uuid AS subject
             FROM job_history h, jsonb_path_query(h.args, '$.* ? (@ like_regex "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")') AS arg
             WHERE h.state IN ('dead', 'cancelled', 'expired') AND h.ended_at > $1 AND NOT EXISTS (SELECT FROM jobs j WHERE j.id = h.id)
           )
           UPDATE messages m SET settled_at = $2, reason = coalesce(m.reason || '; ', '') || 'its job ended as ' || e.state,
             state = CASE WHEN m.state = 'sending' THEN 'uncertain' WHEN e.state = 'dead' THEN 'failed' ELSE 'suppressed' END
           FROM ended e WHERE m.subject_id = e.subject AND m.job_id = e.id AND m.state IN ('planned', 'sending')
           RETURNING m.id AS "id: MessageRowId", m.org_id AS "org: OrgId", m.kind, m.subject_id AS subject, m.job_id AS job, m.state"#,
        since,
        now
    )
    .fetch_all(conn)
    .await
}
