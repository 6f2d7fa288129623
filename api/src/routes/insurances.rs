//! `/v1/insurances`: who pays for a patient. Numbers of policies are shown here and nowhere else.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, NaiveDate, Utc};
use pulsecal_core::ids::{InsuranceId, PersonId};
use pulsecal_core::insurances::{self, InsuranceError, MOST_NAME, MOST_NUMBER, MOST_POLICIES, NewInsurance};
use pulsecal_core::money::MOST_AMOUNT;
use pulsecal_core::store::insurances::{
    self as store, INSURANCE_KINDS, Insurance, InsuranceFilter, SUBSCRIBER_RELATIONSHIPS,
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Object;
use uuid::Uuid;

use super::contacts::one_of;
use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::{BEFORE, INSURANCE, PATIENT};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::fields::{Fields, JsonBody, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// What a list may be sorted by.
const ORDERS: [&str; 2] = ["-created", "created"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/insurances", get(list).post(add))
        .route("/insurances/{id}", get(one).patch(change))
        .route("/insurances/{id}/end", post(end))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let amount = || kinds::number(0..=MOST_AMOUNT);
    let new = json!({
        "patient_id": PATIENT, "kind": "public", "provider": "Example Health", "policy_number": "A-4711", "subscriber_name": "Amina Castellan",
        "relationship": "self", "effective_on": "2026-01-01", "copay": 1000,
    });
    let new = Body::new("NewInsurance", new)
        .required("patient_id", kinds::id(), "Who is insured; a patient of the organization.")
        .required("kind", kind(), "What it is.")
        .required("provider", kinds::text(MOST_NAME), "Who insures.")
        .required("policy_number", kinds::text(MOST_NUMBER), "Its number.")
        .optional("group_number", kinds::text(MOST_NUMBER), "The number of the group that it belongs to.")
        .required("subscriber_name", kinds::text(MOST_NAME), "Whose policy it is.")
        .required("relationship", relationship(), "What the patient is to them.")
        .required("effective_on", kinds::day(), "Its first day.")
        .optional("expires_on", kinds::day(), "Its last day; null: no end is known.")
        .optional("copay", amount(), "What the patient pays of each visit, in the currency's smallest unit.")
        .optional("deductible", amount(), "What the patient pays of a year before the insurance does.");
    let change = Body::new("InsuranceChange", json!({"expires_on": "2026-12-31"}))
        .set("kind", kind(), "What it is.")
        .set("provider", kinds::text(MOST_NAME), "Who insures.")
        .set("policy_number", kinds::text(MOST_NUMBER), "Its number.")
        .optional("group_number", kinds::text(MOST_NUMBER), "The number of its group; null: none.")
        .set("subscriber_name", kinds::text(MOST_NAME), "Whose policy it is.")
        .set("relationship", relationship(), "What the patient is to them.")
        .set("effective_on", kinds::day(), "Its first day.")
        .optional("expires_on", kinds::day(), "Its last day; null: no end is known.")
        .optional("copay", amount(), "What the patient pays of each visit; null: not said.")
        .optional("deductible", amount(), "What the patient pays of a year first; null: not said.");
    vec![
        Operation::new("GET", "/v1/insurances", "Lists insurance policies")
            .query("patient", kinds::id().about("Of this patient."))
            .query("kind", kind().about("Of this kind."))
            .query(
                "valid_on",
                kinds::day()
                    .about("That pay on this day: not before their first, not after their last, and not ended."),
            )
            .query("sort", paging::sorts(&ORDERS, "By when they were added"))
            .lists::<Shown>("A page of policies.", example()),
        Operation::new("POST", "/v1/insurances", "Adds an insurance policy")
            .body(new)
            .fails([Problem::from(InsuranceError::There)])
            .creates::<Shown>("The policy.", example()),
        Operation::new("GET", "/v1/insurances/{id}", "Shows an insurance policy")
            .shows_version::<Shown>("The policy.", example()),
        Operation::new("PATCH", "/v1/insurances/{id}", "Changes an insurance policy")
            .detail("A field that is left out stays as it is.")
            .if_match()
            .body(change)
            .fails([Problem::from(InsuranceError::Ended)])
            .shows_version::<Shown>("The policy as it is now.", example()),
        Operation::new("POST", "/v1/insurances/{id}/end", "Ends an insurance policy")
            .detail("It stays on record, and pays nothing any more. Twice changes nothing.")
            .body_or_none(Body::new("InsuranceEnd", json!({})))
            .shows_version::<Shown>("The policy as it is now.", example()),
    ]
}

fn kind() -> Object {
    kinds::one_of(&INSURANCE_KINDS)
}

fn relationship() -> Object {
    kinds::one_of(&SUBSCRIBER_RELATIONSHIPS)
}

fn example() -> Value {
    json!({
        "id": INSURANCE, "patient_id": PATIENT, "kind": "public", "provider": "Example Health", "policy_number": "A-4711", "group_number": null,
        "subscriber_name": "Amina Castellan", "relationship": "self", "effective_on": "2026-01-01", "expires_on": null, "currency": "EUR",
        "copay": 1000, "deductible": null, "ended_at": null, "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}

/// A policy, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Insurance)]
struct Shown {
    id: InsuranceId,
    patient_id: PersonId,
    #[schema(schema_with = kind)]
    kind: String,
    provider: String,
    policy_number: String,
    group_number: Option<String>,
    subscriber_name: String,
    #[schema(schema_with = relationship)]
    relationship: String,
    effective_on: NaiveDate,
    /// Its last day; null: no end is known.
    expires_on: Option<NaiveDate>,
    /// Of the amounts, which are in its smallest unit.
    currency: String,
    copay: Option<i64>,
    deductible: Option<i64>,
    ended_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl From<Insurance> for Shown {
    fn from(row: Insurance) -> Self {
        Self {
            id: row.id,
            patient_id: row.patient,
            kind: row.kind,
            provider: row.provider,
            policy_number: row.policy_number,
            group_number: row.group_number,
            subscriber_name: row.subscriber_name,
            relationship: row.relationship,
            effective_on: row.effective_on,
            expires_on: row.expires_on,
            currency: row.currency,
            copay: row.copay,
            deductible: row.deductible,
            ended_at: row.ended_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

impl From<InsuranceError> for Problem {
    fn from(error: InsuranceError) -> Self {
        match error {
            InsuranceError::Unknown => Self::not_found("There is no such policy."),
            InsuranceError::NoPatient => Self::field("patient_id", "there is no such patient"),
            InsuranceError::TooMany => Self::conflict(format!(
                "The patient has {MOST_POLICIES} policies, and may have no more. End one that pays no longer."
            )),
            InsuranceError::There => {
                Self::conflict("The patient has a policy of this insurer with this number already.")
            }
            InsuranceError::Version(now) => Self::version_mismatch(now),
            InsuranceError::Ended => Self::conflict("The policy was ended. Add it anew if it pays again."),
            InsuranceError::Order => Self::field("expires_on", "must not be before effective_on"),
            InsuranceError::Db(error) => error.into(),
        }
    }
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let patient = params.parsed::<PersonId>("patient");
    let kind = params.one_of("kind", &INSURANCE_KINDS);
    let valid_on = params.day("valid_on");
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let filter = InsuranceFilter { patient, kind, valid_on };
    let mut tx = tenant.look(&app).await?;
    let rows = store::list(tx.conn(), tenant.org(), filter, way, wanted.after.map(InsuranceId), wanted.rows).await?;
    tenant.saw_list(&app, tx, wanted.shown(&rows).iter().map(|row| row.patient)).await?;
    Ok(wanted.page(rows, |row| row.id.0, Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<InsuranceId>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let row = store::one(tx.conn(), id).await?.ok_or(InsuranceError::Unknown)?;
    tenant.saw(&app, tx, "insurance", id.0, row.patient).await?;
    Ok(versioned(row.version, &Shown::from(row)))
}

/// Checks an amount.
pub(super) fn check_amount(fields: &mut Fields, name: &str, amount: Option<i64>) {
    if amount.is_some_and(|amount| !(0..=MOST_AMOUNT).contains(&amount)) {
        fields.wrong(name, format!("must be 0 to {MOST_AMOUNT}, in the currency's smallest unit"));
    }
}

fn read_new(mut fields: Fields) -> Result<NewInsurance, Problem> {
    let patient = fields.required::<PersonId>("patient_id");
    let kind = fields.required::<String>("kind");
    one_of(&mut fields, "kind", kind.as_deref(), &INSURANCE_KINDS);
    let mut text = |name: &str, most: usize| {
        let text = fields.required::<String>(name);
        fields.check_length(name, text.as_deref(), most);
        text
    };
    let (provider, policy_number) = (text("provider", MOST_NAME), text("policy_number", MOST_NUMBER));
    let subscriber_name = text("subscriber_name", MOST_NAME);
    let group_number = fields.optional::<String>("group_number");
    fields.check_length("group_number", group_number.as_deref(), MOST_NUMBER);
    let relationship = fields.required::<String>("relationship");
    one_of(&mut fields, "relationship", relationship.as_deref(), &SUBSCRIBER_RELATIONSHIPS);
    let effective_on = fields.required::<NaiveDate>("effective_on");
    fields.check_day("effective_on", effective_on);
    let expires_on = fields.optional::<NaiveDate>("expires_on");
    fields.check_day("expires_on", expires_on);
    let (copay, deductible) = (fields.optional::<i64>("copay"), fields.optional::<i64>("deductible"));
    check_amount(&mut fields, "copay", copay);
    check_amount(&mut fields, "deductible", deductible);
    fields.finish()?;
    let read = (|| {
        Some(NewInsurance {
            patient: patient?,
            kind: kind?,
            provider: provider?,
            policy_number: policy_number?,
            group_number,
            subscriber_name: subscriber_name?,
            relationship: relationship?,
            effective_on: effective_on?,
            expires_on,
            copay,
            deductible,
        })
    })();
    read.ok_or_else(|| Problem::internal("a required field was missing and not recorded"))
}

async fn add(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let new = read_new(body.fields()?)?;
    let mut tx = by.begin(&app).await?;
    let row = insurances::add(&mut tx, by.org(), new).await?;
    let detail = json!({"patients": [row.patient], "kind": row.kind});
    by.audit(&app, &mut tx, "insurance.added", "insurance", row.id.0, detail).await?;
    let location = format!("{}/v1/insurances/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::from(row))).await
}

/// Reads a change, which is then applied to a policy.
fn read_change(mut fields: Fields) -> Result<impl FnOnce(&mut Insurance), Problem> {
    let kind = fields.set::<String>("kind");
    one_of(&mut fields, "kind", kind.as_deref(), &INSURANCE_KINDS);
    let mut text = |name: &str, most: usize| {
        let text = fields.set::<String>(name);
        fields.check_length(name, text.as_deref(), most);
        text
    };
    let (provider, policy_number) = (text("provider", MOST_NAME), text("policy_number", MOST_NUMBER));
    let subscriber_name = text("subscriber_name", MOST_NAME);
    let group_number = fields.change::<String>("group_number");
    fields.check_length("group_number", group_number.iter().flatten().next().map(String::as_str), MOST_NUMBER);
    let relationship = fields.set::<String>("relationship");
    one_of(&mut fields, "relationship", relationship.as_deref(), &SUBSCRIBER_RELATIONSHIPS);
    let effective_on = fields.set::<NaiveDate>("effective_on");
    fields.check_day("effective_on", effective_on);
    let expires_on = fields.change::<NaiveDate>("expires_on");
    fields.check_day("expires_on", expires_on.flatten());
    let (copay, deductible) = (fields.change::<i64>("copay"), fields.change::<i64>("deductible"));
    check_amount(&mut fields, "copay", copay.flatten());
    check_amount(&mut fields, "deductible", deductible.flatten());
    fields.finish()?;
    Ok(move |row: &mut Insurance| {
        let put = |place: &mut String, given: Option<String>| {
            if let Some(given) = given {
                *place = given;
            }
        };
        put(&mut row.kind, kind);
        put(&mut row.provider, provider);
        put(&mut row.policy_number, policy_number);
        put(&mut row.subscriber_name, subscriber_name);
        put(&mut row.relationship, relationship);
        row.group_number = group_number.unwrap_or_else(|| row.group_number.take());
        row.effective_on = effective_on.unwrap_or(row.effective_on);
        row.expires_on = expires_on.unwrap_or(row.expires_on);
        row.copay = copay.unwrap_or(row.copay);
        row.deductible = deductible.unwrap_or(row.deductible);
    })
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<InsuranceId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let apply = read_change(body.fields()?)?;
    let mut tx = by.begin(&app).await?;
    let before = insurances::to_change(&mut tx, id, version).await?;
    let mut row = before.clone();
    apply(&mut row);
    if row != before {
        insurances::save(&mut tx, &mut row).await?;
        let changed = [
            ("kind", row.kind != before.kind),
            ("provider", row.provider != before.provider),
            ("policy_number", row.policy_number != before.policy_number),
            ("group_number", row.group_number != before.group_number),
            ("subscriber_name", row.subscriber_name != before.subscriber_name),
            ("relationship", row.relationship != before.relationship),
            ("effective_on", row.effective_on != before.effective_on),
            ("expires_on", row.expires_on != before.expires_on),
            ("copay", row.copay != before.copay),
            ("deductible", row.deductible != before.deductible),
        ];
        let changed: Vec<&str> = changed.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect();
        let detail = json!({"patients": [row.patient], "fields": changed, "version": row.version});
        by.audit(&app, &mut tx, "insurance.changed", "insurance", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn end(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<InsuranceId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(&app).await?;
    let (row, done) = insurances::end(&mut tx, id).await?;
    if done {
        let detail = json!({"patients": [row.patient], "version": row.version});
        by.audit(&app, &mut tx, "insurance.ended", "insurance", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}
