//! Who is signed in at the pages of staff and operators, and whether a form came from one of those pages.
//!
//! A page asks for [`SignedIn`], or for [`Ops`] if it is for operators; either lets in whom [`crate::policy`] lets in. What
//! changes something asks for [`Sent`]: a form that the person sent from a page of ours.

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pulsecal_core::ids::{AccountId, OrgId, PersonId, RequestId, SessionId};
use pulsecal_core::sessions::{self, NewSession, SeenFrom, SessionSecret, Source};
use pulsecal_core::store::audit::{self, Actor, Entry, Role};
use pulsecal_core::store::{Scope, Tx};
use pulsecal_core::tokens::{Scopes, TokenScope};
use serde_json::Value;
use uuid::Uuid;

use super::cookies::{Cookie, cookie_of};
use crate::access::{note_look, note_refusal, request_of};
use crate::app::App;
use crate::exports::Owner;
use crate::layers::wants_json;
use crate::limits::{address_of, by_caller};
use crate::policy::{Rule, Trace, Who, ceiling, is_staff};
use crate::problem::Problem;

/// Where a second factor is switched on.
const FACTOR: &str = "/account/second-factor";
/// Of what a browser says that it is, so many characters are kept.
const MOST_AGENT: usize = 200;
/// The field of a form that holds its session's token.
pub(crate) const FORM_TOKEN: &str = "form_token";

/// Somebody who is signed in, within their organization.
#[derive(Clone, Debug)]
pub(crate) struct SignedIn {
    /// The session.
    pub(crate) session: SessionId,
    /// Their organization.
    pub(crate) org: OrgId,
    /// Who.
    pub(crate) person: PersonId,
    /// The account that they signed in with; none: a token.
    pub(crate) account: Option<AccountId>,
    /// Their role.
    pub(crate) role: Role,
    /// Their name, for the head of their pages.
    pub(crate) name: String,
    /// Their organization's name.
    pub(crate) organization: String,
    /// The organization asks for a second factor, and they have none: only the page that switches it on is open.
    pub(crate) lacks_factor: bool,
    /// What their role allows, and their token if they came with one.
    scopes: Scopes,
    secret: SessionSecret,
    request: RequestId,
    /// What their looking leaves on the route that they are at.
    leaves: Trace,
}

/// An operator, who is signed in and sees every organization's jobs.
#[derive(Clone, Debug)]
pub(crate) struct Ops(pub(crate) SignedIn);

/// A form that a signed-in person (`P` is [`SignedIn`] or [`Ops`]) sent from a page of ours.
pub(crate) struct Sent<P> {
    /// Who sent it.
    pub(crate) by: P,
    /// From where.
    pub(crate) from: SeenFrom,
    fields: Vec<(String, String)>,
}

/// Why somebody is not let in.
#[derive(Debug)]
pub(crate) enum Refused {
    /// They are to sign in, and are led back afterwards.
    SignIn(String),
    /// They are to switch on a second factor first.
    Factor(String),
    /// What is wrong.
    Problem(Problem),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(to) | Self::Factor(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
            Self::Problem(problem) => problem.into_response(),
        }
    }
}

impl<E: Into<Problem>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Problem(error.into())
    }
}

impl FromRequestParts<App> for SignedIn {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let rule = Rule::of(parts)?;
        let (who, kind) = match rule.who {
            Who::Page(scope) => (scope, Kind::Staff),
            Who::TokenOrPage(scope) => (Some(scope), Kind::Staff),
            Who::Ops(scope) => (Some(scope), Kind::Ops),
            Who::Account => (None, Kind::Account),
            Who::Session => (None, Kind::Any),
            Who::Patient => (None, Kind::Patient),
            _ => return Err(Problem::internal(&format!("{} {} is no page", rule.method, rule.path)).into()),
        };
        let reads = matches!(parts.method, Method::GET | Method::HEAD) && !wants_json(&parts.headers);
        if let Some(mut found) = signed_in(app, &parts.headers, request_of(&parts.extensions)?).await? {
            found.leaves = rule.trace;
            let why = match kind {
                Kind::Ops if found.role != Role::Ops => Some(Problem::page_without_role("ops")),
                Kind::Staff if !is_staff(found.role) => Some(Problem::page_without_role("of staff")),
                Kind::Patient if found.role != Role::Patient => Some(Problem::page_without_role("patient")),
                Kind::Account if found.account.is_none() => Some(Problem::page_without_account()),
                _ => who.filter(|scope| !found.may(*scope)).map(|scope| Problem::page_without_scope(scope.as_str())),
            };
            by_caller(app, &parts.extensions, &found.session.to_string()).await?;
            if found.lacks_factor && !matches!(kind, Kind::Any) && !rule.path.starts_with(FACTOR) {
                return Err(if reads {
                    Refused::Factor(format!("{}{FACTOR}", app.base_path))
                } else {
                    Problem::without_factor().into()
                });
            }
            let Some(why) = why else { return Ok(found) };
            note_refusal(app, Some(found.org), found.actor(), rule, why.code()).await?;
            return Err(why.into());
        }
        if !reads {
            return Err(Problem::not_signed_in().into());
        }
        let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
        let next: String = url::form_urlencoded::byte_serialize(path.as_bytes()).collect();
        Err(Refused::SignIn(format!("{}/sign-in?next={next}", app.base_path)))
    }
}

/// Which sort of page it is.
enum Kind {
    /// For staff and operators.
    Staff,
    /// For operators.
    Ops,
    /// For who signed in with a password.
    Account,
    /// For whoever is signed in.
    Any,
    /// For patients.
    Patient,
}

/// Who the request's cookie says is signed in, if it says so truly.
pub(super) async fn signed_in(app: &App, headers: &HeaderMap, request: RequestId) -> Result<Option<SignedIn>, Problem> {
    let Some(secret) = cookie_of(app, headers, Cookie::Session) else { return Ok(None) };
    // No organization yet: this transaction sees no rows but through the function that finds sessions.
    let mut tx = app.ctx.begin(Scope::Orgs(&[])).await?;
    let found = sessions::find(&mut tx, &secret).await?;
    let now = tx.now();
    tx.commit().await?;
    let Some(bearer) = found else { return Ok(None) };
    let with_password = bearer.account.is_some();
    let role = bearer.role.parse().ok().filter(|role| is_staff(*role) || with_password);
    let Some(role) = role else { return Ok(None) };
    if sessions::is_seen_late(&bearer, now) {
        let mut tx = app.ctx.begin(Scope::Org(bearer.org)).await?;
        sessions::seen(&mut tx, &bearer).await?;
        tx.commit().await?;
    }
    Ok(Some(SignedIn {
        session: bearer.session,
        org: bearer.org,
        person: bearer.person,
        account: bearer.account,
        scopes: match &bearer.scopes {
            Some(of_token) => Scopes::known(of_token).within(ceiling(role)),
            None => Scopes::of(ceiling(role).iter().copied()),
        },
        role,
        name: bearer.name,
        organization: bearer.organization,
        lacks_factor: bearer.lacks_factor,
        secret,
        request,
        leaves: Trace::Nothing,
    }))
}

impl SignedIn {
    /// What each form of their pages carries in the field [`FORM_TOKEN`].
    pub(crate) fn form_token(&self) -> String {
        self.secret.form_token()
    }

    /// Them, for the audit entries of this request.
    pub(crate) fn actor(&self) -> Actor {
        Actor::Person { id: self.person, role: self.role, request: self.request }
    }

    /// Them, for what belongs to one person.
    pub(crate) fn owner(&self) -> Owner {
        Owner { org: self.org, person: self.person, actor: self.actor() }
    }

    /// The account that they signed in with.
    pub(crate) fn account(&self) -> Result<AccountId, Problem> {
        self.account.ok_or_else(Problem::page_without_account)
    }

    /// A session like theirs, begun by this request.
    pub(crate) fn anew(&self, from: SeenFrom) -> Result<NewSession, Problem> {
        Ok(NewSession { org: self.org, person: self.person, source: Source::Account(self.account()?), from })
    }

    /// A transaction that sees accounts.
    pub(crate) async fn begin_account(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Platform).await?)
    }

    /// Them as another person of their account.
    pub(crate) fn actor_as(&self, id: PersonId, role: Role) -> Actor {
        Actor::Person { id, role, request: self.request }
    }

    /// Whether they may do this, for pages that offer it.
    pub(crate) fn may(&self, scope: TokenScope) -> bool {
        self.scopes.contains(scope)
    }

    /// A transaction that sees their organization and no other.
    pub(crate) async fn begin(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Org(self.org)).await?)
    }

    /// The same, for reading what [`SignedIn::saw`] then puts on record.
    pub(crate) async fn look(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Look(self.org)).await?)
    }

    /// Ends the transaction in which something of these patients was read; where it is shown, that is put on record. `of` is
    /// what they saw, if it was one thing and no list.
    pub(crate) async fn saw(
        &self,
        app: &App,
        tx: Tx,
        of: Option<(&'static str, Uuid)>,
        patients: impl IntoIterator<Item = PersonId>,
    ) -> Result<(), Problem> {
        match self.leaves {
            Trace::Read(action) => note_look(app, tx, self.org, self.actor(), action, of, patients).await,
            // What a form could not do is shown again as it was seen before.
            _ => Ok(tx.commit().await?),
        }
    }

    /// Puts what `tx` does to a thing on record. `detail` holds ids, numbers and names of fields, nothing else.
    pub(crate) async fn audit(
        &self,
        app: &App,
        tx: &mut Tx,
        action: &'static str,
        of: (&'static str, Uuid),
        detail: Value,
    ) -> Result<(), Problem> {
        let (subject_type, subject) = of;
        let (org, actor) = (Some(self.org), self.actor());
        let entry = Entry { org, actor, action, subject_type, subject, outcome: "success", detail: Some(detail) };
        let now = tx.now();
        Ok(audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?)
    }
}

impl FromRequestParts<App> for Ops {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refused> {
        let person = SignedIn::from_request_parts(parts, app).await?;
        if person.role == Role::Ops { Ok(Self(person)) } else { Err(Problem::page_without_role("ops").into()) }
    }
}

impl Ops {
    /// A transaction that sees every organization.
    pub(crate) async fn begin(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Platform).await?)
    }
}

/// Who a form may be asked from.
pub(crate) trait Person: Send {
    /// The session that the form's token belongs to.
    fn signed_in(&self) -> &SignedIn;
}

impl Person for SignedIn {
    fn signed_in(&self) -> &SignedIn {
        self
    }
}

impl Person for Ops {
    fn signed_in(&self) -> &SignedIn {
        &self.0
    }
}

impl<P: Person + FromRequestParts<App, Rejection = Refused>> FromRequest<App> for Sent<P> {
    type Rejection = Refused;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let by = P::from_request_parts(&mut parts, app).await?;
        let (rule, ours) = (Rule::of(&parts)?, from_our_page(app, &parts.headers));
        let from = seen_from(&parts.extensions, &parts.headers);
        let person = by.signed_in();
        let fields = match &ours {
            Ok(()) => read_form(Request::from_parts(parts, body), app).await?,
            Err(_) => Vec::new(),
        };
        let token = fields.iter().find(|(name, _)| name == FORM_TOKEN).map_or("", |(_, value)| value);
        if ours.is_err() || !person.secret.is_form_token(token) {
            let why = Problem::foreign_form();
            note_refusal(app, Some(person.org), person.actor(), rule, why.code()).await?;
            return Err(why.into());
        }
        Ok(Self { by, from, fields })
    }
}

impl<P> Sent<P> {
    /// The values of all fields of that name.
    pub(crate) fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }

    /// A field's value; the first of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}

/// From where somebody asks, as they are shown it afterwards.
pub(super) fn seen_from(extensions: &Extensions, headers: &HeaderMap) -> SeenFrom {
    let agent = headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let agent = agent.chars().filter(|c| !c.is_control()).take(MOST_AGENT).collect();
    SeenFrom { address: address_of(extensions, headers).to_string(), agent }
}

/// The fields of a form.
pub(super) async fn read_form(request: Request, app: &App) -> Result<Vec<(String, String)>, Problem> {
    let again = || Problem::unreadable("The form did not arrive as it should. Please go back and try again.");
    let body = Bytes::from_request(request, app).await.map_err(|_| again())?;
    let fields = url::form_urlencoded::parse(&body).map(|(name, value)| (name.into_owned(), value.into_owned()));
    Ok(fields.collect())
}

/// Refuses a form that a browser says comes from another site. Where the browser says nothing, the form's token decides.
pub(crate) fn from_our_page(app: &App, headers: &HeaderMap) -> Result<(), Problem> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("(unreadable)"));
    match text("sec-fetch-site") {
        Some("same-origin" | "none") => return Ok(()),
        Some(_) => return Err(Problem::foreign_form()),
        None => {}
    }
    let Some(origin) = text("origin") else { return Ok(()) };
    let host = text("host").unwrap_or_default();
    let own = origin == app.public_origin
        || ["http://", "https://"].iter().any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| rest == host));
    if own { Ok(()) } else { Err(Problem::foreign_form()) }
}

/// Where to go after signing in: a page of ours, or nothing.
pub(super) fn local_path(next: &str) -> Option<&str> {
    let ours = ["/ops", "/staff", "/account", "/p"].iter().any(|head| {
        next.strip_prefix(head).is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || rest.starts_with('?'))
    });
    let plain = next.len() <= 2000 && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    (ours && plain).then_some(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pages_of_ours_are_gone_to_after_signing_in() {
        for good in ["/ops", "/ops/jobs?state=dead&page=2", "/staff/exports", "/staff?x", "/account/memberships"] {
            assert_eq!(local_path(good), Some(good));
        }
        for bad in
            ["", "/", "//evil.example", "/\\evil.example", "https://evil.example/ops", "/opsy", "/ops\r\nx: y", "/v1"]
        {
            assert_eq!(local_path(bad), None, "{bad:?}");
        }
    }
}
