//! API tokens: `pc_live_` and 256 random bits. Only a hash of them is kept, so a stolen table opens nothing.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use crate::config::Secret;
use crate::ids::{ClientId, OrgId, PersonId, TokenId};
use crate::store::audit::{self, Actor, Entry};
use crate::store::tokens::{NewTokenRow, TokenLine};
use crate::store::{DbError, Tx, clients, tokens};

/// What every token begins with, so that people and secret scanners know one when they see it.
const PREFIX: &str = "pc_live_";
/// The 32 random bytes in base64.
const SECRET_CHARS: usize = 43;

/// One thing that a token may be allowed to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TokenScope {
    /// Read patients.
    PatientsRead,
    /// Change patients.
    PatientsWrite,
    /// Read prescriptions.
    PrescriptionsRead,
    /// Write and stop prescriptions.
    PrescriptionsWrite,
    /// Read reminders and their doses.
    RemindersRead,
    /// Set and change reminders.
    RemindersWrite,
    /// Read visits.
    AppointmentsRead,
    /// Book, move, confirm and cancel visits.
    AppointmentsWrite,
    /// Read the message log.
    MessagesRead,
    /// Read the organization's jobs; with the role `ops`, those of every organization.
    JobsRead,
    /// Retry, cancel, pause and run now, for the whole platform. Only with the role `ops`.
    OpsWrite,
    /// Look at one's own exports and fetch their files.
    ExportsRead,
    /// Ask for exports, and cancel them.
    ExportsWrite,
    /// Read the organization: its details, opening hours and rules.
    OrganizationRead,
    /// Change the organization: its details, opening hours and rules.
    OrganizationWrite,
    /// Ask to join another organization.
    JoinsAsk,
    /// See who asks to join the organization, and decide.
    JoinsDecide,
    /// Listen and read in rooms in which one takes part.
    ChatRead,
    /// Open rooms, and say something in those in which one takes part.
    ChatWrite,
    /// See who saw what is a patient's.
    AuditRead,
    /// Read emergency contacts.
    ContactsRead,
    /// Add, change and remove emergency contacts, and put their consent on record.
    ContactsWrite,
    /// Read insurance policies.
    InsuranceRead,
    /// Add, change and end insurance policies.
    InsuranceWrite,
    /// Read payments.
    PaymentsRead,
    /// Ask for payments, complete and refund them.
    PaymentsWrite,
    /// Read the medical records of patients whom one treats, and break the glass for others.
    RecordsRead,
    /// Write and withdraw medical records.
    RecordsWrite,
    /// See who works for the organization.
    MembersRead,
    /// Add, invite and change who works for the organization.
    MembersWrite,
    /// Read the organization's audit trail.
    TrailRead,
}

impl TokenScope {
    /// Every scope.
    pub const ALL: [Self; 31] = [
        Self::PatientsRead,
        Self::PatientsWrite,
        Self::PrescriptionsRead,
        Self::PrescriptionsWrite,
        Self::RemindersRead,
        Self::RemindersWrite,
        Self::AppointmentsRead,
        Self::AppointmentsWrite,
        Self::MessagesRead,
        Self::JobsRead,
        Self::OpsWrite,
        Self::ExportsRead,
        Self::ExportsWrite,
        Self::OrganizationRead,
        Self::OrganizationWrite,
        Self::JoinsAsk,
        Self::JoinsDecide,
        Self::ChatRead,
        Self::ChatWrite,
        Self::AuditRead,
        Self::ContactsRead,
        Self::ContactsWrite,
        Self::InsuranceRead,
        Self::InsuranceWrite,
        Self::PaymentsRead,
        Self::PaymentsWrite,
        Self::RecordsRead,
        Self::RecordsWrite,
        Self::MembersRead,
        Self::MembersWrite,
        Self::TrailRead,
    ];

    /// Its name, as in `patients:read`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PatientsRead => "patients:read",
            Self::PatientsWrite => "patients:write",
            Self::PrescriptionsRead => "prescriptions:read",
            Self::PrescriptionsWrite => "prescriptions:write",
            Self::RemindersRead => "reminders:read",
            Self::RemindersWrite => "reminders:write",
            Self::AppointmentsRead => "appointments:read",
            Self::AppointmentsWrite => "appointments:write",
            Self::MessagesRead => "messages:read",
            Self::JobsRead => "jobs:read",
            Self::OpsWrite => "ops:write",
            Self::ExportsRead => "exports:read",
            Self::ExportsWrite => "exports:write",
            Self::OrganizationRead => "organization:read",
            Self::OrganizationWrite => "organization:write",
            Self::JoinsAsk => "joins:ask",
            Self::JoinsDecide => "joins:decide",
            Self::ChatRead => "chat:read",
            Self::ChatWrite => "chat:write",
            Self::AuditRead => "audit:read",
            Self::ContactsRead => "contacts:read",
            Self::ContactsWrite => "contacts:write",
            Self::InsuranceRead => "insurance:read",
            Self::InsuranceWrite => "insurance:write",
            Self::PaymentsRead => "payments:read",
            Self::PaymentsWrite => "payments:write",
            Self::RecordsRead => "records:read",
            Self::RecordsWrite => "records:write",
            Self::MembersRead => "members:read",
            Self::MembersWrite => "members:write",
            Self::TrailRead => "trail:read",
        }
    }
}

impl fmt::Display for TokenScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// There is no scope of that name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no scope {given:?}; the scopes are {}", TokenScope::ALL.map(TokenScope::as_str).join(", "))]
pub struct UnknownScope {
    given: String,
}

impl FromStr for TokenScope {
    type Err = UnknownScope;

    fn from_str(name: &str) -> Result<Self, UnknownScope> {
        let found = Self::ALL.into_iter().find(|scope| scope.as_str() == name);
        found.ok_or_else(|| UnknownScope { given: name.chars().take(40).collect() })
    }
}

/// What a token may do: a set of scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes(Vec<TokenScope>);

impl Scopes {
    /// Every scope.
    pub fn all() -> Self {
        Self::of(TokenScope::ALL)
    }

    /// These scopes.
    pub fn of(scopes: impl IntoIterator<Item = TokenScope>) -> Self {
        let mut scopes: Vec<_> = scopes.into_iter().collect();
        scopes.sort_unstable();
        scopes.dedup();
        Self(scopes)
    }

    /// Reads names such as `patients:read`.
    ///
    /// # Errors
    /// The first name that is no scope.
    pub fn parse<S: AsRef<str>>(names: &[S]) -> Result<Self, UnknownScope> {
        let scopes: Result<Vec<TokenScope>, _> = names.iter().map(|name| name.as_ref().parse()).collect();
        Ok(Self::of(scopes?))
    }

    /// The scopes of stored names; one that this version does not know allows nothing.
    pub fn known<S: AsRef<str>>(names: &[S]) -> Self {
        Self::of(names.iter().filter_map(|name| name.as_ref().parse().ok()))
    }

    /// Whether the scope is in the set.
    pub fn contains(&self, scope: TokenScope) -> bool {
        self.0.binary_search(&scope).is_ok()
    }

    /// The scopes that are also in `other`.
    #[must_use]
    pub fn within(&self, other: &[TokenScope]) -> Self {
        Self(self.0.iter().copied().filter(|scope| other.contains(scope)).collect())
    }

    /// Their names.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|scope| scope.as_str().to_owned()).collect()
    }
}

/// A token that was just made. The secret is shown once, to whoever asked for it.
#[derive(Clone, Debug)]
pub struct NewToken {
    /// The token's row.
    pub id: TokenId,
    secret: Secret<String>,
}

impl NewToken {
    /// The secret, for `Authorization: Bearer`.
    pub fn expose(&self) -> &str {
        self.secret.expose()
    }
}

/// What is kept of a token, and searched for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// Of a secret that somebody sent; none: it has not the shape of a token, so there is nothing to search for.
    pub fn of(secret: &str) -> Option<Self> {
        let random = secret.strip_prefix(PREFIX)?;
        let fine = random.len() == SECRET_CHARS
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        fine.then(|| Self(Sha256::digest(secret.as_bytes()).into()))
    }

    /// As it is stored.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A fingerprint of texts, in hex: for values that follow from a secret without giving it away.
pub fn fingerprint(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Makes a token for a person of `org`, with an audit entry that names `by`, in the given transaction.
///
/// # Errors
/// Postgres; a person that there is not.
pub async fn mint(
    tx: &mut Tx,
    by: Actor,
    org: OrgId,
    person: PersonId,
    scopes: &Scopes,
    expires_at: DateTime<Utc>,
    label: &str,
) -> Result<NewToken, DbError> {
    let (ids, id, now) = (tx.ids(), tx.new_id::<TokenId>(), tx.now());
    let (scopes, label) = (scopes.names(), label.to_owned());
    let row = NewTokenRow { id, org, person, scopes, label, expires_at, client: None };
    let token = insert(tx, &row).await?;
    let entry = Entry {
        org: Some(org),
        actor: by,
        action: "token.minted",
        subject_type: "api_token",
        subject: id.0,
        outcome: "success",
        detail: Some(serde_json::json!({"person": person, "scopes": row.scopes, "expires_at": expires_at})),
    };
    audit::write(tx.conn(), ids, &[entry], now).await?;
    Ok(token)
}

/// Makes a token for a client that acts as a person of `org`, and forgets those of it that are over. Who grants it puts that on record.
///
/// # Errors
/// Postgres.
pub async fn grant(
    tx: &mut Tx,
    org: OrgId,
    person: PersonId,
    client: ClientId,
    scopes: &Scopes,
    expires_at: DateTime<Utc>,
) -> Result<NewToken, DbError> {
    let (id, now) = (tx.new_id::<TokenId>(), tx.now());
    clients::forget_tokens(tx.conn(), client, now).await?;
    let (scopes, label) = (scopes.names(), String::new());
    insert(tx, &NewTokenRow { id, org, person, scopes, label, expires_at, client: Some(client) }).await
}

async fn insert(tx: &mut Tx, row: &NewTokenRow) -> Result<NewToken, DbError> {
    let now = tx.now();
    let secret = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(tx.ids().secret()));
    let hash = TokenHash(Sha256::digest(secret.as_bytes()).into());
    tokens::insert(tx.conn(), row, hash.as_bytes(), now).await?;
    Ok(NewToken { id: row.id, secret: Secret::new(secret) })
}

/// The tokens of `org`, newest first, without their secrets; also those that are worth nothing any more.
///
/// # Errors
/// Postgres.
pub async fn list(tx: &mut Tx, org: OrgId) -> Result<Vec<TokenLine>, DbError> {
    tokens::list(tx.conn(), org).await
}

/// The tokens of a person that are worth something, newest first. Those that a client got are none.
///
/// # Errors
/// Postgres.
pub async fn of_person(tx: &mut Tx, person: PersonId) -> Result<Vec<TokenLine>, DbError> {
    let now = tx.now();
    tokens::of_person(tx.conn(), person, now).await
}

/// How many tokens of a person are worth something; whoever else counts waits until this transaction ends.
///
/// # Errors
/// Postgres.
pub async fn count_to_add(tx: &mut Tx, person: PersonId) -> Result<usize, DbError> {
    tokens::lock_owner(tx.conn(), person).await?;
    Ok(of_person(tx, person).await?.len())
}

/// Makes a token worthless from now on, with an audit entry that names `by`, in the given transaction. False: there is no such token among
/// those that the transaction sees, or it was revoked before.
///
/// # Errors
/// Postgres.
pub async fn revoke(tx: &mut Tx, by: Actor, token: TokenId) -> Result<bool, DbError> {
    let (ids, now) = (tx.ids(), tx.now());
    let Some(org) = tokens::revoke(tx.conn(), token, now).await? else { return Ok(false) };
    let entry = Entry {
        org: Some(org),
        actor: by,
        action: "token.revoked",
        subject_type: "api_token",
        subject: token.0,
        outcome: "success",
        detail: None,
    };
    audit::write(tx.conn(), ids, &[entry], now).await?;
    Ok(true)
}

/// The organization that a person belongs to, among those that the transaction sees.
///
/// # Errors
/// Postgres.
pub async fn organization_of(tx: &mut Tx, person: PersonId) -> Result<Option<OrgId>, DbError> {
    tokens::organization_of(tx.conn(), person).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_looks_like_a_token_is_searched_for() {
        let good = format!("{PREFIX}{}", "a".repeat(SECRET_CHARS));
        assert!(TokenHash::of(&good).is_some());
        let wrong = [
            "",
            PREFIX,
            &good[1..],
            &good[..good.len() - 1],
            &format!("{good}a"),
            &good.replace('a', "é"),
            &good.replacen('a', "\0", 1),
        ];
        for wrong in wrong {
            assert!(TokenHash::of(wrong).is_none(), "{wrong:?}");
        }
    }

    #[test]
    fn scopes_are_read_by_name_and_an_unknown_one_allows_nothing() {
        for scope in TokenScope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(scope));
        }
        let scopes = Scopes::parse(&["jobs:read", "patients:read", "jobs:read"]).expect("known");
        assert_eq!(scopes.names(), ["patients:read", "jobs:read"]);
        assert!(Scopes::parse(&["patients:all"]).is_err());
        assert_eq!(Scopes::known(&["patients:all", "jobs:read"]).names(), ["jobs:read"]);
        assert!(!scopes.within(&[TokenScope::JobsRead]).contains(TokenScope::PatientsRead));
    }

    #[test]
    fn fingerprints_keep_their_parts_apart() {
        assert_eq!(fingerprint(&["a", "b"]).len(), 64);
        assert_ne!(fingerprint(&["a", "b"]), fingerprint(&["ab", ""]));
    }

    #[test]
    fn a_new_token_does_not_show_in_debug() {
        let secret = Secret::new(format!("{PREFIX}{}", "x".repeat(SECRET_CHARS)));
        let token = NewToken { id: TokenId(uuid::Uuid::nil()), secret };
        assert!(!format!("{token:?}").contains("xxx"));
    }
}
