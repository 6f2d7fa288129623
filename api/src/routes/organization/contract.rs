//! What the contract says of organizations.

use pulsecal_core::clinic::{BOUNDS, KINDS, MOST_HOLIDAYS, MOST_SPANS, WEEKDAYS};
use serde_json::{Value, json};
use utoipa::openapi::Object;

use super::{ADDRESS, HOLIDAY, MOST_NO_SHOW, NAME, PHONE, Shown, TEMPLATE};
use crate::contract::examples::{BEFORE, ORGANIZATION};
use crate::contract::{Body, Operation, kinds};

/// What the contract says of them.
pub(in crate::routes) fn contract() -> Vec<Operation> {
    let change = json!({
        "opening_hours": {"mon": [{"opens": "08:00", "closes": "12:00"}, {"opens": "14:00", "closes": "18:00"}]},
        "holidays": [{"day": "2026-12-25", "name": "Christmas Day"}],
        "visit_rules": {"patient_move_minutes": 120},
    });
    let change = Body::new("OrganizationChange", change)
        .set("name", kinds::text(NAME), "Its name.")
        .optional("discreet_name", kinds::text(NAME), "The name for mail at the lowest privacy level.")
        .set("kind", kind(), "What it is.")
        .set("zone", kinds::zone(), "The zone of its clock: opening hours, and whoever has no zone of their own.")
        .optional("phone", kinds::text(PHONE), "Its telephone number, as patients are told.")
        .optional("address", kinds::text(ADDRESS), "Where it is.")
        .set(
            "opening_hours",
            hours(),
            "When it is open, all days at once: a day that is left out is closed. Patients move visits to these times only.",
        )
        .set("holidays", holidays(), "The days on which it is closed, all of them at once.")
        .optional(
            "no_show_after_minutes",
            kinds::number(0..=MOST_NO_SHOW.into()),
            "So many minutes after its end a visit to which nobody came is a no-show by itself; null: staff say so.",
        )
        .optional(
            "meeting_url_template",
            kinds::like(r"^https://[a-z0-9.-]+(:[0-9]{1,5})?/[!-~]*\{room\}[!-~]*$", TEMPLATE, "https://meet.example.org/{room}"),
            "Where online visits take place: `{room}` stands for the room of each. Patients get a link that leads there in its time only.",
        )
        .set("second_factor_required", kinds::flag(), "Whether its staff get to the pages with a second factor only.")
        .set("currency", kinds::like("^[A-Z]{3}$", 3, "EUR"), "The currency in which it asks for money from now on, as ISO 4217 names it.")
        .set("visit_rules", rules(), "What holds for visits from the next request on. A rule that is left out stays.");
    vec![
        Operation::new("GET", "/v1/organization", "Shows the organization")
            .detail("The one whose person the token's is.")
            .shows_version::<Shown>("The organization.", example()),
        Operation::new("PATCH", "/v1/organization", "Changes the organization")
            .detail("A field that is left out stays as it is.")
            .if_match()
            .body(change)
            .shows_version::<Shown>("The organization as it is now.", example()),
    ]
}

/// A kind.
pub(super) fn kind() -> Object {
    kinds::one_of(&KINDS)
}

fn hours() -> Object {
    let closes = kinds::like(r"^(([01]\d|2[0-3]):[0-5]\d|24:00)$", 5, "12:00");
    let opens = kinds::like(r"^([01]\d|2[0-3]):[0-5]\d$", 5, "08:00");
    let span = Body::new("Span", Value::Null)
        .required("opens", opens, "From.")
        .required("closes", closes, "Until; a day that ends at midnight closes at 24:00.")
        .object();
    let week = WEEKDAYS.into_iter().fold(Body::new("OpeningHoursChange", Value::Null), |week, day| {
        let spans = kinds::list(span.clone(), 0..=MOST_SPANS).build();
        week.set(day, spans, "Spans one after another, which do not touch.")
    });
    week.object()
}

fn holidays() -> utoipa::openapi::schema::Array {
    let holiday = Body::new("HolidayChange", Value::Null)
        .required("day", kinds::day(), "The day.")
        .required("name", kinds::text(HOLIDAY), "What is celebrated.")
        .object();
    kinds::list(holiday, 0..=MOST_HOLIDAYS).build()
}

fn rules() -> Object {
    let all = BOUNDS.iter().fold(Body::new("VisitRulesChange", Value::Null), |all, bound| {
        all.set(bound.name, kinds::number(bound.least.into()..=bound.most.into()), bound.about)
    });
    all.object()
}

fn example() -> Value {
    let day = json!([{"opens": "08:00", "closes": "18:00"}]);
    json!({
        "id": ORGANIZATION, "name": "Lindenhof Family Practice", "discreet_name": "Lindenhof", "kind": "clinic", "zone": "Europe/Berlin",
        "phone": "+49 30 555 0100", "address": "Lindenstraße 12, 10969 Berlin",
        "opening_hours": {"mon": day, "tue": day, "wed": day, "thu": day, "fri": day, "sat": [], "sun": []},
        "holidays": [{"day": "2026-12-25", "name": "Christmas Day"}],
        "visit_rules": {
            "patient_move_minutes": 60, "patient_cancel_minutes": 30, "longest_visit_minutes": 1440, "book_ahead_days": 1830,
            "offer_days": 14, "offer_every_minutes": 30, "offers": 12, "offers_a_day": 3, "first_reminder_minutes": 1440,
            "last_reminder_minutes": 60, "join_before_minutes": 15, "join_after_minutes": 30,
        },
        "no_show_after_minutes": null, "meeting_url_template": "https://meet.example.org/{room}", "currency": "EUR", "second_factor_required": false, "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}
