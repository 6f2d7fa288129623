//! `/v1/patients/{id}/emergency-contacts` and `/v1/emergency-contacts`: whom to call when something happens to a patient, and
//! whether they may be called.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
use pulsecal_core::contacts::{self, ContactError, MOST_CONTACTS, MOST_NAME, MOST_PHONE, NewContact};
use pulsecal_core::ids::{ContactId, PersonId};
use pulsecal_core::mail::EmailAddress;
use pulsecal_core::store::contacts::{self as store, CONSENT_GIVERS, Contact, RELATIONSHIPS};
use pulsecal_core::store::{Tx, people};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa::openapi::Object;
use uuid::Uuid;

use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::{BEFORE, CONTACT, PATIENT};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::fields::{Fields, JsonBody, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/patients/{id}/emergency-contacts", get(list).post(add))
        .route("/emergency-contacts/{id}", get(one).patch(change))
        .route("/emergency-contacts/{id}/consent", post(consent))
        .route("/emergency-contacts/{id}/withdraw-consent", post(withdraw_consent))
        .route("/emergency-contacts/{id}/remove", post(remove))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let new = Body::new(
        "NewEmergencyContact",
        json!({"name": "Jonas Castellan", "relationship": "spouse", "phone": "+49 30 5550123"}),
    )
    .required("name", kinds::text(MOST_NAME), "Who.")
    .required("relationship", relationship(), "What they are to the patient.")
    .required("phone", kinds::text(MOST_PHONE), "Their telephone number.")
    .optional("email", kinds::email(), "Their address.")
    .set("primary", kinds::flag(), "They are called first; the one before is not any more.")
    .set("may_decide", kinds::flag(), "They decide about treatment when the patient cannot.")
    .optional("consent_given_by", giver(), "Who has given consent that they are contacted; null: nobody yet.");
    let change = Body::new("EmergencyContactChange", json!({"phone": "+49 30 5550124", "primary": true}))
        .set("name", kinds::text(MOST_NAME), "Who.")
        .set("relationship", relationship(), "What they are to the patient.")
        .set("phone", kinds::text(MOST_PHONE), "Their telephone number.")
        .optional("email", kinds::email(), "Their address; null: none.")
        .set("primary", kinds::flag(), "They are called first; the one before is not any more.")
        .set("may_decide", kinds::flag(), "They decide about treatment when the patient cannot.");
    let consent = Body::new("Consent", json!({"given_by": "contact"}))
        .required("given_by", giver(), "Who gave it.")
        .optional("given_at", kinds::instant(), "When, if not now; not in the future.");
    let none = |name| Body::new(name, json!({}));
    let removed = || [Problem::from(ContactError::Removed)];
    vec![
        Operation::new("GET", "/v1/patients/{id}/emergency-contacts", "Lists the emergency contacts of a patient")
            .detail("Those that were not removed; ten at most.")
            .lists::<Shown>("A page of contacts, oldest first.", example()),
        Operation::new("POST", "/v1/patients/{id}/emergency-contacts", "Adds an emergency contact")
            .detail("Without consent the contact is on record, and is not to be contacted.")
            .body(new)
            .fails([Problem::from(ContactError::TooMany)])
            .creates::<Shown>("The contact.", example()),
        Operation::new("GET", "/v1/emergency-contacts/{id}", "Shows an emergency contact")
            .detail("One that was removed too.")
            .shows_version::<Shown>("The contact.", example()),
        Operation::new("PATCH", "/v1/emergency-contacts/{id}", "Changes an emergency contact")
            .detail("A field that is left out stays as it is.")
            .if_match()
            .body(change)
            .fails(removed())
            .shows_version::<Shown>("The contact as it is now.", example()),
        Operation::new("POST", "/v1/emergency-contacts/{id}/consent", "Puts consent on record")
            .detail("From now on the contact may be contacted. Where there is consent already, it stays as it is.")
            .body(consent)
            .fails(removed())
            .shows_version::<Shown>("The contact as it is now.", example()),
        Operation::new("POST", "/v1/emergency-contacts/{id}/withdraw-consent", "Withdraws consent")
            .detail("From now on the contact is not to be contacted. Twice changes nothing.")
            .body_or_none(none("ConsentWithdrawal"))
            .fails([Problem::from(ContactError::NoConsent)])
            .shows_version::<Shown>("The contact as it is now.", example()),
        Operation::new("POST", "/v1/emergency-contacts/{id}/remove", "Removes an emergency contact")
            .detail("It is no longer listed and not to be contacted; the row stays on record. Twice changes nothing.")
            .body_or_none(none("ContactRemoval"))
            .shows_version::<Shown>("The contact as it is now.", example()),
    ]
}

fn relationship() -> Object {
    kinds::one_of(&RELATIONSHIPS)
}

fn giver() -> Object {
    kinds::one_of(&CONSENT_GIVERS)
}

fn giver_or_null() -> Object {
    giver().or_null()
}

fn example() -> Value {
    json!({
        "id": CONTACT, "patient_id": PATIENT, "name": "Jonas Castellan", "relationship": "spouse", "phone": "+49 30 5550123",
        "email": null, "primary": true, "may_decide": false, "may_contact": true, "consent_given_by": "contact",
        "consent_given_at": BEFORE, "consent_withdrawn_at": null, "removed_at": null, "created_at": BEFORE, "updated_at": BEFORE,
        "version": 1,
    })
}

/// A contact, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = EmergencyContact)]
struct Shown {
    id: ContactId,
    patient_id: PersonId,
    name: String,
    #[schema(schema_with = relationship)]
    relationship: String,
    phone: String,
    email: Option<String>,
    /// They are called first.
    primary: bool,
    /// They decide about treatment when the patient cannot.
    may_decide: bool,
    /// There is consent; without it they are not to be contacted.
    may_contact: bool,
    #[schema(schema_with = giver_or_null)]
    consent_given_by: Option<String>,
    consent_given_at: Option<DateTime<Utc>>,
    consent_withdrawn_at: Option<DateTime<Utc>>,
    removed_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl From<Contact> for Shown {
    fn from(row: Contact) -> Self {
        Self {
            id: row.id,
            patient_id: row.patient,
            name: row.name,
            relationship: row.relationship,
            phone: row.phone,
            email: row.email,
            primary: row.primary,
            may_decide: row.may_decide,
            may_contact: row.may_contact,
            consent_given_by: row.consent_given_by,
            consent_given_at: row.consent_given_at,
            consent_withdrawn_at: row.consent_withdrawn_at,
            removed_at: row.removed_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

impl From<ContactError> for Problem {
    fn from(error: ContactError) -> Self {
        match error {
            ContactError::Unknown => Self::not_found("There is no such emergency contact."),
            ContactError::NoPatient => Self::not_found("There is no such patient."),
            ContactError::TooMany => Self::conflict(format!(
                "The patient has {MOST_CONTACTS} emergency contacts, and may have no more. Remove one that is no longer needed."
            )),
            ContactError::Removed => Self::conflict("The contact was removed. Add it anew if it is needed again."),
            ContactError::Version(now) => Self::version_mismatch(now),
            ContactError::NoConsent => Self::conflict("There is no consent that could be withdrawn."),
            ContactError::Order => Self::field("given_at", "must be later than the consent before it was withdrawn"),
            ContactError::Future => Self::field("given_at", "must not be in the future"),
            ContactError::Db(error) => error.into(),
        }
    }
}

/// Reads a field that is one of these words.
pub(super) fn one_of(fields: &mut Fields, name: &str, given: Option<&str>, words: &[&str]) {
    if given.is_some_and(|given| !words.contains(&given)) {
        fields.wrong(name, format!("must be one of {}", words.join(", ")));
    }
}

fn address(fields: &mut Fields, given: Option<String>) -> Option<String> {
    match EmailAddress::parse(&given?) {
        Ok(address) => Some(address.expose().to_owned()),
        Err(error) => {
            fields.wrong("email", error.to_string());
            None
        }
    }
}

async fn list(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    mut params: Params,
) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    params.finish()?;
    let mut tx = tenant.look(&app).await?;
    if people::patient(tx.conn(), id).await?.is_none() {
        return Err(ContactError::NoPatient.into());
    }
    let rows = store::of_patient(tx.conn(), id, wanted.after.map(ContactId), wanted.rows).await?;
    tenant.saw(&app, tx, "person", id.0, id).await?;
    Ok(wanted.page(rows, |row| row.id.0, Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<ContactId>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let row = store::one(tx.conn(), id).await?.ok_or(ContactError::Unknown)?;
    tenant.saw(&app, tx, "emergency_contact", id.0, row.patient).await?;
    Ok(versioned(row.version, &Shown::from(row)))
}

fn read_new(mut fields: Fields, patient: PersonId) -> Result<NewContact, Problem> {
    let name = fields.required::<String>("name");
    fields.check_length("name", name.as_deref(), MOST_NAME);
    let relationship = fields.required::<String>("relationship");
    one_of(&mut fields, "relationship", relationship.as_deref(), &RELATIONSHIPS);
    let phone = fields.required::<String>("phone");
    fields.check_length("phone", phone.as_deref(), MOST_PHONE);
    let email = fields.optional::<String>("email");
    let email = address(&mut fields, email);
    let (primary, may_decide) = (fields.set::<bool>("primary"), fields.set::<bool>("may_decide"));
    let consent_given_by = fields.optional::<String>("consent_given_by");
    one_of(&mut fields, "consent_given_by", consent_given_by.as_deref(), &CONSENT_GIVERS);
    fields.finish()?;
    let (Some(name), Some(relationship), Some(phone)) = (name, relationship, phone) else {
        return Err(Problem::internal("a required field was missing and not recorded"));
    };
    let (primary, may_decide) = (primary.unwrap_or_default(), may_decide.unwrap_or_default());
    Ok(NewContact { patient, name, relationship, phone, email, primary, may_decide, consent_given_by })
}

async fn add(by: Writer, State(app): State<App>, Id(id): Id<PersonId>, body: JsonBody) -> Result<Response, Problem> {
    let new = read_new(body.fields()?, id)?;
    let mut tx = by.begin(&app).await?;
    let row = contacts::add(&mut tx, by.org(), new).await?;
    let detail = json!({"patients": [id], "primary": row.primary, "may_contact": row.may_contact});
    by.audit(&app, &mut tx, "contact.added", "emergency_contact", row.id.0, detail).await?;
    let location = format!("{}/v1/emergency-contacts/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::from(row))).await
}

/// Reads a change into a copy, and says which fields are other than before.
fn apply(mut fields: Fields) -> Result<impl FnOnce(&mut Contact) -> Vec<&'static str>, Problem> {
    let name = fields.set::<String>("name");
    fields.check_length("name", name.as_deref(), MOST_NAME);
    let relationship = fields.set::<String>("relationship");
    one_of(&mut fields, "relationship", relationship.as_deref(), &RELATIONSHIPS);
    let phone = fields.set::<String>("phone");
    fields.check_length("phone", phone.as_deref(), MOST_PHONE);
    let email = fields.change::<String>("email").map(|email| address(&mut fields, email));
    let (primary, may_decide) = (fields.set::<bool>("primary"), fields.set::<bool>("may_decide"));
    fields.finish()?;
    Ok(move |row: &mut Contact| {
        let before = row.clone();
        row.name = name.unwrap_or_else(|| row.name.clone());
        row.relationship = relationship.unwrap_or_else(|| row.relationship.clone());
        row.phone = phone.unwrap_or_else(|| row.phone.clone());
        row.email = email.unwrap_or_else(|| row.email.clone());
        row.primary = primary.unwrap_or(row.primary);
        row.may_decide = may_decide.unwrap_or(row.may_decide);
        let changed = [
            ("name", row.name != before.name),
            ("relationship", row.relationship != before.relationship),
            ("phone", row.phone != before.phone),
            ("email", row.email != before.email),
            ("primary", row.primary != before.primary),
            ("may_decide", row.may_decide != before.may_decide),
        ];
        changed.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect()
    })
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<ContactId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let apply = apply(body.fields()?)?;
    let mut tx = by.begin(&app).await?;
    let before = contacts::to_change(&mut tx, id, version).await?;
    let mut row = before.clone();
    let changed = apply(&mut row);
    if !changed.is_empty() {
        contacts::save(&mut tx, &before, &mut row).await?;
        let detail = json!({"patients": [row.patient], "fields": changed, "version": row.version});
        by.audit(&app, &mut tx, "contact.changed", "emergency_contact", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn consent(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<ContactId>,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let given_by = fields.required::<String>("given_by");
    one_of(&mut fields, "given_by", given_by.as_deref(), &CONSENT_GIVERS);
    let given_at = fields.instant("given_at");
    fields.finish()?;
    let given_by = given_by.ok_or_else(|| Problem::internal("a required field was missing and not recorded"))?;
    let mut tx = by.begin(&app).await?;
    let done = contacts::consent(&mut tx, id, &given_by, given_at).await?;
    close(by, app, tx, done, "contact.consent_given").await
}

async fn withdraw_consent(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<ContactId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(&app).await?;
    let done = contacts::withdraw_consent(&mut tx, id).await?;
    close(by, app, tx, done, "contact.consent_withdrawn").await
}

async fn remove(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<ContactId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(&app).await?;
    let done = contacts::remove(&mut tx, id).await?;
    close(by, app, tx, done, "contact.removed").await
}

/// Puts on record what was done, if it was, and answers with the contact.
async fn close(
    by: Writer,
    app: App,
    mut tx: Tx,
    (row, done): (Contact, bool),
    action: &'static str,
) -> Result<Response, Problem> {
    if done {
        let detail =
            json!({"patients": [row.patient], "version": row.version, "consent_given_by": row.consent_given_by});
        by.audit(&app, &mut tx, action, "emergency_contact", row.id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}
