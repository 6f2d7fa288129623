//! Timings in requests: read by their type, then checked as the planner reads them.

use chrono::TimeDelta;
use pulsecal_core::doses::{FieldProblem, TimeMeaning, Timing, validate, validate_rule};

use crate::fields::Fields;

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
