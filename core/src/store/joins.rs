//! Requests to join an organization.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::ids::{AccountId, JoinRequestId, OrgId, PersonId};
use crate::store::DbError;
use crate::store::listing::{Before, Way};

/// The states of a request.
pub const JOIN_STATES: [&str; 5] = ["open", "approved", "denied", "withdrawn", "expired"];

/// What nobody decides ends by itself after so many days.
pub const UNDECIDED_DAYS: i64 = 14;

/// A request to join. No `Debug`: it holds an address.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinRequest {
    /// The request.
    pub id: JoinRequestId,
    /// Which organization is asked.
    pub org: OrgId,
    /// Whose account asks.
    pub account: AccountId,
    /// Given name.
    pub given_name: String,
    /// Family name.
    pub family_name: String,
    /// The account's address.
    pub email: String,
    /// It was proven.
    pub email_verified: bool,
    /// What they say.
    pub message: Option<String>,
    /// One of [`JOIN_STATES`].
    pub state: String,
    /// When they asked.
    pub asked_at: DateTime<Utc>,
    /// When it was decided, taken back, or ended by itself.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why, as the doctor is told.
    pub note: Option<String>,
    /// Who they are in the organization, once approved.
    pub person: Option<PersonId>,
    /// Counts its changes, from 1.
    pub version: i32,
}

macro_rules! select_requests {
    ([$($from:tt)+], $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            JoinRequest,
            r#"SELECT join_request_id AS "id!: JoinRequestId", org_id AS "org!: OrgId", account_id AS "account!: AccountId",
                 given_name AS "given_name!", family_name AS "family_name!", email AS "email!", email_verified AS "email_verified!", message,
                 state AS "state!", asked_at AS "asked_at!", decided_at, note, person_id AS "person: PersonId", version AS "version!" "# + $($from)+,
            $($args),*
        )
    };
}

/// Asks for the account of `asker`, a person of this transaction's organization. Says what came of it, as `ask_to_join` does.
///
/// # Errors
/// Postgres.
pub async fn ask(
    conn: &mut PgConnection,
    id: JoinRequestId,
    org: OrgId,
    asker: PersonId,
    message: Option<&str>,
    now: DateTime<Utc>,
) -> Result<String, DbError> {
    sqlx::query_scalar!(r#"SELECT ask_to_join($1, $2, $3, $4, $5) AS "said!""#, id.0, org.0, asker.0, message, now)
        .fetch_one(conn)
        .await
}

/// The requests of the account of `asker`, a person of this transaction's organization; newest first.
///
/// # Errors
/// Postgres.
pub async fn own(
    conn: &mut PgConnection,
    asker: PersonId,
    before: Option<Before>,
    limit: i64,
) -> Result<Vec<JoinRequest>, DbError> {
    let (at, id) = (before.map(|place| place.at), before.map(|place| place.id));
    select_requests!(
        ["FROM own_join_requests($1, $2, $3, $4) ORDER BY asked_at DESC, join_request_id DESC"],
        asker.0,
        at as Option<DateTime<Utc>>,
        id as Option<Uuid>,
        limit
    )
    .fetch_all(conn)
    .await
}

/// Takes an open request of the account of `asker` back. None: there is none that is open.
///
/// # Errors
/// Postgres.
pub async fn withdraw(
    conn: &mut PgConnection,
    id: JoinRequestId,
    asker: PersonId,
    now: DateTime<Utc>,
) -> Result<Option<JoinRequest>, DbError> {
    select_requests!(["FROM withdraw_join_request($1, $2, $3)"], id.0, asker.0, now).fetch_optional(conn).await
}

macro_rules! list_requests {
    ($conn:expr, $org:expr, $state:expr, $after:expr, $limit:expr, $past:tt, $way:tt) => {
        select_requests!(
            ["FROM join_requests WHERE org_id = $1 AND ($2::text IS NULL OR state = $2)
               AND ($3::timestamptz IS NULL OR (asked_at, join_request_id) "
                + $past
                + " ($3, $4::uuid))
             ORDER BY asked_at "
                + $way
                + ", join_request_id "
                + $way
                + " LIMIT $5"],
            $org.0,
            $state,
            $after.map(|place: Before| place.at),
            $after.map(|place: Before| place.id),
            $limit
        )
        .fetch_all($conn)
        .await
    };
}

/// The requests to an organization after a place, by when they were made.
///
/// # Errors
/// Postgres.
pub async fn list(
    conn: &mut PgConnection,
    org: OrgId,
    state: Option<&str>,
    way: Way,
    after: Option<Before>,
    limit: i64,
) -> Result<Vec<JoinRequest>, DbError> {
    match way {
        Way::Up => list_requests!(conn, org, state, after, limit, ">", "ASC"),
        Way::Down => list_requests!(conn, org, state, after, limit, "<", "DESC"),
    }
}

/// One request to an organization.
///
/// # Errors
/// Postgres.
pub async fn one(conn: &mut PgConnection, org: OrgId, id: JoinRequestId) -> Result<Option<JoinRequest>, DbError> {
    select_requests!(["FROM join_requests WHERE org_id = $1 AND join_request_id = $2"], org.0, id.0)
        .fetch_optional(conn)
        .await
}

/// One request to an organization, locked until the transaction ends.
///
/// # Errors
/// Postgres.
pub async fn one_to_decide(
    conn: &mut PgConnection,
    org: OrgId,
    id: JoinRequestId,
) -> Result<Option<JoinRequest>, DbError> {
    select_requests!(["FROM join_requests WHERE org_id = $1 AND join_request_id = $2 FOR UPDATE"], org.0, id.0)
        .fetch_optional(conn)
        .await
}

/// Writes how a request was decided, and by whom.
///
/// # Errors
/// Postgres.
pub async fn decide(
    conn: &mut PgConnection,
    request: &mut JoinRequest,
    by: PersonId,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    request.version = sqlx::query_scalar!(
        "UPDATE join_requests SET state = $2, decided_at = $3, decided_by = $4, note = $5, person_id = $6, version = version + 1
         WHERE join_request_id = $1 RETURNING version",
        request.id.0,
        request.state,
        now,
        by.0,
        request.note,
        request.person.map(|person| person.0)
    )
    .fetch_one(conn)
    .await?;
    request.decided_at = Some(now);
    Ok(())
}

/// A request that ended by itself.
pub struct Expired {
    /// Which organization was asked.
    pub org: OrgId,
    /// The request.
    pub id: JoinRequestId,
}

/// Ends what has been open for [`UNDECIDED_DAYS`], `most` at most; what somebody is just deciding is left to them. In a
/// transaction of the platform.
///
/// # Errors
/// Postgres.
pub async fn expire(conn: &mut PgConnection, now: DateTime<Utc>, most: i64) -> Result<Vec<Expired>, DbError> {
    sqlx::query_as!(
        Expired,
        r#"UPDATE join_requests SET state = 'expired', decided_at = $2, version = version + 1
           WHERE join_request_id IN (SELECT join_request_id FROM join_requests WHERE state = 'open' AND asked_at <= $1
             ORDER BY asked_at LIMIT $3 FOR UPDATE SKIP LOCKED)
           RETURNING org_id AS "org: OrgId", join_request_id AS "id: JoinRequestId""#,
        now - TimeDelta::days(UNDECIDED_DAYS),
        now,
        most
    )
    .fetch_all(conn)
    .await
}

/// Makes a doctor of the organization who is the account's. False: somebody of the staff has that address or account already.
/// Whoever calls holds the organization's row.
///
/// # Errors
/// Postgres.
pub async fn add_member(
    conn: &mut PgConnection,
    request: &JoinRequest,
    person: PersonId,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let done = sqlx::query!(
        "INSERT INTO people (person_id, org_id, role, given_name, family_name, email, email_verified_at, account_id, created_at, updated_at)
         SELECT $1, $2, 'doctor', $3, $4, $5, CASE WHEN $6 THEN $8::timestamptz END, $7, $8, $8
         WHERE NOT EXISTS (SELECT FROM people WHERE org_id = $2 AND role <> 'patient' AND active AND (account_id = $7 OR lower(email) = $5))",
        person.0,
        request.org.0,
        request.given_name,
        request.family_name,
        request.email,
        request.email_verified,
        request.account.0,
        now
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// A decided request with what its mail says. No `Debug`: it holds an address.
pub struct JoinSubject {
    /// The request.
    pub request: JoinRequest,
    /// The organization's name.
    pub organization: String,
}

/// Reads requests with what their mails need.
///
/// # Errors
/// Postgres.
pub async fn subjects(conn: &mut PgConnection, ids: &[JoinRequestId]) -> Result<Vec<JoinSubject>, DbError> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let requests =
        select_requests!(["FROM join_requests WHERE join_request_id = ANY ($1)"], &ids).fetch_all(&mut *conn).await?;
    let orgs: Vec<Uuid> = requests.iter().map(|request| request.org.0).collect();
    let names =
        sqlx::query!(r#"SELECT org_id AS "org: OrgId", name FROM organizations WHERE org_id = ANY ($1)"#, &orgs)
            .fetch_all(conn)
            .await?;
    let name_of = |org: OrgId| names.iter().find(|row| row.org == org).map(|row| row.name.clone());
    Ok(requests
        .into_iter()
        .filter_map(|request| Some(JoinSubject { organization: name_of(request.org)?, request }))
        .collect())
}
