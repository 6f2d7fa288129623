//! `/p`: what patients who are signed in see of what is theirs. A visit or a dose is changed on the page that the mails link to as
//! well: it is reached from here by such a link, good for an hour.

mod data;
mod medicines;
mod payments;
mod records;
mod visits;

use axum::Router;
use chrono::{DateTime, TimeDelta, Utc};
use pulsecal_core::store::Tx;
use pulsecal_core::store::organizations;
use pulsecal_core::store::people::{self, Patient};
use pulsecal_core::time::Zone;

use super::session::SignedIn;
use crate::app::App;
use crate::problem::Problem;

/// The routes of patients who are signed in.
pub(super) fn router() -> Router<App> {
    visits::router().merge(medicines::router()).merge(records::router()).merge(payments::router()).merge(data::router())
}

/// Until when the links on a page lead on.
fn links_until(now: DateTime<Utc>) -> DateTime<Utc> {
    now + TimeDelta::hours(1)
}

/// The patient, with the zone that their times are said in: their own, else the clinic's.
async fn own(tx: &mut Tx, person: &SignedIn) -> Result<(Patient, Zone), Problem> {
    let patient = people::patient(tx.conn(), person.person).await?;
    let patient = patient.ok_or_else(|| Problem::internal("a patient who is signed in has no row"))?;
    let zone = match &patient.zone {
        Some(zone) => zone.clone(),
        None => organizations::zone(tx.conn(), person.org).await?,
    };
    Ok((patient, zone.parse().unwrap_or(Zone::UTC)))
}
