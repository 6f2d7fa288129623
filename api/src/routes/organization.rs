//! `/v1/organization`: the caller's own. When it is open, and the rules of its visits, hold from the next request on.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use chrono::{DateTime, NaiveDate, Utc};
use pulsecal_core::clinic::{
    BOUNDS, DayMinute, Holiday, KINDS, MOST_HOLIDAYS, MOST_SPANS, OpeningHours, Span, VisitRules, WEEKDAYS,
};
use pulsecal_core::ids::OrgId;
use pulsecal_core::money::Currency;
use pulsecal_core::store::organizations::{self, Organization};
use pulsecal_core::time::Zone;
use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{plan_at, plan_soon, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::problem::Problem;

mod contract;

pub(super) use contract::contract;

/// The longest name, telephone number, address and name of a holiday, in characters.
const NAME: usize = 200;
const PHONE: usize = 50;
const ADDRESS: usize = 500;
const HOLIDAY: usize = 100;
/// The longest template of a meeting's address, in characters.
const TEMPLATE: usize = 300;
/// No visit becomes a no-show by itself later than so many minutes after its end.
const MOST_NO_SHOW: i32 = 1440;

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new().route("/organization", get(one).patch(change))
}

/// An organization, as it is shown.
#[derive(Serialize, ToSchema)]
#[schema(as = Organization)]
struct Shown {
    id: OrgId,
    name: String,
    /// The name that mail at the lowest privacy level has.
    discreet_name: Option<String>,
    #[schema(schema_with = contract::kind)]
    kind: String,
    zone: String,
    phone: Option<String>,
    address: Option<String>,
    opening_hours: OpeningHours,
    holidays: Vec<Holiday>,
    visit_rules: VisitRules,
    /// So many minutes after its end a visit to which nobody came is a no-show by itself; null: staff say so.
    no_show_after_minutes: Option<i32>,
    /// Where online visits take place: `{room}` stands for the room of each.
    meeting_url_template: Option<String>,
    /// The currency in which it asks for money, as ISO 4217 names it.
    currency: String,
    /// Its staff get to the pages with a second factor only.
    second_factor_required: bool,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl From<Organization> for Shown {
    fn from(row: Organization) -> Self {
        Self {
            id: row.id,
            name: row.name,
            discreet_name: row.discreet_name,
            kind: row.kind,
            zone: row.zone,
            phone: row.phone,
            address: row.address,
            opening_hours: row.opening_hours,
            holidays: row.holidays,
            visit_rules: row.visit_rules,
            no_show_after_minutes: row.no_show_after_minutes,
            meeting_url_template: row.meeting_url_template,
            currency: row.currency,
            second_factor_required: row.second_factor_required,
            created_at: row.created_at,
            updated_at: row.updated_at,
            version: row.version,
        }
    }
}

fn missing() -> Problem {
    Problem::not_found("The organization is no longer there.")
}

async fn one(tenant: Tenant, State(app): State<App>) -> Result<Response, Problem> {
    let mut tx = tenant.begin(&app).await?;
    let row = organizations::one(tx.conn(), tenant.org()).await?.ok_or_else(missing)?;
    Ok(versioned(row.version, &Shown::from(row)))
}

/// What a change may hold; none: stays as it is.
struct Change {
    name: Option<String>,
    discreet_name: Option<Option<String>>,
    kind: Option<String>,
    zone: Option<Zone>,
    phone: Option<Option<String>>,
    address: Option<Option<String>>,
    opening_hours: Option<OpeningHours>,
    holidays: Option<Vec<Holiday>>,
    rules: Vec<(usize, i32)>,
    no_show_after_minutes: Option<Option<i32>>,
    meeting_url_template: Option<Option<String>>,
    currency: Option<String>,
    second_factor_required: Option<bool>,
}

impl Change {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let name = fields.set::<String>("name");
        fields.check_length("name", name.as_deref(), NAME);
        let mut text = |name: &str, most: usize| {
            let given = fields.change::<String>(name);
            fields.check_length(name, given.iter().flatten().next().map(String::as_str), most);
            given
        };
        let discreet_name = text("discreet_name", NAME);
        let phone = text("phone", PHONE);
        let address = text("address", ADDRESS);
        let kind = fields.set::<String>("kind");
        if kind.as_deref().is_some_and(|kind| !KINDS.contains(&kind)) {
            fields.wrong("kind", format!("must be one of {}", KINDS.join(", ")));
        }
        let no_show_after_minutes = fields.change::<i32>("no_show_after_minutes");
        if no_show_after_minutes.flatten().is_some_and(|after| !(0..=MOST_NO_SHOW).contains(&after)) {
            fields.wrong("no_show_after_minutes", format!("must be 0 to {MOST_NO_SHOW}, or null"));
        }
        let meeting_url_template = fields.change::<String>("meeting_url_template");
        if meeting_url_template.iter().flatten().any(|template| !is_meeting_template(template)) {
            let message = format!(
                "must be an https address of {TEMPLATE} characters at most, with {{room}} in its path, as in https://meet.example.org/{{room}}"
            );
            fields.wrong("meeting_url_template", message);
        }
        let currency = fields.set::<String>("currency");
        if let Some(Err(error)) = currency.as_deref().map(str::parse::<Currency>) {
            fields.wrong("currency", error.to_string());
        }
        let change = Self {
            name,
            discreet_name,
            kind,
            zone: fields.set("zone"),
            phone,
            address,
            opening_hours: opening_hours(&mut fields),
            holidays: holidays(&mut fields),
            rules: rules(&mut fields),
            no_show_after_minutes,
            meeting_url_template,
            currency,
            second_factor_required: fields.set("second_factor_required"),
        };
        fields.finish()?;
        Ok(change)
    }

    /// Applies it, and says which fields are other than before.
    fn apply(self, row: &mut Organization) -> Result<Vec<&'static str>, Problem> {
        let before = row.clone();
        row.name = self.name.unwrap_or_else(|| row.name.clone());
        row.discreet_name = self.discreet_name.unwrap_or_else(|| row.discreet_name.clone());
        row.kind = self.kind.unwrap_or_else(|| row.kind.clone());
        row.zone = self.zone.map_or_else(|| row.zone.clone(), |zone| zone.name().to_owned());
        row.phone = self.phone.unwrap_or_else(|| row.phone.clone());
        row.address = self.address.unwrap_or_else(|| row.address.clone());
        row.opening_hours = self.opening_hours.unwrap_or_else(|| row.opening_hours.clone());
        row.holidays = self.holidays.unwrap_or_else(|| row.holidays.clone());
        for (at, value) in self.rules {
            *(BOUNDS[at].field)(&mut row.visit_rules) = value;
        }
        row.no_show_after_minutes = self.no_show_after_minutes.unwrap_or(row.no_show_after_minutes);
        row.meeting_url_template = self.meeting_url_template.unwrap_or_else(|| row.meeting_url_template.clone());
        row.second_factor_required = self.second_factor_required.unwrap_or(row.second_factor_required);
        row.currency = self.currency.unwrap_or_else(|| row.currency.clone());
        if row.visit_rules.last_reminder_minutes >= row.visit_rules.first_reminder_minutes {
            let message = "must be fewer than first_reminder_minutes: the last reminder comes after the first";
            return Err(Problem::field("visit_rules.last_reminder_minutes", message));
        }
        let changed = [
            ("name", row.name != before.name),
            ("discreet_name", row.discreet_name != before.discreet_name),
            ("kind", row.kind != before.kind),
            ("zone", row.zone != before.zone),
            ("phone", row.phone != before.phone),
            ("address", row.address != before.address),
            ("opening_hours", row.opening_hours != before.opening_hours),
            ("holidays", row.holidays != before.holidays),
            ("visit_rules", row.visit_rules != before.visit_rules),
            ("meeting_url_template", row.meeting_url_template != before.meeting_url_template),
            ("second_factor_required", row.second_factor_required != before.second_factor_required),
            ("currency", row.currency != before.currency),
            ("no_show_after_minutes", row.no_show_after_minutes != before.no_show_after_minutes),
        ];
        Ok(changed.into_iter().filter(|(_, other)| *other).map(|(name, _)| name).collect())
    }
}

/// An https address whose host is plain and fixed: what stands for the room is in its path, so that no room leads elsewhere.
fn is_meeting_template(template: &str) -> bool {
    let host = template.strip_prefix("https://").and_then(|rest| rest.split_once('/')).map_or("", |(host, _)| host);
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-:".contains(&byte);
    !host.is_empty()
        && host.bytes().all(plain)
        && template.len() <= TEMPLATE
        && template.bytes().all(|byte| byte.is_ascii_graphic())
        && template.contains("{room}")
        && url::Url::parse(&template.replace("{room}", "0")).is_ok_and(|url| url.host_str().is_some())
}

fn opening_hours(fields: &mut Fields) -> Option<OpeningHours> {
    let mut week = fields.set_object("opening_hours")?;
    let mut hours = OpeningHours::default();
    for (name, spans) in WEEKDAYS.into_iter().zip(hours.days_mut()) {
        let given = week.set_objects(name, MOST_SPANS).unwrap_or_default();
        for (at, mut one) in given.into_iter().enumerate() {
            let (opens, closes) = (one.required::<DayMinute>("opens"), one.required::<DayMinute>("closes"));
            if let (Some(opens), Some(closes)) = (opens, closes) {
                if opens >= closes {
                    one.wrong("closes", "must be later than opens");
                } else if spans.last().is_some_and(|before: &Span| before.closes >= opens) {
                    one.wrong("opens", "must be later than the span before closes");
                }
                spans.push(Span { opens, closes });
            }
            week.take_in(&format!("{name}.{at}"), one);
        }
    }
    fields.take_in("opening_hours", week);
    Some(hours)
}

fn holidays(fields: &mut Fields) -> Option<Vec<Holiday>> {
    let given = fields.set_objects("holidays", MOST_HOLIDAYS)?;
    let mut all: Vec<Holiday> = Vec::with_capacity(given.len());
    for (at, mut one) in given.into_iter().enumerate() {
        let (day, name) = (one.required::<NaiveDate>("day"), one.required::<String>("name"));
        one.check_length("name", name.as_deref(), HOLIDAY);
        if let (Some(day), Some(name)) = (day, name) {
            if !(1900..=9999).contains(&chrono::Datelike::year(&day)) {
                one.wrong("day", crate::params::WRONG_YEAR);
            } else if all.iter().any(|other| other.day == day) {
                one.wrong("day", "stands twice");
            }
            all.push(Holiday { day, name });
        }
        fields.take_in(&format!("holidays.{at}"), one);
    }
    all.sort_unstable_by_key(|holiday| holiday.day);
    Some(all)
}

/// The rules that are given: the place of each in [`BOUNDS`], with its value.
fn rules(fields: &mut Fields) -> Vec<(usize, i32)> {
    let Some(mut inner) = fields.set_object("visit_rules") else { return Vec::new() };
    let mut given = Vec::new();
    for (at, bound) in BOUNDS.iter().enumerate() {
        let Some(value) = inner.set::<i32>(bound.name) else { continue };
        if !(bound.least..=bound.most).contains(&value) {
            inner.wrong(bound.name, format!("must be {} to {}", bound.least, bound.most));
        }
        given.push((at, value));
    }
    fields.take_in("visit_rules", inner);
    given
}

async fn change(by: Writer, State(app): State<App>, headers: HeaderMap, body: JsonBody) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let change = Change::read(body.fields()?)?;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let mut row = organizations::one_to_change(tx.conn(), by.org()).await?.ok_or_else(missing)?;
    check_version(version, row.version)?;
    let changed = change.apply(&mut row)?;
    if !changed.is_empty() {
        organizations::save(tx.conn(), &mut row, now).await?;
        let detail = json!({"fields": changed, "version": row.version});
        by.audit(&app, &mut tx, "organization.changed", "organization", row.id.0, detail).await?;
        if changed.contains(&"zone") {
            // Doses whose times are of the clinic's clock.
            let at = plan_at(&tx);
            organizations::replan_for_zone(tx.conn(), row.id, &row.zone, at).await?;
            plan_soon(&mut tx, &by).await?;
        }
    }
    by.close(tx, versioned(row.version, &Shown::from(row))).await
}
