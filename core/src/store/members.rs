//! Who works for an organization.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::ids::{OrgId, PersonId, SessionId, TokenId};
use crate::store::DbError;
use crate::store::listing::Way;

/// The roles of who works for an organization. Operators are the platform's, and no members.
pub const MEMBER_ROLES: [&str; 4] = ["doctor", "nurse", "receptionist", "admin"];

/// Somebody who works for an organization. No `Debug`: it holds personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub id: PersonId,
    /// One of [`MEMBER_ROLES`].
    pub role: String,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// The address that the organization has of them.
    pub email: Option<String>,
    /// Telephone number.
    pub phone: Option<String>,
    /// What they are a specialist of.
    pub specialty: Option<String>,
    /// What they learned.
    pub qualification: Option<String>,
    /// The languages that they speak with patients, as BCP 47 tags.
    pub languages: Vec<String>,
    /// Works here.
    pub active: bool,
    /// Has an account, and so a way to sign in.
    pub has_account: bool,
    /// When they were last invited to one.
    pub invited_at: Option<DateTime<Utc>>,
    /// When the row was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
    /// Counts the changes, from 1.
    pub version: i32,
}

macro_rules! select_members {
    ($tail:literal $(+ $more:literal)*, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Member,
            r#"SELECT person_id AS "id: PersonId", role, given_name, family_name, email, phone, specialty, qualification, languages,
                 active AND NOT deceased AS "active!", account_id IS NOT NULL AS "has_account!", invited_at, created_at, updated_at, version
               FROM people WHERE role IN ('doctor', 'nurse', 'receptionist', 'admin') AND "# + $tail $(+ $more)*,
            $($args),*
        )
    };
}

/// Which members to list.
#[derive(Clone, Copy, Default)]
pub struct MemberFilter<'a> {
    /// In this role.
    pub role: Option<&'a str>,
    /// Who work here, or no longer.
    pub active: Option<bool>,
    /// With this in their name, whatever the case.
    pub name: Option<&'a str>,
}

macro_rules! list_members {
    ($conn:expr, $org:expr, $filter:expr, $after:expr, $limit:expr, $past:literal, $way:literal) => {
        select_members!(
            "org_id = $1 AND ($2::text IS NULL OR role = $2) AND ($3::bool IS NULL OR (active AND NOT deceased) = $3)
               AND ($4::text IS NULL OR strpos(lower(given_name || ' ' || family_name), lower($4)) > 0)
               AND ($5::uuid IS NULL OR (family_name, given_name, person_id) "
                + $past
                + "
                 (SELECT m.family_name, m.given_name, m.person_id FROM people m WHERE m.person_id = $5))
             ORDER BY family_name "
                + $way
                + ", given_name "
                + $way
                + ", person_id "
                + $way
                + " LIMIT $6",
            $org.0,
            $filter.role,
            $filter.active,
            $filter.name,
            $after.map(|id| id.0),
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// Members of `org` after `after`, by family name, given name and id.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    filter: MemberFilter<'_>,
    way: Way,
    after: Option<PersonId>,
    limit: i64,
) -> Result<Vec<Member>, DbError> {
    match way {
        Way::Up => list_members!(conn, org, filter, after, limit, ">", "ASC"),
        Way::Down => list_members!(conn, org, filter, after, limit, "<", "DESC"),
    }
}

/// One member.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, id: PersonId) -> Result<Option<Member>, DbError> {
    select_members!("person_id = $1", id.0).fetch_optional(conn).await
}

/// One member, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn one_to_change(conn: &mut PgConnection, id: PersonId) -> Result<Option<Member>, DbError> {
    select_members!("person_id = $1 FOR UPDATE", id.0).fetch_optional(conn).await
}

/// Writes what may change of a member; their version goes up by one.
///
/// # Errors
/// Postgres.
pub async fn save(conn: &mut PgConnection, member: &mut Member, now: DateTime<Utc>) -> Result<(), DbError> {
    member.version = sqlx::query_scalar!(
        "UPDATE people SET role = $2, given_name = $3, family_name = $4, email = $5, phone = $6, specialty = $7, qualification = $8,
           languages = $9, active = $10, invited_at = $11, updated_at = $12, version = version + 1,
           email_verified_at = CASE WHEN email IS NOT DISTINCT FROM $5 THEN email_verified_at END
         WHERE person_id = $1 RETURNING version",
        member.id.0,
        member.role,
        member.given_name,
        member.family_name,
        member.email,
        member.phone,
        member.specialty,
        member.qualification,
        &member.languages,
        member.active,
        member.invited_at,
        now
    )
    .fetch_one(conn)
    .await?;
    member.updated_at = now;
    Ok(())
}

/// When a person was last invited to an account, whether they have one, take part, and have an address; locked until the
/// transaction ends. None: there is no such person here.
///
/// # Errors
/// Postgres.
pub async fn to_invite(conn: &mut PgConnection, id: PersonId) -> Result<Option<ToInvite>, DbError> {
    sqlx::query_as!(
        ToInvite,
        r#"SELECT role, email, active AND NOT deceased AS "active!", account_id IS NOT NULL AS "has_account!", invited_at
           FROM people WHERE person_id = $1 FOR UPDATE"#,
        id.0
    )
    .fetch_optional(conn)
    .await
}

/// Somebody who may be invited. No `Debug`: it holds personal data.
pub struct ToInvite {
    /// In which role.
    pub role: String,
    /// The address that the organization has of them.
    pub email: Option<String>,
    /// Takes part.
    pub active: bool,
    /// Has an account.
    pub has_account: bool,
    /// When they were last invited.
    pub invited_at: Option<DateTime<Utc>>,
}

/// Somebody was invited.
///
/// # Errors
/// Postgres.
pub async fn set_invited(conn: &mut PgConnection, id: PersonId, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!("UPDATE people SET invited_at = $2 WHERE person_id = $1", id.0, now).execute(conn).await?;
    Ok(())
}

/// How many administrators work for `org`. Whoever calls holds the organization's row.
///
/// # Errors
/// Postgres.
pub async fn administrators(conn: &mut PgConnection, org: OrgId) -> Result<i64, DbError> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM people WHERE org_id = $1 AND role = 'admin' AND active AND NOT deceased"#,
        org.0
    )
    .fetch_one(conn)
    .await
}

/// How many visits a doctor has that are not over.
///
/// # Errors
/// Postgres.
pub async fn visits_to_come(conn: &mut PgConnection, doctor: PersonId, now: DateTime<Utc>) -> Result<i64, DbError> {
    sqlx::query_scalar!(
        r#"SELECT count(*) AS "count!" FROM appointments
           WHERE doctor_id = $1 AND ends_at > $2 AND status IN ('pending', 'booked', 'arrived', 'checked-in')"#,
        doctor.0,
        now
    )
    .fetch_one(conn)
    .await
}

/// Ends the sessions of a person, and says which.
///
/// # Errors
/// Postgres.
pub async fn end_sessions(
    conn: &mut PgConnection,
    person: PersonId,
    now: DateTime<Utc>,
) -> Result<Vec<SessionId>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE sessions SET revoked_at = $2 WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2
           RETURNING session_id AS "id: SessionId""#,
        person.0,
        now
    )
    .fetch_all(conn)
    .await
}

/// Makes the tokens of a person worthless, and says which.
///
/// # Errors
/// Postgres.
pub async fn end_tokens(
    conn: &mut PgConnection,
    person: PersonId,
    now: DateTime<Utc>,
) -> Result<Vec<TokenId>, DbError> {
    sqlx::query_scalar!(
        r#"UPDATE api_tokens SET revoked_at = $2 WHERE person_id = $1 AND revoked_at IS NULL AND expires_at > $2
           RETURNING token_id AS "id: TokenId""#,
        person.0,
        now
    )
    .fetch_all(conn)
    .await
}
