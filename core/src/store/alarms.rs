//! Alarms: what is wrong that operators must be told of once, not each minute; and the mails that tell them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::AlarmMailId;
use crate::mail::EmailAddress;
use crate::store::DbError;

/// For so long it is known which mails were written.
const KEPT_DAYS: i64 = 400;

/// What can be wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Alarm {
    /// No backup was proven for too long.
    BackupOverdue,
    /// The last run of the backup failed, all its tries, or what it made was found to be no good.
    BackupFailed,
    /// Backups were restored to try them, and no longer are.
    DrillOverdue,
    /// Somebody of a clinic reads the records of a patient whom they do not treat.
    GlassBroken,
}

impl Alarm {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::BackupOverdue, Self::BackupFailed, Self::DrillOverdue, Self::GlassBroken];

    /// Its name. Never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BackupOverdue => "backup.overdue",
            Self::BackupFailed => "backup.failed",
            Self::DrillOverdue => "backup.drill_overdue",
            Self::GlassBroken => "record.glass_broken",
        }
    }

    /// What it says while it is raised.
    pub const fn says(self) -> &'static str {
        match self {
            Self::BackupOverdue => "No database backup was proven within the last 26 hours",
            Self::BackupFailed => "The last database backup failed, or was found to be no good",
            Self::DrillOverdue => "No database backup was restored as a drill within the last 9 days",
            Self::GlassBroken => "The glass was broken to read the records of a patient",
        }
    }

    /// What is said when it is over.
    pub const fn over(self) -> &'static str {
        match self {
            Self::BackupOverdue => "A database backup is proven again",
            Self::BackupFailed => "Database backups work again",
            Self::DrillOverdue => "A database backup was restored as a drill again",
            Self::GlassBroken => "Nobody reads records under a broken glass any more",
        }
    }
}

/// An alarm, as it stands.
#[derive(Clone, Debug, Serialize)]
pub struct Standing {
    /// Whether something is wrong.
    pub raised: bool,
    /// Since when it is so.
    pub since: DateTime<Utc>,
}

/// How an alarm stands, locked until the end of the transaction; it is there from the first look on, not raised.
///
/// # Errors
/// Postgres.
pub async fn look(conn: &mut PgConnection, alarm: Alarm, now: DateTime<Utc>) -> Result<Standing, DbError> {
    let name = alarm.as_str();
    sqlx::query!("INSERT INTO alarms (name, raised, since) VALUES ($1, false, $2) ON CONFLICT DO NOTHING", name, now)
        .execute(&mut *conn)
        .await?;
    sqlx::query_as!(Standing, "SELECT raised, since FROM alarms WHERE name = $1 FOR UPDATE", name).fetch_one(conn).await
}

/// Those that are raised, by name.
///
/// # Errors
/// Postgres.
pub async fn raised(conn: &mut PgConnection) -> Result<Vec<(Alarm, DateTime<Utc>)>, DbError> {
    let rows = sqlx::query!("SELECT name, since FROM alarms WHERE raised ORDER BY name").fetch_all(conn).await?;
    let known = |name: &str| Alarm::ALL.into_iter().find(|alarm| alarm.as_str() == name);
    Ok(rows.into_iter().filter_map(|row| Some((known(&row.name)?, row.since))).collect())
}

/// Changes how an alarm stands, and puts a mail to each of `addresses` on record, to be enqueued in this transaction. `about` is
/// one occasion of it that the mails name, by its ids: such a mail is sent whatever becomes of the alarm.
///
/// # Errors
/// Postgres.
pub async fn change(
    conn: &mut PgConnection,
    alarm: Alarm,
    raised: bool,
    detail: &str,
    addresses: &[(AlarmMailId, &EmailAddress)],
    about: Option<&str>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let name = alarm.as_str();
    sqlx::query!("UPDATE alarms SET raised = $2, since = $4, detail = $3 WHERE name = $1", name, raised, detail, now)
        .execute(&mut *conn)
        .await?;
    for (id, address) in addresses {
        sqlx::query!(
            "INSERT INTO alarm_mails (alarm_mail_id, alarm, raised, since, address, about) VALUES ($1, $2, $3, $4, $5, $6)",
            id.0,
            name,
            raised,
            now,
            address.expose(),
            about
        )
        .execute(&mut *conn)
        .await?;
    }
    let old = now - TimeDelta::days(KEPT_DAYS);
    sqlx::query!("DELETE FROM alarm_mails WHERE since < $1", old).execute(conn).await?;
    Ok(())
}

/// What a mail about an alarm is written from. No `Debug`: it holds an address.
pub struct AlarmSubject {
    /// The mail.
    pub id: AlarmMailId,
    /// The alarm; none: another release's.
    pub alarm: Option<Alarm>,
    /// Whether it was raised, or is over.
    pub raised: bool,
    /// Since when.
    pub since: DateTime<Utc>,
    /// The operator's address.
    pub address: String,
    /// The occasion that it names, by its ids.
    pub about: Option<String>,
    /// Whether it still stands as the mail says.
    pub stands: bool,
}

/// The subjects of these mails.
///
/// # Errors
/// Postgres.
pub async fn subjects(conn: &mut PgConnection, mails: &[AlarmMailId]) -> Result<Vec<AlarmSubject>, DbError> {
    let ids: Vec<Uuid> = mails.iter().map(|mail| mail.0).collect();
    let rows = sqlx::query!(
        r#"SELECT m.alarm_mail_id AS "id: AlarmMailId", m.alarm, m.raised, m.since, m.address, m.about,
           m.about IS NOT NULL OR (a.raised = m.raised AND a.since = m.since) AS "stands!"
         FROM alarm_mails m JOIN alarms a ON a.name = m.alarm WHERE m.alarm_mail_id = ANY($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let subject = rows.into_iter().map(|row| AlarmSubject {
        id: row.id,
        alarm: Alarm::ALL.into_iter().find(|alarm| alarm.as_str() == row.alarm),
        raised: row.raised,
        since: row.since,
        address: row.address,
        about: row.about,
        stands: row.stands,
    });
    Ok(subject.collect())
}
