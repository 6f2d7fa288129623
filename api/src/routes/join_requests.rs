//! `/v1/join-requests`: doctors ask to join another organization; its administrators approve or deny.

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use pulsecal_core::ids::{JoinRequestId, OrgId, PersonId};
use pulsecal_core::joining::{self, Decision, JoinError};
use pulsecal_core::store::joins::{self, JOIN_STATES, JoinRequest};
use pulsecal_core::store::listing::Before;
use pulsecal_jobs::JoinDecision;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Object;

use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::{BEFORE, JOIN_REQUEST, ORGANIZATION};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::fields::JsonBody;
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// The longest message of who asks, and note of who decides, in characters.
const WORDS: usize = 1000;
/// The orders of a list.
const ORDERS: [&str; 2] = ["-asked", "asked"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/join-requests", get(list).post(ask))
        .route("/join-requests/mine", get(mine))
        .route("/join-requests/{id}", get(one))
        .route("/join-requests/{id}/withdraw", post(withdraw))
        .route("/join-requests/{id}/approve", post(approve))
        .route("/join-requests/{id}/deny", post(deny))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let ask = Body::new(
        "NewJoinRequest",
        json!({"organization_id": ORGANIZATION, "message": "I have a surgery on Mondays."}),
    )
    .required("organization_id", kinds::id(), "Which organization is asked.")
    .optional("message", kinds::text(WORDS), "What its administrators are told.");
    let decide = || {
        Body::new("JoinDecision", json!({"note": "Welcome."})).optional(
            "note",
            kinds::text(WORDS),
            "Why, as the doctor is told by mail.",
        )
    };
    let state = || kinds::one_of(&JOIN_STATES).about("In this state.");
    vec![
        Operation::new("GET", "/v1/join-requests", "Lists who asks to join")
            .query("state", state())
            .query("sort", paging::sorts(&ORDERS, "By when they asked"))
            .lists::<Shown>("A page of requests.", example()),
        Operation::new("POST", "/v1/join-requests", "Asks to join another organization")
            .detail("For the account of whoever asks. After a denial one may ask again; the earlier requests stay on record. What nobody decides within 14 days ends by itself, and whoever asked is told by mail.")
            .body(ask)
            .fails([Problem::from(JoinError::Open)])
            .creates::<Shown>("The request.", example()),
        Operation::new("GET", "/v1/join-requests/mine", "Lists one's own requests")
            .lists::<Shown>("A page of the requests of one's account, newest first.", example()),
        Operation::new("GET", "/v1/join-requests/{id}", "Shows who asks to join")
            .shows_version::<Shown>("The request.", example()),
        Operation::new("POST", "/v1/join-requests/{id}/withdraw", "Takes one's own request back")
            .body_or_none(Body::new("JoinWithdrawal", json!({})))
            .shows_version::<Shown>("The request as it is now.", example()),
        Operation::new("POST", "/v1/join-requests/{id}/approve", "Lets a doctor in")
            .detail("They are a doctor of the organization from the same moment, and are told by mail. Twice changes nothing.")
            .body_or_none(decide())
            .fails([Problem::from(JoinError::Decided("denied".into()))])
            .shows_version::<Shown>("The request as it is now.", example()),
        Operation::new("POST", "/v1/join-requests/{id}/deny", "Does not let a doctor in")
            .detail("They are told by mail, and may ask again. Twice changes nothing.")
            .body_or_none(decide())
            .fails([Problem::from(JoinError::Decided("approved".into()))])
            .shows_version::<Shown>("The request as it is now.", example()),
    ]
}

fn state() -> Object {
    kinds::one_of(&JOIN_STATES)
}

fn example() -> Value {
    json!({
        "id": JOIN_REQUEST, "organization_id": ORGANIZATION, "given_name": "Miriam", "family_name": "Sommer",
        "email": "miriam.sommer@example.org", "message": "I have a surgery on Mondays.", "state": "open", "asked_at": BEFORE,
        "decided_at": null, "note": null, "person_id": null, "version": 1,
    })
}

/// A request, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = JoinRequest)]
struct Shown {
    id: JoinRequestId,
    organization_id: OrgId,
    given_name: String,
    family_name: String,
    email: String,
    message: Option<String>,
    #[schema(schema_with = state)]
    state: String,
    asked_at: DateTime<Utc>,
    decided_at: Option<DateTime<Utc>>,
    /// Why it was decided so.
    note: Option<String>,
    /// Who they are in the organization, once approved.
    person_id: Option<PersonId>,
    version: i32,
}

impl From<JoinRequest> for Shown {
    fn from(row: JoinRequest) -> Self {
        Self {
            id: row.id,
            organization_id: row.org,
            given_name: row.given_name,
            family_name: row.family_name,
            email: row.email,
            message: row.message,
            state: row.state,
            asked_at: row.asked_at,
            decided_at: row.decided_at,
            note: row.note,
            person_id: row.person,
            version: row.version,
        }
    }
}

impl From<JoinError> for Problem {
    fn from(error: JoinError) -> Self {
        match error {
            JoinError::Unknown => Self::not_found("There is no such request."),
            JoinError::NoOrganization => Self::field("organization_id", "there is no such organization"),
            JoinError::NoAccount => Self::conflict(
                "You have no account with a password, and it is the account that joins. Have your organization invite you to one first.",
            ),
            JoinError::Member => Self::conflict("You work there already."),
            JoinError::Open => Self::conflict("You have asked already; the request is open. You may take it back."),
            JoinError::TooMany => Self::conflict(
                "You have asked too often: five times one organization in 30 days, and 20 organizations at once, at most.",
            ),
            JoinError::Decided(state) => Self::conflict(format!("The request is {state} already.")),
            JoinError::AddressTaken => Self::conflict(
                "Somebody of your staff has this address already. Invite that person to an account instead, and deny this request.",
            ),
            JoinError::Db(error) => error.into(),
        }
    }
}

fn place(row: &JoinRequest) -> Before {
    Before { at: row.asked_at, id: row.id.0 }
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Before> = paging::wanted(&mut params);
    let state = params.one_of("state", &JOIN_STATES);
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let mut tx = tenant.begin(&app).await?;
    let rows = joins::list(tx.conn(), tenant.org(), state, way, wanted.after, wanted.rows).await?;
    Ok(wanted.page(rows, place, Shown::from).into_response())
}

async fn mine(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Before> = paging::wanted(&mut params);
    params.finish()?;
    let mut tx = tenant.begin(&app).await?;
    let rows = joins::own(tx.conn(), tenant.owner().person, wanted.after, wanted.rows).await?;
    Ok(wanted.page(rows, place, Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<JoinRequestId>) -> Result<Response, Problem> {
    let mut tx = tenant.begin(&app).await?;
    let row = joins::one(tx.conn(), tenant.org(), id).await?.ok_or(JoinError::Unknown)?;
    Ok(versioned(row.version, &Shown::from(row)))
}

async fn ask(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let org = fields.required::<OrgId>("organization_id");
    let message = fields.optional::<String>("message");
    fields.check_length("message", message.as_deref(), WORDS);
    fields.finish()?;
    let org = org.ok_or_else(|| Problem::internal("a required field was missing and not recorded"))?;
    let mut tx = by.begin(&app).await?;
    let row = joining::ask(&mut tx, org, by.owner().person, message.as_deref()).await?;
    by.audit(&app, &mut tx, "join.asked", "join_request", row.id.0, json!({"organization": org})).await?;
    let location = format!("{}/v1/join-requests/mine", app.base_path);
    by.close(tx, created(&location, row.version, &Shown::from(row))).await
}

async fn withdraw(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<JoinRequestId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let row = joins::withdraw(tx.conn(), id, by.owner().person, now).await?;
    let row = row.ok_or_else(|| Problem::not_found("You have no open request with this id."))?;
    by.audit(&app, &mut tx, "join.withdrawn", "join_request", id.0, json!({"organization": row.org})).await?;
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn approve(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<JoinRequestId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    decide(by, app, id, body, Decision::Approve, "join.approved").await
}

async fn deny(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<JoinRequestId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    decide(by, app, id, body, Decision::Deny, "join.denied").await
}

async fn decide(
    by: Writer,
    app: App,
    id: JoinRequestId,
    body: Option<JsonBody>,
    decision: Decision,
    action: &'static str,
) -> Result<Response, Problem> {
    let mut fields = JsonBody::fields_or_none(body)?;
    let note = fields.optional::<String>("note");
    fields.check_length("note", note.as_deref(), WORDS);
    fields.finish()?;
    let mut tx = by.begin(&app).await?;
    let who = by.owner().person;
    let (row, done) = joining::decide(&mut tx, (by.org(), id), who, &decision, note, JoinDecision::make).await?;
    if done {
        by.audit(&app, &mut tx, action, "join_request", id.0, json!({"person": row.person})).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}
