//! The chain of entries: what the sealer takes and appends, and what verifying reads.

use chrono::{DateTime, Utc};
use futures_util::Stream;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::store::DbError;

/// An entry with every field that it has, as the chain's hash covers them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryRow {
    /// Its id.
    pub id: Uuid,
    /// The transaction that wrote it.
    pub xid: i64,
    /// Whose; none: the platform's own.
    pub org_id: Option<Uuid>,
    /// When.
    pub at: DateTime<Utc>,
    /// The kind of actor.
    pub actor_kind: String,
    /// Who.
    pub actor_id: Option<Uuid>,
    /// In which role; none: written by a release that did not say.
    pub role: Option<String>,
    /// What was done.
    pub action: String,
    /// To what sort of thing.
    pub subject_type: String,
    /// To which.
    pub subject_id: Uuid,
    /// How it ended.
    pub outcome: String,
    /// By which request.
    pub request_id: Option<Uuid>,
    /// The detail, as Postgres prints it.
    pub detail: Option<String>,
}

/// How far the sealer is: everything up to here is in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealMark {
    /// Of transactions before this one everything, …
    pub xid: i64,
    /// … and of this one what has no higher id.
    pub entry: Uuid,
}

/// The newest link of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The organization; the nil id for the platform's own.
    pub org: Uuid,
    /// Its number, from 1.
    pub seq: i64,
    /// Its hash, 32 bytes.
    pub hash: Vec<u8>,
}

/// A link of a chain with what it stands for.
#[derive(Clone, Debug)]
pub struct Link {
    /// Its number in its chain.
    pub seq: i64,
    /// Its hash, as it was sealed.
    pub hash: Vec<u8>,
    /// The entry it names.
    pub entry_id: Uuid,
    /// That entry, if it is there.
    pub entry: Option<EntryRow>,
}

/// The entries that are not sealed yet.
#[derive(Clone, Copy, Debug)]
pub struct Tail {
    /// How many, of those that this transaction sees.
    pub entries: i64,
    /// The age of the oldest, in seconds; 0 when there is none.
    pub oldest_seconds: f64,
}

/// Takes the sealer's turn, for as long as the transaction lasts. None: another has it.
///
/// # Errors
/// Postgres.
pub async fn take_seal_mark(conn: &mut PgConnection) -> Result<Option<SealMark>, DbError> {
    sqlx::query_as!(SealMark, "SELECT xid, entry FROM audit_marks WHERE name = 'seal' FOR UPDATE SKIP LOCKED")
        .fetch_optional(conn)
        .await
}

/// Moves the sealer's mark.
///
/// # Errors
/// Postgres.
pub async fn set_seal_mark(conn: &mut PgConnection, mark: SealMark, now: DateTime<Utc>) -> Result<(), DbError> {
    sqlx::query!(
        "UPDATE audit_marks SET xid = $1, entry = $2, moved_at = $3 WHERE name = 'seal' AND (xid, entry) <> ($1, $2)",
        mark.xid,
        mark.entry,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Notices that the database was restored into another cluster, and has its transactions numbered on from there. True: it was.
///
/// # Errors
/// Postgres; also when writers hold the entries for 3 s.
pub async fn new_era_if_restored(conn: &mut PgConnection) -> Result<bool, DbError> {
    let known = sqlx::query_scalar!(
        r#"SELECT count(*) = 2 AS "known!" FROM audit_marks WHERE cluster = (SELECT system_identifier FROM pg_control_system())"#
    );
    if known.fetch_one(&mut *conn).await? {
        return Ok(false);
    }
    let began = sqlx::query_scalar!(r#"SELECT audit_new_era() AS "began!""#).fetch_one(conn).await?;
    Ok(began)
}

/// Everything that transactions before this one wrote is committed, or never will be.
///
/// # Errors
/// Postgres.
pub async fn horizon(conn: &mut PgConnection) -> Result<i64, DbError> {
    sqlx::query_scalar!(r#"SELECT audit_horizon() AS "xid!""#).fetch_one(conn).await
}

/// The next entries after `mark` of transactions before `until`, in the order in which they are sealed.
///
/// # Errors
/// Postgres.
pub async fn unsealed(
    conn: &mut PgConnection,
    mark: SealMark,
    until: i64,
    most: i64,
) -> Result<Vec<EntryRow>, DbError> {
    sqlx::query_as!(
        EntryRow,
        "SELECT id, xid, org_id, at, actor_kind, actor_id, role, action, subject_type, subject_id, outcome, request_id, detail::text AS detail
         FROM audit_entries e
         WHERE xid >= $1 AND xid < $3 AND (xid, id) > ($1, $2) AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.entry_id = e.id)
         ORDER BY xid, id LIMIT $4",
        mark.xid,
        mark.entry,
        until,
        most
    )
    .fetch_all(conn)
    .await
}

/// The newest links of these chains; a chain without links is left out.
///
/// # Errors
/// Postgres.
pub async fn heads_of(conn: &mut PgConnection, orgs: &[Uuid]) -> Result<Vec<Head>, DbError> {
    sqlx::query_as!(
        Head,
        r#"SELECT c.org_id AS "org!", c.seq AS "seq!", c.hash AS "hash!" FROM unnest($1::uuid[]) AS o (org)
           CROSS JOIN LATERAL (SELECT * FROM audit_chain WHERE org_id = o.org ORDER BY seq DESC LIMIT 1) c"#,
        orgs
    )
    .fetch_all(conn)
    .await
}

/// The newest link of every chain, from one to the next by the index.
///
/// # Errors
/// Postgres.
pub async fn heads(conn: &mut PgConnection) -> Result<Vec<Head>, DbError> {
    sqlx::query_as!(
        Head,
        r#"WITH RECURSIVE chains AS (
             (SELECT org_id FROM audit_chain ORDER BY org_id LIMIT 1)
             UNION ALL
             SELECT (SELECT n.org_id FROM audit_chain n WHERE n.org_id > chains.org_id ORDER BY n.org_id LIMIT 1) FROM chains
             WHERE chains.org_id IS NOT NULL)
           SELECT c.org_id AS "org!", c.seq AS "seq!", c.hash AS "hash!" FROM chains o
           CROSS JOIN LATERAL (SELECT * FROM audit_chain WHERE org_id = o.org_id ORDER BY seq DESC LIMIT 1) c"#
    )
    .fetch_all(conn)
    .await
}

/// Appends links: of each the chain, the number, the entry and the hash.
///
/// # Errors
/// Postgres; an entry that is in a chain already.
pub async fn append(
    conn: &mut PgConnection,
    orgs: &[Uuid],
    seqs: &[i64],
    entries: &[Uuid],
    hashes: &[Vec<u8>],
) -> Result<(), DbError> {
    sqlx::query!(
        "INSERT INTO audit_chain (org_id, seq, entry_id, hash) SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[])",
        orgs,
        seqs,
        entries,
        hashes
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What is not sealed yet.
///
/// # Errors
/// Postgres.
pub async fn tail(conn: &mut PgConnection, now: DateTime<Utc>) -> Result<Tail, DbError> {
    sqlx::query_as!(
        Tail,
        r#"SELECT count(*) AS "entries!", coalesce(extract(epoch FROM $1 - min(at)), 0)::float8 AS "oldest_seconds!"
           FROM audit_entries e, (SELECT xid, entry FROM audit_marks WHERE name = 'seal') m
           WHERE e.xid >= m.xid AND (e.xid, e.id) > (m.xid, m.entry)"#,
        now
    )
    .fetch_one(conn)
    .await
}

/// The hash of one link; none: there is no such link.
///
/// # Errors
/// Postgres.
pub async fn hash_at(conn: &mut PgConnection, org: Uuid, seq: i64) -> Result<Option<Vec<u8>>, DbError> {
    sqlx::query_scalar!("SELECT hash FROM audit_chain WHERE org_id = $1 AND seq = $2", org, seq)
        .fetch_optional(conn)
        .await
}

/// The links `from..=to` of a chain, in order, as they come.
pub fn links(
    conn: &mut PgConnection,
    org: Uuid,
    from: i64,
    to: i64,
) -> impl Stream<Item = Result<Link, DbError>> + Send + '_ {
    sqlx::query!(
        r#"SELECT c.seq, c.hash, c.entry_id, e.id AS "id?", e.xid AS "xid?", e.org_id, e.at AS "at?", e.actor_kind AS "actor_kind?", e.actor_id,
             e.role, e.action AS "action?", e.subject_type AS "subject_type?", e.subject_id AS "subject_id?", e.outcome AS "outcome?", e.request_id,
             e.detail::text AS detail
           FROM audit_chain c LEFT JOIN audit_entries e ON e.id = c.entry_id
           WHERE c.org_id = $1 AND c.seq BETWEEN $2 AND $3 ORDER BY c.seq"#,
        org,
        from,
        to
    )
    .try_map(|row| {
        let entry = match (row.id, row.xid, row.at, row.actor_kind, row.action, row.subject_type, row.subject_id, row.outcome) {
            (Some(id), Some(xid), Some(at), Some(actor_kind), Some(action), Some(subject_type), Some(subject_id), Some(outcome)) => {
                Some(EntryRow {
                    id,
                    xid,
                    org_id: row.org_id,
                    at,
                    actor_kind,
                    actor_id: row.actor_id,
                    role: row.role,
                    action,
                    subject_type,
                    subject_id,
                    outcome,
                    request_id: row.request_id,
                    detail: row.detail,
                })
            }
            _ => None,
        };
        Ok(Link { seq: row.seq, hash: row.hash, entry_id: row.entry_id, entry })
    })
    .fetch(conn)
}

/// Entries that are in no chain, of all organizations or of one, as they come. Reads both tables whole.
pub fn loose(conn: &mut PgConnection, org: Option<Uuid>) -> impl Stream<Item = Result<EntryRow, DbError>> + Send + '_ {
    sqlx::query_as!(
        EntryRow,
        "SELECT id, xid, org_id, at, actor_kind, actor_id, role, action, subject_type, subject_id, outcome, request_id, detail::text AS detail
         FROM audit_entries e
         WHERE NOT EXISTS (SELECT FROM audit_chain c WHERE c.entry_id = e.id) AND ($1::uuid IS NULL OR coalesce(e.org_id, $2) = $1)",
        org,
        Uuid::nil()
    )
    .fetch(conn)
}

/// Entries that lie behind the sealer's mark: how many there are, and how many links all chains have. The two are equal when
/// nothing was slipped in. Reads both tables whole.
///
/// # Errors
/// Postgres.
pub async fn counts(conn: &mut PgConnection) -> Result<(i64, i64), DbError> {
    let row = sqlx::query!(
        r#"SELECT (SELECT count(*) FROM audit_entries e, (SELECT xid, entry FROM audit_marks WHERE name = 'seal') m
                   WHERE e.xid < m.xid OR (e.xid = m.xid AND e.id <= m.entry)) AS "entries!",
                  (SELECT count(*) FROM audit_chain) AS "links!""#
    )
    .fetch_one(conn)
    .await?;
    Ok((row.entries, row.links))
}

/// An entry that lies behind the sealer's mark and is in no chain.
#[derive(Clone, Copy, Debug)]
pub struct Stray {
    /// The chain that it would belong to.
    pub org: Uuid,
    /// The entry.
    pub entry: Uuid,
    /// The first number of that chain whose entry was written after it; none: it would be the last.
    pub before: Option<i64>,
}

/// The first stray of each chain, or of one chain. Reads both tables whole.
///
/// # Errors
/// Postgres.
pub async fn strays(conn: &mut PgConnection, org: Option<Uuid>) -> Result<Vec<Stray>, DbError> {
    sqlx::query_as!(
        Stray,
        r#"WITH strays AS (
             SELECT DISTINCT ON (coalesce(e.org_id, $2)) coalesce(e.org_id, $2) AS org, e.id, e.xid
             FROM audit_entries e, (SELECT xid, entry FROM audit_marks WHERE name = 'seal') m
             WHERE (e.xid < m.xid OR (e.xid = m.xid AND e.id <= m.entry)) AND NOT EXISTS (SELECT FROM audit_chain c WHERE c.entry_id = e.id)
               AND ($1::uuid IS NULL OR coalesce(e.org_id, $2) = $1)
             ORDER BY 1, e.xid, e.id LIMIT 1000)
           SELECT s.org AS "org!", s.id AS "entry!",
             (SELECT min(c.seq) FROM audit_chain c JOIN audit_entries e ON e.id = c.entry_id
              WHERE c.org_id = s.org AND (e.xid, e.id) > (s.xid, s.id)) AS before
           FROM strays s"#,
        org,
        Uuid::nil()
    )
    .fetch_all(conn)
    .await
}
