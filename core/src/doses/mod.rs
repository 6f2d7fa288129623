//! Doses: when a medicine is to be taken, and the instants at which it falls due.

pub mod answer;
pub mod dispatch;
pub mod ladder;
pub mod plan;
pub mod planner;
pub mod timing;
mod words;

pub use plan::{
    FieldProblem, MAX_DAYS, MAX_HOURS, PlanChange, PlanError, PlanRule, Planned, Shift, YEARS, nominal_min_gap,
    occurrences, replan, resume, validate, validate_rule,
};
pub use timing::{Days, TimeMeaning, Timing};
