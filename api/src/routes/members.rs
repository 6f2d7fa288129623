//! `/v1/members`: who works for the organization, in which role, and whether they can sign in.

mod contract;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use chrono::{DateTime, Utc};
pub(super) use contract::contract;
use pulsecal_core::ids::PersonId;
use pulsecal_core::mail::EmailAddress;
use pulsecal_core::members::{
    self, MOST_LANGUAGES, MOST_NAME, MOST_PHONE, MOST_QUALIFICATION, MOST_SPECIALTY, MemberError, NewMember,
    NotInvited, Profile,
};
use pulsecal_core::store::audit::Role;
use pulsecal_core::store::members::{self as store, MEMBER_ROLES, Member, MemberFilter};
use pulsecal_jobs::InvitePerson;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;
use uuid::Uuid;

use super::patients::is_language_tag;
use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::fields::{Fields, JsonBody, if_match};
use crate::paging::{self, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// What a list may be sorted by.
const ORDERS: [&str; 2] = ["name", "-name"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/members", get(list).post(add))
        .route("/members/{id}", get(one).patch(change))
        .route("/members/{id}/role", post(set_role))
        .route("/members/{id}/invite", post(invite))
        .route("/members/{id}/leave", post(leave))
        .route("/members/{id}/return", post(come_back))
        .route("/patients/{id}/invite", post(invite_patient))
}

/// A member, as they are shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct Shown {
    id: PersonId,
    #[schema(schema_with = contract::role)]
    role: String,
    given_name: String,
    family_name: String,
    email: Option<String>,
    phone: Option<String>,
    /// What they are a specialist of.
    specialty: Option<String>,
    /// What they learned.
    qualification: Option<String>,
    /// The languages that they speak with patients.
    languages: Vec<String>,
    /// Works here.
    active: bool,
    /// Has an account to sign in with.
    has_account: bool,
    /// When they were last invited to one.
    invited_at: Option<DateTime<Utc>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl From<Member> for Shown {
    fn from(row: Member) -> Self {
        Self {
            id: row.id,
            role: row.role,
            given_name: row.given_name,
            family_name: row.family_name,
            email: row.email,
            phone: row.phone,
            specialty: row.specialty,
            qualification: row.qualification,
            languages: row.languages,
            active: row.active,
            has_account: row.has_account,
            invited_at: row.invited_at,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

/// Who was invited, and when.
#[derive(Serialize, ToSchema)]
#[schema(as = InvitationSent)]
struct Invited {
    person_id: PersonId,
    invited_at: DateTime<Utc>,
}

impl From<MemberError> for Problem {
    fn from(error: MemberError) -> Self {
        match error {
            MemberError::Unknown => Self::not_found("There is no such member."),
            MemberError::Version(now) => Self::version_mismatch(now),
            MemberError::AddressTaken(id) => Self::conflict(format!(
                "Somebody of the staff has that address: {id}. If they worked here before, have them return."
            )),
            MemberError::AddressOfAccount => {
                Self::conflict("The address belongs to the account that they sign in with, and stays.")
            }
            MemberError::Gone => Self::conflict("They no longer work here. Have them return first."),
            MemberError::LastAdministrator => {
                Self::conflict("Nobody else administers the organization. Make somebody an administrator first.")
            }
            MemberError::OwnRole => Self::conflict("Nobody changes their own role. Ask another administrator."),
            MemberError::Visits(count) => {
                Self::conflict(format!("There are visits of theirs to come ({count}). Move or cancel those first."))
            }
            MemberError::Db(error) => error.into(),
        }
    }
}

impl From<NotInvited> for Problem {
    fn from(error: NotInvited) -> Self {
        match error {
            NotInvited::Unknown => Self::not_found("There is nobody with this id to invite."),
            NotInvited::Inactive => Self::conflict("They do not take part any more."),
            NotInvited::Before => Self::conflict(
                "They have an account already. If they cannot sign in, they can set another password at /forgot.",
            ),
            NotInvited::NoAddress => {
                Self::conflict("They have no e-mail address that an invitation could be sent to. Add one first.")
            }
            NotInvited::JustNow => {
                Self::conflict("They were invited a moment ago. Wait a minute before you do it again.")
            }
            NotInvited::Db(error) => error.into(),
        }
    }
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let role = params.one_of("role", &MEMBER_ROLES);
    let active = params.parsed::<bool>("active");
    let name = params.text("name");
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let filter = MemberFilter { role, active, name: name.as_deref() };
    let mut tx = tenant.begin(&app).await?;
    let rows = store::list(tx.conn(), tenant.org(), filter, way, wanted.after.map(PersonId), wanted.rows).await?;
    Ok(wanted.page(rows, |row| row.id.0, Shown::from).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<PersonId>) -> Result<Response, Problem> {
    let mut tx = tenant.begin(&app).await?;
    let row = store::one(tx.conn(), id).await?.ok_or(MemberError::Unknown)?;
    Ok(versioned(row.version, &Shown::from(row)))
}

/// Reads a name: one line, trimmed.
fn name(fields: &mut Fields, field: &str) -> Option<String> {
    let text = fields.set::<String>(field);
    fields.check_length(field, text.as_deref(), MOST_NAME);
    if text.iter().any(|text| text.chars().any(char::is_control)) {
        fields.wrong(field, "must be one line of text");
    }
    text.map(|text| text.trim().to_owned())
}

fn role(fields: &mut Fields) -> Option<Role> {
    let given = fields.required::<String>("role")?;
    let found = MEMBER_ROLES.iter().find(|role| **role == given).and_then(|role| role.parse().ok());
    if found.is_none() {
        fields.wrong("role", format!("must be one of {}", MEMBER_ROLES.join(", ")));
    }
    found
}

fn address(fields: &mut Fields, given: Option<String>) -> Option<EmailAddress> {
    let read = EmailAddress::parse(&given?);
    read.map_err(|error| fields.wrong("email", error.to_string())).ok()
}

/// What may change of what is said of a member; none: stays as it is.
struct ProfileChange {
    phone: Option<Option<String>>,
    specialty: Option<Option<String>>,
    qualification: Option<Option<String>>,
    languages: Option<Vec<String>>,
}

impl ProfileChange {
    fn read(fields: &mut Fields) -> Self {
        let mut text = |field: &'static str, most: usize| {
            let text = fields.change::<String>(field);
            fields.check_length(field, text.as_ref().and_then(|text| text.as_deref()), most);
            text
        };
        let (phone, specialty) = (text("phone", MOST_PHONE), text("specialty", MOST_SPECIALTY));
        let qualification = text("qualification", MOST_QUALIFICATION);
        let languages = fields.set::<Vec<String>>("languages");
        if let Some(given) = &languages {
            let mut each = given.clone();
            each.sort_unstable();
            each.dedup();
            if given.len() > MOST_LANGUAGES || each.len() != given.len() {
                fields.wrong("languages", format!("must be {MOST_LANGUAGES} at most, each once"));
            }
            if !given.iter().all(|tag| is_language_tag(tag)) {
                fields.wrong("languages", "must be language tags as in en or pt-BR");
            }
        }
        Self { phone, specialty, qualification, languages }
    }

    fn apply(self, row: &mut Member) {
        row.phone = self.phone.unwrap_or_else(|| row.phone.take());
        row.specialty = self.specialty.unwrap_or_else(|| row.specialty.take());
        row.qualification = self.qualification.unwrap_or_else(|| row.qualification.take());
        if let Some(languages) = self.languages {
            row.languages = languages;
        }
    }
}

fn read_new(mut fields: Fields) -> Result<(NewMember, bool), Problem> {
    for field in ["given_name", "family_name"] {
        if fields.given(field).is_none() {
            fields.wrong(field, "is needed");
        }
    }
    let role = role(&mut fields);
    let (given_name, family_name) = (name(&mut fields, "given_name"), name(&mut fields, "family_name"));
    let email = fields.required::<String>("email");
    let email = address(&mut fields, email);
    let invite = fields.set::<bool>("invite").unwrap_or(true);
    let ProfileChange { phone, specialty, qualification, languages } = ProfileChange::read(&mut fields);
    fields.finish()?;
    let (Some(role), Some(given_name), Some(family_name), Some(email)) = (role, given_name, family_name, email) else {
        return Err(Problem::internal("a required field was missing and not recorded"));
    };
    let profile = Profile {
        phone: phone.flatten(),
        specialty: specialty.flatten(),
        qualification: qualification.flatten(),
        languages: languages.unwrap_or_default(),
    };
    Ok((NewMember { role, given_name, family_name, email, profile }, invite))
}

async fn add(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let (new, invite) = read_new(body.fields()?)?;
    let mut tx = by.begin(&app).await?;
    let mut row = members::add(&mut tx, by.org(), new).await?;
    if invite {
        members::invite(&mut tx, by.org(), row.id, false, InvitePerson::make).await?;
        row.invited_at = Some(tx.now());
    }
    let detail = json!({"role": row.role, "invited": invite});
    by.audit(&app, &mut tx, "member.added", "person", row.id.0, detail).await?;
    let location = format!("{}/v1/members/{}", app.base_path, row.id);
    by.close(tx, created(&location, row.version, &Shown::from(row))).await
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let (given_name, family_name) = (name(&mut fields, "given_name"), name(&mut fields, "family_name"));
    let email = fields.set::<String>("email");
    let email = address(&mut fields, email);
    let profile = ProfileChange::read(&mut fields);
    fields.finish()?;
    let mut tx = by.begin(&app).await?;
    let before = members::to_change(&mut tx, by.org(), id, version).await?;
    let mut row = before.clone();
    row.given_name = given_name.unwrap_or(row.given_name);
    row.family_name = family_name.unwrap_or(row.family_name);
    if let Some(email) = email {
        row.email = Some(email.expose().to_owned());
    }
    profile.apply(&mut row);
    let changed = [
        ("given_name", row.given_name != before.given_name),
        ("family_name", row.family_name != before.family_name),
        ("email", row.email != before.email),
        ("phone", row.phone != before.phone),
        ("specialty", row.specialty != before.specialty),
        ("qualification", row.qualification != before.qualification),
        ("languages", row.languages != before.languages),
    ];
    let changed: Vec<&str> = changed.into_iter().filter(|(_, other)| *other).map(|(field, _)| field).collect();
    if !changed.is_empty() {
        members::save(&mut tx, by.org(), &before, &mut row).await?;
        let detail = json!({"fields": changed, "version": row.version});
        by.audit(&app, &mut tx, "member.changed", "person", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn set_role(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let role = role(&mut fields);
    fields.finish()?;
    let role = role.ok_or_else(|| Problem::internal("a required field was missing and not recorded"))?;
    let mut tx = by.begin(&app).await?;
    let mut row = members::to_change(&mut tx, by.org(), id, version).await?;
    let before = row.role.clone();
    let who = by.owner().person;
    if let Some(ended) = members::set_role(&mut tx, by.org(), who, &mut row, role).await? {
        let detail = json!({"from": before, "to": row.role, "sessions": ended.sessions});
        by.audit(&app, &mut tx, "member.role_changed", "person", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn leave(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(&app).await?;
    let mut row = members::to_change(&mut tx, by.org(), id, None).await?;
    if let Some(ended) = members::leave(&mut tx, by.org(), &mut row).await? {
        let detail = json!({"role": row.role, "sessions": ended.sessions, "tokens": ended.tokens});
        by.audit(&app, &mut tx, "member.left", "person", id.0, detail).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn come_back(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(&app).await?;
    let mut row = members::to_change(&mut tx, by.org(), id, None).await?;
    if members::come_back(&mut tx, &mut row).await? {
        by.audit(&app, &mut tx, "member.returned", "person", id.0, json!({"role": row.role})).await?;
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}

async fn invite(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    invite_one(&by, &app, id, body, false, "member.invited").await
}

async fn invite_patient(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<PersonId>,
    body: Option<JsonBody>,
) -> Result<Response, Problem> {
    invite_one(&by, &app, id, body, true, "patient.invited").await
}

async fn invite_one(
    by: &Writer,
    app: &App,
    id: PersonId,
    body: Option<JsonBody>,
    patient: bool,
    action: &'static str,
) -> Result<Response, Problem> {
    JsonBody::fields_or_none(body)?.finish()?;
    let mut tx = by.begin(app).await?;
    let invited_at = tx.now();
    let mail = members::invite(&mut tx, by.org(), id, patient, InvitePerson::make).await?;
    let mut detail = json!({"mail": mail});
    if patient {
        detail["patients"] = json!([id]);
    }
    by.audit(app, &mut tx, action, "person", id.0, detail).await?;
    by.close(tx, axum::Json(Invited { person_id: id, invited_at }).into_response()).await
}
