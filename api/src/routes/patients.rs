//! `/v1/patients`: who is reminded, where, and how much may be said.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Datelike, NaiveDate, Utc};
use pulsecal_core::fhir::IdentifierFilter;
use pulsecal_core::ids::PersonId;
use pulsecal_core::mail::EmailAddress;
use pulsecal_core::store::doses::replan_for_patient;
use pulsecal_core::store::people::{self, IdentifierRow, Patient, PatientFilter, PatientOrder};
use pulsecal_core::time::Zone;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{identifier, plan_at, plan_soon, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::contract::examples::{BEFORE, PATIENT};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, LONGEST, Params};
use crate::problem::Problem;

/// The highest privacy level.
const MOST_PRIVACY: i16 = 3;
/// The form of language tags, as the contract has it; [`is_language_tag`] checks it.
pub(super) const LANGUAGE_TAG: &str = "^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$";

mod register;

/// The longest name, in characters.
const NAME: usize = 100;
/// The longest telephone number.
const PHONE: usize = 40;
/// Nobody who is alive was born before.
const FIRST_YEAR: i32 = 1880;

/// What a list may be sorted by.
const ORDERS: [&str; 4] = ["registered", "-registered", "name", "-name"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new().route("/patients", get(list).post(register::register)).route("/patients/{id}", get(one).patch(change))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let identifier = kinds::like("^.+$", LONGEST, "https://clinic.example.org/mrn|4711");
    let change = details(Body::new("PatientChange", json!({"zone": "Europe/Berlin", "privacy_level": 1})))
        .set("given_name", kinds::line(NAME), "Given name.")
        .set("family_name", kinds::line(NAME), "Family name.")
        .set("active", kinds::flag(), "Is treated here.")
        .set("deceased", kinds::flag(), "Has died: nothing is sent any more.");
    vec![
        Operation::new("GET", "/v1/patients", "Lists patients")
            .query("identifier", identifier.about("`system|value`, `|value`, `value` or `system|`."))
            .query("name", kinds::text(LONGEST).about("A part of the name."))
            .query("sort", paging::sorts(&ORDERS, "By when they were registered, or by name"))
            .lists::<Shown>("A page of patients.", example()),
        register::operation(),
        Operation::new("GET", "/v1/patients/{id}", "Shows a patient").shows_version::<Shown>("The patient.", example()),
        Operation::new("PATCH", "/v1/patients/{id}", "Changes a patient")
            .detail("A field that is left out stays as it is. Where zone or state change, doses are planned anew.")
            .if_match()
            .body(change)
            .shows_version::<Shown>("The patient as it is now.", example()),
    ]
}

/// What is said of a patient beside the name.
fn details(body: Body) -> Body {
    body.optional("birth_date", kinds::day(), "Day of birth.")
        .optional("zone", kinds::zone(), "Where the patient is; null: as the organization.")
        .optional("locale", kinds::like(LANGUAGE_TAG, 35, "pt-BR"), "The language of mail.")
        .optional("email", kinds::email(), "Another address is not verified yet.")
        .optional("phone", kinds::text(PHONE), "Telephone number.")
        .set("privacy_level", kinds::number(0..=MOST_PRIVACY.into()), "How much mail may say; 3 names the medicine.")
        .set("medicine_opt_in", kinds::flag(), "The patient wants the medicine named.")
}

fn example() -> Value {
    json!({
        "id": PATIENT, "identifiers": [{"system": "https://clinic.example.org/mrn", "value": "4711"}], "given_name": "Amina",
        "family_name": "Castellan", "birth_date": "1961-04-12", "email": "amina.castellan@example.org", "email_verified": true,
        "phone": null, "zone": "Europe/Berlin", "locale": "en", "privacy_level": 1, "medicine_opt_in_at": null, "active": true,
        "deceased": false, "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}

/// An identifier, as it is shown.
#[derive(Serialize, ToSchema)]
pub(super) struct Identifier {
    system: Option<String>,
    value: String,
}

/// Takes out of all identifiers those of one row.
pub(super) fn identifiers_of(all: &mut Vec<IdentifierRow>, subject: Uuid) -> Vec<Identifier> {
    let own = all.extract_if(.., |row| row.subject == subject);
    own.map(|row| Identifier { system: Some(row.system).filter(|system| !system.is_empty()), value: row.value })
        .collect()
}

/// A patient, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Patient)]
struct Shown {
    id: PersonId,
    identifiers: Vec<Identifier>,
    given_name: String,
    family_name: String,
    birth_date: Option<NaiveDate>,
    email: Option<String>,
    email_verified: bool,
    phone: Option<String>,
    zone: Option<String>,
    locale: Option<String>,
    privacy_level: i16,
    medicine_opt_in_at: Option<DateTime<Utc>>,
    active: bool,
    deceased: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl Shown {
    fn of(row: Patient, identifiers: &mut Vec<IdentifierRow>) -> Self {
        Self {
            identifiers: identifiers_of(identifiers, row.id.0),
            id: row.id,
            given_name: row.given_name,
            family_name: row.family_name,
            birth_date: row.birth_date,
            email_verified: row.email.is_some() && row.email_verified_at.is_some(),
            email: row.email,
            phone: row.phone,
            zone: row.zone,
            locale: row.locale,
            privacy_level: row.privacy_level,
            medicine_opt_in_at: row.medicine_opt_in_at,
            active: row.active,
            deceased: row.deceased,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

fn missing() -> Problem {
    Problem::not_found("There is no such patient.")
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let by_identifier = params.parsed::<IdentifierFilter>("identifier");
    let name = params.text("name");
    let order = match paging::sort(&mut params, &ORDERS) {
        ("name", way) => PatientOrder::Name(way),
        (_, way) => PatientOrder::Registered(way),
    };
    params.finish()?;
    let filter = PatientFilter { identifier: by_identifier.as_ref().map(identifier), name: name.as_deref() };
    let mut tx = tenant.look(&app).await?;
    let after = wanted.after.map(PersonId);
    let rows = people::patients(tx.conn(), tenant.org(), filter, order, after, wanted.rows).await?;
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id.0).collect();
    let mut identifiers = people::identifiers(tx.conn(), tenant.org(), "person", &ids).await?;
    tenant.saw_list(&app, tx, wanted.shown(&rows).iter().map(|row| row.id)).await?;
    let show = |row| Shown::of(row, &mut identifiers);
    Ok(wanted.page(rows, |row| row.id.0, show).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<PersonId>) -> Result<Response, Problem> {
    let mut tx = tenant.look(&app).await?;
    let (row, mut identifiers) = people::patient_with_identifiers(tx.conn(), id).await?.ok_or_else(missing)?;
    tenant.saw(&app, tx, "person", id.0, id).await?;
    Ok(versioned(row.version, &Shown::of(row, &mut identifiers)))
}

/// What a change may hold; none: stays as it is.
struct Change {
    given_name: Option<String>,
    family_name: Option<String>,
    birth_date: Option<Option<NaiveDate>>,
    phone: Option<Option<String>>,
    zone: Option<Option<Zone>>,
    locale: Option<Option<String>>,
    email: Option<Option<EmailAddress>>,
    privacy_level: Option<i16>,
    medicine_opt_in: Option<bool>,
    active: Option<bool>,
    deceased: Option<bool>,
}

impl Change {
    /// Of a patient who is there.
    fn read(mut fields: Fields, now: DateTime<Utc>) -> Result<Self, Problem> {
        let (active, deceased) = (fields.set("active"), fields.set("deceased"));
        Ok(Self { active, deceased, ..Self::of_new(fields, now)? })
    }

    /// Of a new one, who takes part and lives.
    fn of_new(mut fields: Fields, now: DateTime<Utc>) -> Result<Self, Problem> {
        let mut name = |name: &'static str| {
            let text = fields.set::<String>(name);
            fields.check_length(name, text.as_deref(), NAME);
            if text.iter().any(|text| text.chars().any(char::is_control)) {
                fields.wrong(name, "must be one line of text");
            }
            text.map(|text| text.trim().to_owned())
        };
        let (given_name, family_name) = (name("given_name"), name("family_name"));
        let birth_date = fields.change::<NaiveDate>("birth_date");
        // A day is over somewhere on earth before it is here.
        let born = |day: &NaiveDate| day.year() >= FIRST_YEAR && *day <= now.date_naive() + chrono::Days::new(1);
        if birth_date.iter().flatten().any(|day| !born(day)) {
            fields.wrong("birth_date", format!("must be a day since {FIRST_YEAR}, and not to come"));
        }
        let phone = fields.change::<String>("phone");
        fields.check_length("phone", phone.as_ref().and_then(|phone| phone.as_deref()), PHONE);
        let zone = fields.change::<Zone>("zone");
        let locale = fields.change::<String>("locale");
        if locale.iter().flatten().any(|locale| !is_language_tag(locale)) {
            fields.wrong("locale", "must be a language tag as in en or pt-BR");
        }
        let email = fields.change::<String>("email").map(|email| {
            let email = email?;
            let read = EmailAddress::parse(&email);
            read.map_err(|error| fields.wrong("email", error.to_string())).ok()
        });
        let privacy_level = fields.set::<i16>("privacy_level");
        if privacy_level.is_some_and(|level| !(0..=MOST_PRIVACY).contains(&level)) {
            fields.wrong("privacy_level", format!("must be 0 to {MOST_PRIVACY}"));
        }
        let change = Self {
            given_name,
            family_name,
            birth_date,
            phone,
            zone,
            locale,
            email,
            privacy_level,
            medicine_opt_in: fields.set("medicine_opt_in"),
            active: None,
            deceased: None,
        };
        fields.finish()?;
        Ok(change)
    }

    /// Applies it, and says which fields are other than before.
    fn apply(self, row: &mut Patient, now: DateTime<Utc>) -> Result<Vec<&'static str>, Problem> {
        let before = row.clone();
        if let Some(name) = self.given_name {
            row.given_name = name;
        }
        if let Some(name) = self.family_name {
            row.family_name = name;
        }
        row.birth_date = self.birth_date.unwrap_or(row.birth_date);
        if let Some(phone) = self.phone {
            row.phone = phone;
        }
        if let Some(zone) = self.zone {
            row.zone = zone.map(|zone| zone.name().to_owned());
        }
        if let Some(locale) = self.locale {
            row.locale = locale;
        }
        if let Some(email) = self.email {
            row.email = email.map(|email| email.expose().to_owned());
        }
        if row.email != before.email {
            row.email_verified_at = None;
        }
        row.privacy_level = self.privacy_level.unwrap_or(row.privacy_level);
        match self.medicine_opt_in {
            Some(true) => row.medicine_opt_in_at = Some(row.medicine_opt_in_at.unwrap_or(now)),
            Some(false) => row.medicine_opt_in_at = None,
            // Who goes back to a lower level takes the yes back with it.
            None if row.privacy_level < 3 && before.privacy_level == 3 => {
                row.medicine_opt_in_at = None;
            }
            None => {}
        }
        if row.privacy_level == 3 && row.medicine_opt_in_at.is_none() {
            let message =
                "level 3 names the medicine in mail: it needs the patient's yes, as \"medicine_opt_in\": true";
            return Err(Problem::field("privacy_level", message));
        }
        row.active = self.active.unwrap_or(row.active);
        row.deceased = self.deceased.unwrap_or(row.deceased);
        let changed = [
            ("given_name", row.given_name != before.given_name),
            ("family_name", row.family_name != before.family_name),
            ("birth_date", row.birth_date != before.birth_date),
            ("phone", row.phone != before.phone),
            ("zone", row.zone != before.zone),
            ("locale", row.locale != before.locale),
            ("email", row.email != before.email),
            ("privacy_level", row.privacy_level != before.privacy_level),
            ("medicine_opt_in", row.medicine_opt_in_at != before.medicine_opt_in_at),
            ("active", row.active != before.active),
            ("deceased", row.deceased != before.deceased),
        ];
        Ok(changed.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect())
    }
}

/// The form of BCP 47 language tags, as far as languages of mail go.
pub(super) fn is_language_tag(text: &str) -> bool {
    let mut parts = text.split('-');
    let language = parts.next().unwrap_or_default();
    (2..=3).contains(&language.len())
        && language.bytes().all(|byte| byte.is_ascii_alphabetic())
        && text.len() <= 35
        && parts.all(|part| (2..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let change = Change::read(body.fields()?, app.ctx.clock.now())?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let mut row = people::patient_to_change(tx.conn(), id).await?.ok_or_else(missing)?;
    check_version(version, row.version)?;
    let changed = change.apply(&mut row, now)?;
    if !changed.is_empty() {
        people::save_patient(tx.conn(), &mut row, now).await?;
        let detail = json!({"fields": changed, "version": row.version, "privacy_level": row.privacy_level});
        by.audit(&app, &mut tx, "patient.changed", "person", id.0, detail).await?;
        if changed.iter().any(|name| ["zone", "active", "deceased"].contains(name)) {
            let at = plan_at(&tx);
            replan_for_patient(tx.conn(), id, at).await?;
            plan_soon(&mut tx, &by).await?;
        }
    }
    let mut identifiers = people::identifiers(tx.conn(), by.org(), "person", &[id.0]).await?;
    let shown = Shown::of(row, &mut identifiers);
    by.close(tx, versioned(shown.version, &shown)).await
}
