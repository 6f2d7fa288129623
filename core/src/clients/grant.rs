//! The way to a token: a statement that the client signs, and what it asks for.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{ALGORITHMS, note, scopes};
use crate::context::Context;
use crate::ids::{ClientId, OrgId, PersonId, RequestId};
use crate::jose::{KeySet, Signed};
use crate::store::audit::{Actor, Role};
use crate::store::clients;
use crate::store::{DbError, Scope};
use crate::tokens::{self, NewToken, Scopes, TokenScope};

/// A token lasts so long.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// A statement may last so long at most …
const LONGEST: TimeDelta = TimeDelta::minutes(5);
/// … give or take what clocks differ.
const CLOCKS: TimeDelta = TimeDelta::seconds(10);
/// The name of a statement has at most so many characters.
const LONGEST_NAME: usize = 200;
const ASSERTION: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a client sends. No `Debug`: it holds a statement that opens something.
#[derive(Clone, Copy, Default)]
pub struct Request<'a> {
    /// `grant_type`.
    pub grant: Option<&'a str>,
    /// `client_assertion_type`.
    pub kind: Option<&'a str>,
    /// `client_assertion`.
    pub assertion: Option<&'a str>,
    /// `client_id`, which the statement says as well.
    pub client: Option<&'a str>,
    /// `scope`.
    pub scope: Option<&'a str>,
}

/// Why a client gets no token, as RFC 6749, 5.2 has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Something is missing.
    #[error("{0}")]
    InvalidRequest(&'static str),
    /// It did not show who it is.
    #[error("{0}")]
    InvalidClient(&'static str),
    /// Another way to a token than there is.
    #[error("The grant_type must be client_credentials.")]
    UnsupportedGrantType,
    /// None of what it asks for.
    #[error("{0}")]
    InvalidScope(&'static str),
}

impl Refused {
    /// The code of RFC 6749.
    pub const fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest(_) => "invalid_request",
            Self::InvalidClient(_) => "invalid_client",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidScope(_) => "invalid_scope",
        }
    }
}

/// A client that has shown who it is.
#[derive(Clone, Debug)]
pub struct Client {
    /// Which.
    pub id: ClientId,
    org: OrgId,
    person: PersonId,
    role: Role,
    scopes: Scopes,
}

/// What a client's statement claims.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    aud: Audience,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    jti: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn is(&self, who: &str) -> bool {
        match self {
            Self::One(one) => one == who,
            Self::Many(all) => all.iter().any(|one| one == who),
        }
    }
}

/// The claim that says whose keys are to be looked for.
#[derive(Deserialize)]
struct Issuer {
    iss: String,
}

/// What is said before the signature is known to be good: nobody learns which clients there are.
const UNKNOWN: Refused = Refused::InvalidClient(
    "The client is not known, or its client_assertion is not signed by one of its keys (RS384 or ES384, with the kid of a registered key).",
);

/// Whom a request is from. `audience` is the address that it came to. The statement counts once.
///
/// # Errors
/// Postgres; within: why it is refused.
pub async fn authenticate(
    ctx: &Context,
    request: Request<'_>,
    audience: &str,
) -> Result<Result<Client, Refused>, DbError> {
    let signed = match read(request) {
        Ok(signed) => signed,
        Err(refused) => return Ok(Err(refused)),
    };
    let claimed = signed.unproven::<Issuer>().and_then(|issuer| issuer.iss.parse::<ClientId>().ok());
    let Some(id) = claimed else { return Ok(Err(UNKNOWN)) };
    let mut tx = ctx.begin(Scope::Platform).await?;
    let (row, now) = (clients::find(tx.conn(), id).await?, tx.now());
    tx.commit().await?;
    let Some(row) = row else { return Ok(Err(UNKNOWN)) };
    let Ok(keys) = KeySet::of(&row.keys, &ALGORITHMS) else { return Ok(Err(UNKNOWN)) };
    let Ok(role) = row.role.parse() else { return Ok(Err(UNKNOWN)) };
    let Ok(claims) = signed.verify::<Claims>(&keys, &ALGORITHMS) else { return Ok(Err(UNKNOWN)) };
    let until = match check(&claims, id, request.client, audience, now) {
        Ok(until) => until,
        Err(why) => return Ok(Err(Refused::InvalidClient(why))),
    };
    let mut tx = ctx.begin(Scope::Platform).await?;
    let name = Sha256::digest(claims.jti.as_bytes());
    if !clients::spend(tx.conn(), row.org, id, &name, until, now).await? {
        return Ok(Err(Refused::InvalidClient("The client_assertion was used before: each needs a jti of its own.")));
    }
    tx.commit().await?;
    Ok(Ok(Client { id, org: row.org, person: row.person, role, scopes: Scopes::known(&row.scopes) }))
}

fn read(request: Request<'_>) -> Result<Signed<'_>, Refused> {
    let missing = Refused::InvalidRequest;
    match request.grant.ok_or(missing("The grant_type is missing; it must be client_credentials."))? {
        "client_credentials" => {}
        _ => return Err(Refused::UnsupportedGrantType),
    }
    if request.kind != Some(ASSERTION) {
        return Err(missing(
            "The client_assertion_type must be urn:ietf:params:oauth:client-assertion-type:jwt-bearer.",
        ));
    }
    let assertion = request.assertion.ok_or(missing("The client_assertion is missing."))?;
    Signed::parse(assertion).map_err(|_| Refused::InvalidClient("The client_assertion is no JSON Web Token."))
}

/// Until when a good statement must be remembered.
fn check(
    claims: &Claims,
    id: ClientId,
    named: Option<&str>,
    audience: &str,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, &'static str> {
    let own = id.to_string();
    if claims.iss != own || claims.sub != own || named.is_some_and(|named| named != own) {
        return Err("iss, sub and client_id must all be the client's id.");
    }
    if !claims.aud.is(audience) {
        return Err("aud must be the address of the token endpoint, as /.well-known/smart-configuration names it.");
    }
    let at = |seconds: f64| {
        // Beyond these, no date has so many seconds.
        let whole = (0.0..=1e11).contains(&seconds).then_some(seconds)?;
        #[expect(clippy::cast_possible_truncation, reason = "within the range above it fits")]
        DateTime::from_timestamp_millis((whole * 1000.0) as i64)
    };
    let exp = at(claims.exp).ok_or("exp is no time.")?;
    if exp + CLOCKS <= now {
        return Err("The client_assertion has expired (exp).");
    }
    if exp > now + LONGEST + CLOCKS {
        return Err("exp must be at most five minutes from now.");
    }
    if claims.nbf.is_some_and(|nbf| at(nbf).is_none_or(|nbf| nbf > now + CLOCKS)) {
        return Err("The client_assertion is not good yet (nbf).");
    }
    if claims.jti.is_empty() || claims.jti.chars().count() > LONGEST_NAME {
        return Err("jti must have 1 to 200 characters.");
    }
    Ok(exp + CLOCKS)
}

/// A token that was granted.
#[derive(Debug)]
pub struct Granted {
    /// The token.
    pub token: NewToken,
    /// What it may do, as it was asked for.
    pub scope: String,
}

/// Gives a client a token for what it asks for and may: by its registration, and by what `ceiling` says of its person's role.
///
/// # Errors
/// Postgres; within: why it is refused.
pub async fn grant(
    ctx: &Context,
    client: &Client,
    asked: Option<&str>,
    ceiling: fn(Role) -> &'static [TokenScope],
    request: RequestId,
) -> Result<Result<Granted, Refused>, DbError> {
    let Some(asked) = asked else {
        return Ok(Err(Refused::InvalidScope("The scope is missing: name what the token is to do.")));
    };
    let may = client.scopes.within(ceiling(client.role));
    let wanted: Vec<_> = scopes::wanted(asked).into_iter().filter(|wanted| may.contains(wanted.scope)).collect();
    if wanted.is_empty() {
        return Ok(Err(Refused::InvalidScope("The client may do nothing of what the scope asks for.")));
    }
    let mut tx = ctx.begin(Scope::Platform).await?;
    let by = Actor::Person { id: client.person, role: client.role, request };
    let expires_at = tx.now() + LIFETIME;
    let granted = Scopes::of(wanted.iter().map(|wanted| wanted.scope));
    let token = tokens::grant(&mut tx, client.org, client.person, client.id, &granted, expires_at).await?;
    let detail = json!({"token": token.id, "scopes": granted.names(), "expires_at": expires_at});
    note(&mut tx, by, client.org, "token.granted", client.id, Some(detail)).await?;
    tx.commit().await?;
    let names: Vec<String> = wanted.into_iter().map(|wanted| wanted.name).collect();
    Ok(Ok(Granted { token, scope: names.join(" ") }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: &str = "https://clinic.example.org/oauth/token";

    fn claims(change: impl FnOnce(&mut serde_json::Value)) -> Claims {
        let id = ClientId(uuid::Uuid::from_u128(1)).to_string();
        let mut claims = json!({"iss": id, "sub": id, "aud": HERE, "exp": 1300, "jti": "one"});
        change(&mut claims);
        serde_json::from_value(claims).expect("claims")
    }

    fn checked(change: impl FnOnce(&mut serde_json::Value)) -> Result<i64, &'static str> {
        let now = DateTime::from_timestamp(1000, 0).expect("a time");
        check(&claims(change), ClientId(uuid::Uuid::from_u128(1)), None, HERE, now).map(|until| until.timestamp())
    }

    #[test]
    fn a_statement_is_good_for_here_and_for_five_minutes() {
        assert_eq!(checked(|_| {}), Ok(1310));
        assert_eq!(checked(|claims| claims["aud"] = json!(["elsewhere", HERE])), Ok(1310));
        assert_eq!(checked(|claims| claims["exp"] = json!(1000.5)), Ok(1010));
        assert_eq!(checked(|claims| claims["nbf"] = json!(1005)), Ok(1310));
        let other = ClientId(uuid::Uuid::from_u128(2)).to_string();
        for (name, value, why) in [
            ("iss", json!(other), "iss, sub"),
            ("sub", json!(other), "iss, sub"),
            ("aud", json!("https://clinic.example.org/oauth/token/"), "aud"),
            ("aud", json!([]), "aud"),
            ("exp", json!(990), "expired"),
            ("exp", json!(1311), "five minutes"),
            ("exp", json!(1e300), "no time"),
            ("exp", json!(-1), "no time"),
            ("nbf", json!(1011), "not good yet"),
            ("jti", json!(""), "jti"),
            ("jti", json!("j".repeat(201)), "jti"),
        ] {
            let refused = checked(|claims| claims[name] = value.clone()).expect_err("refused");
            assert!(refused.contains(why), "{name} {value}: {refused}");
        }
    }
}
