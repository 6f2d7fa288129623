//! Exports, as the API and the pages of staff use them: asking for one, looking at it, cancelling it, fetching its file. An
//! export is seen by whoever asked for it, and by nobody else.

pub(crate) mod ask;
mod download;
mod live;
pub(crate) mod schema;
mod view;

pub(crate) use ask::{Asked, ask, cancel};
pub(crate) use download::{MOST_AT_ONCE as MOST_DOWNLOADS, file};
pub(crate) use live::{Live, events};
pub(crate) use view::{ExportView, view};

use pulsecal_core::ids::{ExportId, OrgId, PersonId};
use pulsecal_core::store::audit::Actor;
use pulsecal_core::store::exports::{self, Export};
use pulsecal_core::store::{Scope, Tx};

use crate::app::App;
use crate::problem::Problem;

/// Who asks, whether by token or signed in at the pages, once it is known that they may.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    /// Their organization.
    pub(crate) org: OrgId,
    /// Who.
    pub(crate) person: PersonId,
    /// As audit entries name them.
    pub(crate) actor: Actor,
}

impl Owner {
    async fn begin(&self, app: &App) -> Result<Tx, Problem> {
        Ok(app.ctx.begin(Scope::Org(self.org)).await?)
    }
}

/// An export of theirs.
pub(crate) async fn one(app: &App, owner: &Owner, id: ExportId) -> Result<Export, Problem> {
    let mut tx = owner.begin(app).await?;
    let found = owned(&mut tx, owner, id).await?;
    tx.commit().await?;
    Ok(found)
}

async fn owned(tx: &mut Tx, owner: &Owner, id: ExportId) -> Result<Export, Problem> {
    let found = exports::read(tx.conn(), &[id]).await?.pop();
    let theirs = found.filter(|export| export.org == owner.org && export.by == owner.person);
    theirs.ok_or_else(|| Problem::not_found("There is no export of yours with this id."))
}
