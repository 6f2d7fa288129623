//! Who asks, and what they may do: the one place that knows roles.

use axum::extract::FromRequestParts;
use axum::http::{Extensions, header, request::Parts};
use pulsecal_core::ids::{OrgId, PersonId, RequestId, TokenId};
use pulsecal_core::store::audit::{self, Actor, Entry, Role, UnknownRole};
use pulsecal_core::store::{Scope, Tx, tokens};
use pulsecal_core::tokens::{Scopes, TokenHash, TokenScope};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::app::App;
use crate::exports::Owner;
use crate::problem::Problem;

/// Whoever sent the request's token. What they may do is asked with [`Access::allow`], which is also the only way to a
/// transaction in their organization.
#[derive(Debug)]
pub(crate) struct Access {
    token: TokenId,
    org: OrgId,
    person: PersonId,
    role: Role,
    request: RequestId,
    granted: Scopes,
    effective: Scopes,
}

/// What a role may do at most, whatever its tokens say.
pub(crate) fn ceiling(role: Role) -> &'static [TokenScope] {
    use TokenScope as S;
    match role {
        Role::Doctor | Role::Nurse | Role::Admin => &[
            S::PatientsRead,
            S::PatientsWrite,
            S::PrescriptionsRead,
            S::PrescriptionsWrite,
            S::RemindersRead,
            S::RemindersWrite,
            S::AppointmentsRead,
            S::AppointmentsWrite,
            S::MessagesRead,
            S::JobsRead,
            S::ExportsRead,
            S::ExportsWrite,
        ],
        Role::Receptionist => {
            &[S::PatientsRead, S::PatientsWrite, S::AppointmentsRead, S::AppointmentsWrite, S::MessagesRead]
        }
        Role::Ops => &[S::MessagesRead, S::JobsRead, S::OpsWrite],
        // Patients have their pages; the API is for staff and the systems of a clinic.
        _ => &[],
    }
}

/// The id that [`crate::layers::log`] gave this request.
pub(crate) fn request_of(extensions: &Extensions) -> Result<RequestId, Problem> {
    let id = extensions.get::<RequestId>().copied();
    id.ok_or_else(|| Problem::internal("a request came round the layer that gives it an id"))
}

/// Whether a person of this role may sign in at the pages of staff and operators.
pub(crate) fn is_staff(role: Role) -> bool {
    matches!(role, Role::Doctor | Role::Nurse | Role::Receptionist | Role::Admin | Role::Ops)
}

impl FromRequestParts<App> for Access {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let Some(sent) = parts.headers.get(header::AUTHORIZATION) else {
            return Err(Problem::no_token(false));
        };
        let hash = sent
            .to_str()
            .ok()
            .and_then(|text| text.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .and_then(|(_, secret)| TokenHash::of(secret.trim_matches(' ')))
            .ok_or_else(|| Problem::no_token(true))?;
        // No organization yet: this transaction sees no rows but through the function that finds tokens.
        let mut tx = app.ctx.begin(Scope::Orgs(&[])).await?;
        let now = tx.now();
        let found = tokens::find(tx.conn(), &hash, now).await?;
        let bearer = found.ok_or_else(|| Problem::no_token(true))?;
        let granted = Scopes::known(&bearer.scopes);
        let role: Role = bearer.role.parse().map_err(|error: UnknownRole| Problem::internal(&error.to_string()))?;
        Ok(Self {
            token: bearer.token,
            org: bearer.org,
            person: bearer.person,
            role,
            request: request_of(&parts.extensions)?,
            effective: granted.within(ceiling(role)),
            granted,
        })
    }
}

impl Access {
    /// Lets through who may do this.
    pub(crate) fn allow(self, scope: TokenScope) -> Result<Tenant, Problem> {
        if self.effective.contains(scope) {
            Ok(Tenant(self))
        } else {
            Err(Problem::no_scope(scope.as_str(), self.granted.contains(scope)))
        }
    }
}

/// Somebody who may do what they ask for, within their organization.
#[derive(Debug)]
pub(crate) struct Tenant(Access);

impl Tenant {
    /// The organization.
    pub(crate) fn org(&self) -> OrgId {
        self.0.org
    }

    /// Who asks, for what belongs to one person.
    pub(crate) fn owner(&self) -> Owner {
        let actor = Actor::Person { id: self.0.person, role: self.0.role, request: self.0.request };
        Owner { org: self.0.org, person: self.0.person, actor }
    }

    /// A transaction that sees this organization and no other.
    pub(crate) async fn begin(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Org(self.0.org)).await?)
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
        detail["token"] = json!(self.0.token);
        let entry = Entry {
            org: Some(self.0.org),
            actor: Actor::Person { id: self.0.person, role: self.0.role, request: self.0.request },
            action,
            subject_type,
            subject,
            outcome: "success",
            detail: Some(detail),
        };
        let now = tx.now();
        Ok(audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(role: Role, granted: Scopes) -> Access {
        let id = Uuid::nil();
        let effective = granted.within(ceiling(role));
        Access { token: id.into(), org: id.into(), person: id.into(), role, request: id.into(), granted, effective }
    }

    #[test]
    fn a_token_does_no_more_than_its_scopes_and_its_persons_role_allow() {
        let may = |role, scopes, scope| access(role, scopes).allow(scope).is_ok();
        assert!(may(Role::Nurse, Scopes::all(), TokenScope::RemindersWrite));
        let few = Scopes::of([TokenScope::PatientsRead]);
        assert!(may(Role::Nurse, few.clone(), TokenScope::PatientsRead));
        assert!(!may(Role::Nurse, few, TokenScope::PatientsWrite));
        assert!(!may(Role::Receptionist, Scopes::all(), TokenScope::PrescriptionsRead));
        assert!(!may(Role::Ops, Scopes::all(), TokenScope::PatientsRead));
        assert!(may(Role::Ops, Scopes::all(), TokenScope::OpsWrite));
        assert!(!may(Role::Admin, Scopes::all(), TokenScope::OpsWrite));
        for scope in TokenScope::ALL {
            assert!(!may(Role::Patient, Scopes::all(), scope) && !may(Role::Operator, Scopes::all(), scope));
        }
    }

    #[test]
    fn a_refusal_says_whether_scope_or_role_stands_in_the_way() {
        let by_role = access(Role::Patient, Scopes::all()).allow(TokenScope::JobsRead).expect_err("refused");
        assert!(by_role.detail().contains("role"), "{by_role:?}");
        let by_scope = access(Role::Admin, Scopes::default()).allow(TokenScope::JobsRead).expect_err("refused");
        assert!(by_scope.detail().contains("jobs:read"), "{by_scope:?}");
    }
}
