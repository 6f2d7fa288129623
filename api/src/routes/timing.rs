//! Timings in requests: read by their type, then checked as the planner reads them.

use chrono::TimeDelta;
use pulsecal_core::doses::{FieldProblem, MAX_DAYS, MAX_HOURS, TimeMeaning, Timing, YEARS, validate, validate_rule};
use serde_json::{Value, json};
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{Object, RefOr};

use crate::contract::{Body, Kind, kinds};
use crate::fields::Fields;

/// The schema of timings, in requests and answers.
pub(super) fn schema() -> Schema {
    let times = kinds::list(kinds::time_of_day(), 1..=1440).build();
    let times_of_day = tagged("kind", "times_of_day")
        .required("times", times, "Local times, at least one.")
        .other("days", days(), true)
        .required("start", day(), "The first local day.")
        .optional("end", day(), "The last local day; null: open-ended.");
    let every_hours = tagged("kind", "every_hours")
        .required("hours", kinds::number(1..=MAX_HOURS.into()), "Hours between two doses.")
        .required("start", day(), "The first local day.")
        .required("first", kinds::time_of_day(), "The local time of the first dose.")
        .optional("end", day(), "The last local day; null: open-ended.");
    let as_needed = tagged("kind", "as_needed");
    let one = OneOfBuilder::new().description(Some("When a medicine is taken."));
    one.item(times_of_day.object()).item(every_hours.object()).item(as_needed.object()).into()
}

fn days() -> Schema {
    let weekdays = kinds::list(kinds::one_of(&["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]), 1..=7);
    let on = tagged("every", "weekdays").required("on", weekdays.unique_items(true).build(), "The weekdays.");
    let nth = tagged("every", "nth_day");
    let nth = nth.required("n", kinds::number(1..=MAX_DAYS.into()), "Days between two days with doses.");
    let one = OneOfBuilder::new().description(Some("The days on which the times hold."));
    one.item(tagged("every", "day").object()).item(on.object()).item(nth.object()).into()
}

/// An object of the kind that this field names.
fn tagged(field: &str, word: &str) -> Body {
    Body::new("", Value::Null).required(field, kinds::one_of(&[word]), "Which kind this is.")
}

/// A day on which a plan may start or end.
fn day() -> Object {
    let (from, to) = (YEARS.start(), YEARS.end());
    kinds::day().about(&format!("In the years {from} to {to}."))
}

/// A reference to [`schema`].
pub(super) fn named() -> RefOr<Schema> {
    crate::contract::named("Timing")
}

/// The same, or null.
pub(super) fn or_null() -> RefOr<Schema> {
    OneOfBuilder::new().item(ObjectBuilder::new().schema_type(Type::Null)).item(named()).into()
}

/// A timing for examples.
pub(super) fn example() -> Value {
    json!({
        "kind": "times_of_day", "times": ["08:00:00", "20:00:00"], "days": {"every": "day"}, "start": "2026-12-01", "end": null,
    })
}

/// Puts on record what the reading of a timing would let pass without a word: the kinds that have no fields of their own (`as_needed`,
/// `day`) take any, a list is read as an object, and a number as the kind that is at its place.
pub(super) fn check_whole(fields: &mut Fields) {
    let Some(given) = fields.given("timing") else { return };
    let Ok(timing) = serde_json::from_value::<Timing>(given.clone()) else { return };
    let Ok(read) = serde_json::to_value(&timing) else { return };
    let mut dropped = Vec::new();
    compare("timing", given, &read, &mut dropped);
    for name in dropped {
        fields.wrong(name, "does not belong to this kind of timing");
    }
}

fn compare(name: &str, given: &Value, read: &Value, dropped: &mut Vec<String>) {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => {
            for (field, value) in given.iter().take(MOST_FIELDS) {
                let name = format!("{name}.{field}");
                match read.get(field) {
                    Some(read) => compare(&name, value, read, dropped),
                    None => dropped.push(name),
                }
            }
        }
        // The order of times is not kept; that they are of one kind is.
        (Value::Array(given), Value::Array(read)) => {
            let kind = read.first().map(std::mem::discriminant);
            if given.iter().any(|item| Some(std::mem::discriminant(item)) != kind) {
                dropped.push(name.to_owned());
            }
        }
        (given, read) if std::mem::discriminant(given) != std::mem::discriminant(read) => dropped.push(name.to_owned()),
        _ => {}
    }
}

/// So many fields are looked at, which is more than a timing has.
const MOST_FIELDS: usize = 20;

/// Checks a timing by itself.
pub(super) fn check(fields: &mut Fields, timing: &Timing) {
    let problems = validate(timing, TimeDelta::zero());
    record(fields, problems.err().unwrap_or_default());
}

/// Checks a timing with what its times are to mean and the least time between doses.
pub(super) fn check_rule(fields: &mut Fields, timing: &Timing, meaning: TimeMeaning, min_interval_seconds: i32) {
    let interval = TimeDelta::seconds(i64::from(min_interval_seconds));
    record(fields, validate_rule(timing, meaning, interval).err().unwrap_or_default());
}

fn record(fields: &mut Fields, problems: Vec<FieldProblem>) {
    for problem in problems {
        let field = match problem.field {
            "meaning" => "meaning".to_owned(),
            "min_interval" => "min_interval_seconds".to_owned(),
            nested => format!("timing.{nested}"),
        };
        fields.wrong(field, problem.message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reading_would_drop_is_named() {
        let dropped = |given: Value| {
            let timing: Timing = serde_json::from_value(given.clone()).expect("a timing");
            let mut dropped = Vec::new();
            compare("timing", &given, &serde_json::to_value(&timing).expect("JSON"), &mut dropped);
            dropped
        };
        assert_eq!(dropped(example()), Vec::<String>::new());
        assert_eq!(dropped(json!({"kind": "as_needed"})), Vec::<String>::new());
        assert_eq!(dropped(json!({"kind": "as_needed", "x": 1})), ["timing.x"]);
        assert_eq!(dropped(json!(["as_needed"])), ["timing"]);
        let mut day = example();
        day["days"]["on"] = json!(["Mon"]);
        assert_eq!(dropped(day), ["timing.days.on"]);
        let mut day = example();
        day["days"]["every"] = json!(0);
        assert_eq!(dropped(day), ["timing.days.every"]);
    }
}
