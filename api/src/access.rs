//! Who asks by an API token or by a patient's link, and what they leave in the audit trail. What they may do is [`crate::policy`]'s to say.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use axum::http::{Extensions, header, request::Parts};
use axum::response::Response;
use pulsecal_core::ids::{OrgId, PersonId, RequestId, TokenId};
use pulsecal_core::links::LinkError;
use pulsecal_core::store::audit::{self, Actor, Entry, Role, UnknownRole};
use pulsecal_core::store::idempotency::PersonsKey;
use pulsecal_core::store::{Scope, Tx};
use pulsecal_core::tokens::{Scopes, TokenHash, TokenScope};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::exports::Owner;
use crate::idempotency::{Keyed, NotDone};
use crate::limits::{STRANGERS, address_of, by_caller};
use crate::policy::{Rule, Trace, Who, ceiling};
use crate::problem::Problem;
use crate::records::Clinician;

/// Somebody who may do what they ask for, within their organization. A handler that takes it runs for nobody else.
#[derive(Debug)]
pub(crate) struct Tenant {
    rule: &'static Rule,
    token: TokenId,
    org: OrgId,
    person: PersonId,
    role: Role,
    request: RequestId,
}

/// Somebody who may change what they ask to change. Their request is done once if they gave it a key ([`crate::idempotency`]).
#[derive(Debug)]
pub(crate) struct Writer {
    tenant: Tenant,
    keyed: Option<Keyed>,
}

/// Whoever brings the link that was mailed to a patient. Whether it is one of ours, the handler finds out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LinkHolder {
    rule: &'static Rule,
    request: RequestId,
    from: IpAddr,
}

/// The id that [`crate::layers::log`] gave this request.
pub(crate) fn request_of(extensions: &Extensions) -> Result<RequestId, Problem> {
    let id = extensions.get::<RequestId>().copied();
    id.ok_or_else(|| Problem::internal("a request came round the layer that gives it an id"))
}

impl FromRequestParts<App> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let rule = Rule::of(parts)?;
        let (Who::Token(scope) | Who::TokenOrPage(scope)) = rule.who else {
            return Err(Problem::internal(&format!("{} {} is not for tokens", rule.method, rule.path)));
        };
        let request = request_of(&parts.extensions)?;
        let Some(sent) = parts.headers.get(header::AUTHORIZATION) else {
            return Err(Problem::no_token(false));
        };
        let hash = sent
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, secret)| TokenHash::of(secret.trim_matches(' ')));
        let found = match hash {
            None => None,
            Some(hash) => app.ctx.db.find_token(&hash).await?,
        };
        let Some(bearer) = found else {
            let from = address_of(&parts.extensions, &parts.headers);
            let why = Problem::no_token(true);
            note_stranger(app, from, request, rule, why.code());
            return Err(why);
        };
        // A client's tokens share its turns: it gets a new one as often as it likes.
        let caller = bearer.client.map_or_else(|| bearer.token.to_string(), |client| client.to_string());
        by_caller(app, &parts.extensions, &caller).await?;
        let role: Role = bearer.role.parse().map_err(|error: UnknownRole| Problem::internal(&error.to_string()))?;
        let tenant = Self { rule, token: bearer.token, org: bearer.org, person: bearer.person, role, request };
        match refusal(role, &Scopes::known(&bearer.scopes), scope) {
            None => Ok(tenant),
            Some(problem) => {
                note_refusal(app, Some(tenant.org), tenant.actor(), rule, problem.code()).await?;
                Err(problem)
            }
        }
    }
}

/// Whoever asks for something that shows who they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stranger {
    rule: &'static Rule,
    request: RequestId,
    from: IpAddr,
}

impl FromRequestParts<App> for Stranger {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let from = address_of(&parts.extensions, &parts.headers);
        Ok(Self { rule: Rule::of(parts)?, request: request_of(&parts.extensions)?, from })
    }
}

impl Stranger {
    /// Puts on record that they did not show it.
    pub(crate) fn refused(self, app: &App, why: &'static str) {
        note_stranger(app, self.from, self.request, self.rule, why);
    }
}

impl FromRequestParts<App> for LinkHolder {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &App) -> Result<Self, Problem> {
        let rule = Rule::of(parts)?;
        if rule.who != Who::LinkHolder {
            return Err(Problem::internal(&format!("{} {} is not for links", rule.method, rule.path)));
        }
        let from = address_of(&parts.extensions, &parts.headers);
        Ok(Self { rule, request: request_of(&parts.extensions)?, from })
    }
}

impl LinkHolder {
    /// Them, for the audit entries of this request.
    pub(crate) fn actor(self) -> Actor {
        Actor::PatientLink { request: self.request }
    }

    /// Puts on record that the link opens nothing, and says so.
    pub(crate) fn refused(self, app: &App, why: LinkError) -> Problem {
        let why = match why {
            LinkError::Forged => Problem::link_unknown(),
            LinkError::Expired => Problem::link_expired(),
        };
        note_stranger(app, self.from, self.request, self.rule, why.code());
        why
    }

    /// A transaction that sees accounts: for a link of one.
    pub(crate) async fn begin_account(self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Platform).await?)
    }

    /// The request.
    pub(crate) fn request(self) -> RequestId {
        self.request
    }

    /// A transaction that sees the link's organization and no other.
    pub(crate) async fn begin(self, app: &App, org: OrgId) -> Result<Tx, Problem> {
        let scope = if self.looks() { Scope::Look(org) } else { Scope::Org(org) };
        Ok(app.ctx.begin(scope).await?)
    }

    /// Ends the transaction in which something of this patient was read; where it is shown, that is put on record.
    pub(crate) async fn saw(
        self,
        app: &App,
        tx: Tx,
        org: OrgId,
        of: (&'static str, Uuid),
        patient: PersonId,
    ) -> Result<(), Problem> {
        match self.rule.trace {
            Trace::Read(action) => note_look(app, tx, org, self.actor(), action, Some(of), [patient]).await,
            _ => Ok(tx.commit().await?),
        }
    }

    fn looks(self) -> bool {
        matches!(self.rule.trace, Trace::Read(_))
    }
}

impl FromRequestParts<App> for Writer {
    type Rejection = NotDone;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, NotDone> {
        let tenant = Tenant::from_request_parts(parts, app).await?;
        let keyed = parts.extensions.get::<Keyed>().cloned();
        if let Some(keyed) = &keyed {
            let of = PersonsKey { org: tenant.org, person: tenant.person, key: keyed.key().to_owned() };
            keyed.claim(app, of, tenant.request).await?;
        }
        Ok(Self { tenant, keyed })
    }
}

impl Writer {
    /// The organization.
    pub(crate) fn org(&self) -> OrgId {
        self.tenant.org
    }

    /// Who asks, for what belongs to one person.
    pub(crate) fn owner(&self) -> Owner {
        self.tenant.owner()
    }

    /// Them, as who reads and writes medical records.
    pub(crate) fn clinician(&self) -> Clinician {
        self.tenant.clinician()
    }

    /// A transaction that sees this organization and no other. It ends with [`Writer::close`].
    pub(crate) async fn begin(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Org(self.tenant.org)).await?)
    }

    /// Writes the audit entry of what `tx` does. `detail` holds ids, numbers and names of fields, nothing else.
    pub(crate) async fn audit(
        &self,
        app: &App,
        tx: &mut Tx,
        action: &'static str,
        subject_type: &'static str,
        subject: Uuid,
        mut detail: Value,
    ) -> Result<(), Problem> {
        detail["token"] = json!(self.tenant.token);
        let entry = Entry {
            org: Some(self.tenant.org),
            actor: self.tenant.actor(),
            action,
            subject_type,
            subject,
            outcome: "success",
            detail: Some(detail),
        };
        let now = tx.now();
        Ok(audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?)
    }

    /// Commits what was done, together with its answer if the request has a key.
    pub(crate) async fn close(&self, tx: Tx, response: Response) -> Result<Response, Problem> {
        match &self.keyed {
            Some(keyed) => keyed.close(tx, response).await,
            None => {
                tx.commit().await?;
                Ok(response)
            }
        }
    }
}

/// Why a token may not; none: it may.
fn refusal(role: Role, granted: &Scopes, scope: TokenScope) -> Option<Problem> {
    let may = granted.contains(scope) && ceiling(role).contains(&scope);
    (!may).then(|| Problem::no_scope(scope.as_str(), granted.contains(scope)))
}

/// Has it put on record that somebody was refused who could not say who they are. Strangers must not be able to fill the audit
/// trail, nor to keep Postgres busy: of each address only so many are written down, and they do not wait for it.
fn note_stranger(app: &App, from: IpAddr, request: RequestId, rule: &'static Rule, why: &'static str) {
    metrics::counter!("api_strangers_refused_total", "why" => why).increment(1);
    let Ok(turn) = app.stranger_notes.clone().try_acquire_owned() else { return };
    let app = app.clone();
    tokio::spawn(async move {
        let _turn = turn;
        if !app.limits.take(STRANGERS, &from.to_string()).await.allowed {
            return;
        }
        // What went wrong is logged where it is made a problem.
        let _noted = note_refusal(&app, None, Actor::UnknownToken { request }, rule, why).await;
    });
}

/// Puts on record that somebody was refused.
pub(crate) async fn note_refusal(
    app: &App,
    org: Option<OrgId>,
    actor: Actor,
    rule: &Rule,
    why: &'static str,
) -> Result<(), Problem> {
    let mut tx = app.ctx.begin(org.map_or(Scope::Platform, Scope::Look)).await?;
    let now = tx.now();
    audit::write(tx.conn(), app.ctx.ids, &[refused_entry(org, actor, rule, why)], now).await?;
    Ok(tx.commit().await?)
}

/// The audit entry of a refusal.
pub(crate) fn refused_entry(org: Option<OrgId>, actor: Actor, rule: &Rule, why: &'static str) -> Entry {
    let subject = match actor {
        Actor::Person { id, .. } => id.0,
        _ => Uuid::nil(),
    };
    Entry {
        org,
        actor,
        action: "access.refused",
        subject_type: "person",
        subject,
        outcome: "refused",
        detail: Some(
            json!({"method": rule.method, "route": rule.path, "why": why, "needs": rule.who.scope().map(TokenScope::as_str)}),
        ),
    }
}

/// Puts on record that `actor` saw something of these patients, and ends the transaction in which it was read. `of` is what
/// they saw, if it was one thing and no list.
pub(crate) async fn note_look(
    app: &App,
    mut tx: Tx,
    org: OrgId,
    actor: Actor,
    action: &'static str,
    of: Option<(&'static str, Uuid)>,
    patients: impl IntoIterator<Item = PersonId>,
) -> Result<(), Problem> {
    let (subject_type, subject) = of.unwrap_or(("organization", org.0));
    let mut patients: Vec<PersonId> = patients.into_iter().collect();
    patients.sort_unstable();
    patients.dedup();
    let detail = Some(json!({"patients": patients}));
    let entry = Entry { org: Some(org), actor, action, subject_type, subject, outcome: "success", detail };
    let now = tx.now();
    audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?;
    Ok(tx.commit().await?)
}

impl Tenant {
    /// The organization.
    pub(crate) fn org(&self) -> OrgId {
        self.org
    }

    /// Them, as who reads and writes medical records.
    pub(crate) fn clinician(&self) -> Clinician {
        Clinician { org: self.org, person: self.person, role: self.role, actor: self.actor(), rule: self.rule }
    }

    fn actor(&self) -> Actor {
        Actor::Person { id: self.person, role: self.role, request: self.request }
    }

    /// Who asks, for what belongs to one person.
    pub(crate) fn owner(&self) -> Owner {
        Owner { org: self.org, person: self.person, actor: self.actor() }
    }

    /// A transaction that sees this organization and no other.
    pub(crate) async fn begin(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Org(self.org)).await?)
    }

    /// The same, for reading what [`Tenant::saw`] and [`Tenant::saw_list`] then put on record.
    pub(crate) async fn look(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Look(self.org)).await?)
    }

    /// Ends a look at one thing, which is a patient's.
    pub(crate) async fn saw(
        &self,
        app: &App,
        tx: Tx,
        subject_type: &'static str,
        subject: Uuid,
        patient: PersonId,
    ) -> Result<(), Problem> {
        note_look(app, tx, self.org, self.actor(), self.look_leaves()?, Some((subject_type, subject)), [patient]).await
    }

    /// Ends a look at a list, which tells something of these patients.
    pub(crate) async fn saw_list(
        &self,
        app: &App,
        tx: Tx,
        patients: impl IntoIterator<Item = PersonId>,
    ) -> Result<(), Problem> {
        note_look(app, tx, self.org, self.actor(), self.look_leaves()?, None, patients).await
    }

    /// Ends a look at one thing, which tells of no patient by itself.
    pub(crate) async fn saw_thing(
        &self,
        app: &App,
        tx: Tx,
        subject_type: &'static str,
        subject: Uuid,
    ) -> Result<(), Problem> {
        note_look(app, tx, self.org, self.actor(), self.look_leaves()?, Some((subject_type, subject)), []).await
    }

    fn look_leaves(&self) -> Result<&'static str, Problem> {
        match self.rule.trace {
            Trace::Read(action) => Ok(action),
            _ => Err(Problem::internal(&format!("{} {} is not for looking", self.rule.method, self.rule.path))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_does_no_more_than_its_scopes_and_its_persons_role_allow() {
        let may = |role, scopes: &Scopes, scope| refusal(role, scopes, scope).is_none();
        assert!(may(Role::Nurse, &Scopes::all(), TokenScope::RemindersWrite));
        let few = Scopes::of([TokenScope::PatientsRead]);
        assert!(may(Role::Nurse, &few, TokenScope::PatientsRead));
        assert!(!may(Role::Nurse, &few, TokenScope::PatientsWrite));
        assert!(!may(Role::Receptionist, &Scopes::all(), TokenScope::PrescriptionsRead));
        assert!(!may(Role::Ops, &Scopes::all(), TokenScope::PatientsRead));
        assert!(may(Role::Ops, &Scopes::all(), TokenScope::OpsWrite));
        assert!(!may(Role::Admin, &Scopes::all(), TokenScope::OpsWrite));
    }

    #[test]
    fn a_refusal_says_whether_scope_or_role_stands_in_the_way() {
        let by_role = refusal(Role::Patient, &Scopes::all(), TokenScope::JobsRead).expect("refused");
        assert!(by_role.detail().contains("role"), "{by_role:?}");
        let by_scope = refusal(Role::Admin, &Scopes::default(), TokenScope::JobsRead).expect("refused");
        assert!(by_scope.detail().contains("jobs:read"), "{by_scope:?}");
    }
}
