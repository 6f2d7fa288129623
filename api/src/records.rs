//! Who reads and writes medical records, by a token or at the pages: whether they may, and what they leave in the audit trail.

use pulsecal_core::ids::{OrgId, PersonId};
use pulsecal_core::records::{self, Access};
use pulsecal_core::store::Tx;
use pulsecal_core::store::audit::{self, Actor, Entry, Role};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::access::refused_entry;
use crate::app::App;
use crate::policy::{Rule, Trace};
use crate::problem::Problem;

/// A doctor or nurse at a route of medical records.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clinician {
    /// The organization.
    pub(crate) org: OrgId,
    /// Who.
    pub(crate) person: PersonId,
    /// In which role.
    pub(crate) role: Role,
    /// Them, for the audit trail.
    pub(crate) actor: Actor,
    /// The rule of the route.
    pub(crate) rule: &'static Rule,
}

impl Clinician {
    /// Why they may read the records of this patient; none: they may not.
    pub(crate) async fn access(&self, tx: &mut Tx, patient: PersonId) -> Result<Option<Access>, Problem> {
        Ok(records::access(tx, self.org, (self.person, self.role), patient).await?)
    }

    /// Goes on with the transaction if they may read the records of this patient. Otherwise ends it, with the refusal on record: nothing may
    /// have been changed in it.
    pub(crate) async fn admit(&self, app: &App, mut tx: Tx, patient: PersonId) -> Result<(Tx, Access), Problem> {
        if let Some(access) = self.access(&mut tx, patient).await? {
            return Ok((tx, access));
        }
        let (why, now) = (Problem::not_treating(), tx.now());
        let entry = refused_entry(Some(self.org), self.actor, self.rule, why.code());
        audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?;
        tx.commit().await?;
        Err(why)
    }

    /// Ends a look, which is put on record: at one thing (`of`), or at a list.
    pub(crate) async fn saw(
        &self,
        app: &App,
        mut tx: Tx,
        of: Option<(&'static str, Uuid)>,
        patient: PersonId,
        access: Access,
    ) -> Result<(), Problem> {
        let Trace::Read(action) = self.rule.trace else {
            return Err(Problem::internal(&format!("{} {} is not for looking", self.rule.method, self.rule.path)));
        };
        let (subject_type, subject) = of.unwrap_or(("organization", self.org.0));
        let detail = Some(noted(patient, access, json!({})));
        let org = Some(self.org);
        let entry = Entry { org, actor: self.actor, action, subject_type, subject, outcome: "success", detail };
        let now = tx.now();
        audit::write(tx.conn(), app.ctx.ids, &[entry], now).await?;
        Ok(tx.commit().await?)
    }
}

/// What an audit entry about a record says besides `detail`: whose it is, so that it is among what was done to the patient's, and
/// under which broken glass.
pub(crate) fn noted(patient: PersonId, access: Access, mut detail: Value) -> Value {
    detail["patients"] = json!([patient]);
    if let Some(glass) = access.glass() {
        detail["glass"] = json!(glass);
    }
    detail
}
