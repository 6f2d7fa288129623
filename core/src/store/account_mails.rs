//! The mails of accounts and the links in them.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AccountId, AccountMailId, PersonId};
use crate::store::DbError;

/// For so long it is known which mails were written.
const KEPT_DAYS: i64 = 400;

/// What a mail to the owner of an account is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountMailKind {
    /// They are invited to an organization.
    Invitation,
    /// They asked for another password.
    Reset,
    /// Wrong passwords were tried, and for a while none is tried any more.
    Locked,
    /// The password was changed.
    PasswordChanged,
    /// A second factor was switched on.
    SecondFactorOn,
    /// It was switched off.
    SecondFactorOff,
    /// Somebody signed in with a recovery code.
    RecoveryCodeUsed,
    /// Wrong codes were tried after the right password, and for a while none is tried any more.
    CodesLocked,
    /// Somebody signed in at an issuer of OpenID Connect for the first time.
    Linked,
    /// They signed up, and are to prove their address.
    Verify,
    /// Somebody signed up with their address, which has an account.
    SignUpKnown,
}

impl AccountMailKind {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Invitation,
        Self::Reset,
        Self::Locked,
        Self::PasswordChanged,
        Self::SecondFactorOn,
        Self::SecondFactorOff,
        Self::RecoveryCodeUsed,
        Self::CodesLocked,
        Self::Linked,
        Self::Verify,
        Self::SignUpKnown,
    ];

    /// Its name. Never changes.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Invitation => "invitation",
            Self::Reset => "reset",
            Self::Locked => "locked",
            Self::PasswordChanged => "password_changed",
            Self::SecondFactorOn => "second_factor_on",
            Self::SecondFactorOff => "second_factor_off",
            Self::RecoveryCodeUsed => "recovery_code_used",
            Self::CodesLocked => "codes_locked",
            Self::Linked => "linked",
            Self::Verify => "verify",
            Self::SignUpKnown => "sign_up_known",
        }
    }

    /// How long its link is good, and how long it is worth sending.
    pub const fn good_for(self) -> TimeDelta {
        match self {
            Self::Invitation => TimeDelta::days(7),
            Self::Reset => TimeDelta::minutes(30),
            Self::Locked
            | Self::PasswordChanged
            | Self::SecondFactorOn
            | Self::SecondFactorOff
            | Self::RecoveryCodeUsed
            | Self::CodesLocked
            | Self::Linked
            | Self::Verify
            | Self::SignUpKnown => TimeDelta::days(1),
        }
    }

    fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A mail to put on record.
#[derive(Clone, Copy, Debug)]
pub struct NewAccountMail {
    /// The mail.
    pub id: AccountMailId,
    /// To the owner of which account.
    pub account: AccountId,
    /// What it is about.
    pub kind: AccountMailKind,
    /// Who is invited.
    pub person: Option<PersonId>,
    /// What its link follows from, together with a key.
    pub seed: [u8; 32],
}

/// Puts a mail on record, to be enqueued in this transaction; forgets old ones of the account.
///
/// # Errors
/// Postgres.
pub async fn insert(conn: &mut PgConnection, mail: &NewAccountMail, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "DELETE FROM account_mails WHERE account_id = $1 AND created_at < $2",
        mail.account.0,
        now - TimeDelta::days(KEPT_DAYS)
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "INSERT INTO account_mails (account_mail_id, account_id, kind, person_id, seed, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        mail.id.0,
        mail.account.0,
        mail.kind.as_str(),
        mail.person.map(|person| person.0),
        &mail.seed[..],
        now,
        now + mail.kind.good_for()
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Whether a mail of that kind was written since then.
///
/// # Errors
/// Postgres.
pub async fn written_since(
    conn: &mut PgConnection,
    account: AccountId,
    kind: AccountMailKind,
    since: DateTime<Utc>,
) -> Result<bool, DbError> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM account_mails WHERE account_id = $1 AND kind = $2 AND created_at > $3) AS "is!""#,
        account.0,
        kind.as_str(),
        since
    )
    .fetch_one(conn)
    .await
}

/// What a link stands for.
#[derive(Clone, Debug)]
pub struct LinkRow {
    /// Whose.
    pub account: AccountId,
    /// Of a mail of which kind; none: another release's.
    pub kind: Option<AccountMailKind>,
    /// Who is invited.
    pub person: Option<PersonId>,
    /// What the link follows from, together with a key.
    pub seed: Vec<u8>,
    /// It is worth nothing any more, used or not.
    pub over: bool,
}

/// The link in a mail.
///
/// # Errors
/// Postgres.
pub async fn link(
    conn: &mut PgConnection,
    mail: AccountMailId,
    now: DateTime<Utc>,
) -> Result<Option<LinkRow>, DbError> {
    let row = sqlx::query!(
        r#"SELECT account_id AS "account: AccountId", kind, person_id AS "person: PersonId", seed, used_at IS NOT NULL OR expires_at <= $2 AS "over!"
           FROM account_mails WHERE account_mail_id = $1"#,
        mail.0,
        now
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| LinkRow {
        account: row.account,
        kind: AccountMailKind::of(&row.kind),
        person: row.person,
        seed: row.seed,
        over: row.over,
    }))
}

/// Uses a link. False: it was used before, or its time is over.
///
/// # Errors
/// Postgres.
pub async fn spend(conn: &mut PgConnection, mail: AccountMailId, now: DateTime<Utc>) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "UPDATE account_mails SET used_at = $2 WHERE account_mail_id = $1 AND used_at IS NULL AND expires_at > $2",
        mail.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Withdraws the links of a kind, for one person or for all.
///
/// # Errors
/// Postgres.
pub async fn withdraw(
    conn: &mut PgConnection,
    account: AccountId,
    kind: AccountMailKind,
    person: Option<PersonId>,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE account_mails SET used_at = $4 WHERE account_id = $1 AND kind = $2 AND used_at IS NULL AND ($3::uuid IS NULL OR person_id = $3)",
        account.0,
        kind.as_str(),
        person.map(|person| person.0),
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a mail is written from. No `Debug`: it holds an address.
pub struct AccountMailSubject {
    /// The mail.
    pub id: AccountMailId,
    /// The account.
    pub account: AccountId,
    /// What it is about; none: another release's.
    pub kind: Option<AccountMailKind>,
    /// The address.
    pub email: String,
    /// What its link follows from.
    pub seed: Vec<u8>,
    /// When it was written.
    pub created_at: DateTime<Utc>,
    /// It is good until then.
    pub expires_at: DateTime<Utc>,
    /// Its link was used, or withdrawn.
    pub used: bool,
    /// Who invites, as the invited may be told: patients by the discreet name, if there is one.
    pub sender: Option<String>,
}

/// The subjects of these mails.
///
/// # Errors
/// Postgres.
pub async fn subjects(conn: &mut PgConnection, mails: &[AccountMailId]) -> Result<Vec<AccountMailSubject>, DbError> {
    let ids: Vec<Uuid> = mails.iter().map(|mail| mail.0).collect();
    let rows = sqlx::query!(
        r#"SELECT m.account_mail_id AS "id: AccountMailId", m.account_id AS "account: AccountId", m.kind, a.email, m.seed, m.created_at, m.expires_at,
             m.used_at IS NOT NULL AS "used!", CASE WHEN p.role = 'patient' THEN coalesce(o.discreet_name, 'Your clinic') ELSE o.name END AS sender
           FROM account_mails m JOIN accounts a USING (account_id)
           LEFT JOIN people p ON p.person_id = m.person_id LEFT JOIN organizations o ON o.org_id = p.org_id
           WHERE m.account_mail_id = ANY($1)"#,
        &ids
    )
    .fetch_all(conn)
    .await?;
    let subject = rows.into_iter().map(|row| AccountMailSubject {
        id: row.id,
        account: row.account,
        kind: AccountMailKind::of(&row.kind),
        email: row.email,
        seed: row.seed,
        created_at: row.created_at,
        expires_at: row.expires_at,
        used: row.used,
        sender: row.sender,
    });
    Ok(subject.collect())
}
