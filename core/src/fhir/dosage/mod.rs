//! Dose plans from `dosageInstruction`.

pub mod defaults;
mod merge;
mod pattern;
mod repeat;
mod schedule;

use chrono_tz::Tz;

use super::moment::Moment;
use super::node::Node;
use super::problem::{Effect, Problem};
use crate::doses::timing::Timing;
use repeat::Repeat;
use schedule::Schedule;

/// When the doses of an order fall, as far as that is known without the patient's zone.
#[derive(Clone, Debug, PartialEq)]
pub struct DosePlan(Plan);

#[derive(Clone, Debug, PartialEq)]
enum Plan {
    AsNeeded,
    Scheduled(Box<Schedule>),
}

impl DosePlan {
    /// The plan for a patient in `zone`: instants of the order become local days and times.
    ///
    /// Plans go by whole local days: on the first day all its doses hold, also those before the instant
    /// at which the order starts.
    ///
    /// # Errors
    /// A plan that ends before it starts, or whose number of doses ends within a day.
    pub fn timing(&self, zone: Tz) -> Result<Timing, Problem> {
        match &self.0 {
            Plan::AsNeeded => Ok(Timing::AsNeeded),
            Plan::Scheduled(schedule) => schedule.timing(zone),
        }
    }
}

/// What the instructions of an order come to.
pub(super) struct Dosage {
    /// All of them are as needed.
    pub as_needed: bool,
    /// When to take it.
    pub plan: Result<DosePlan, Problem>,
}

/// Most instructions of one order.
const INSTRUCTIONS: usize = 50;

/// Reads all instructions of an order written at `authored`.
pub(super) fn read(order: &Node<'_>, authored: Option<Moment>) -> Result<Dosage, Problem> {
    let instructions = order.list("dosageInstruction")?;
    if instructions.is_empty() {
        let problem = order.problem_at("dosageInstruction", "is missing, so there is no dose plan");
        return Ok(Dosage { as_needed: false, plan: Err(problem.with_effect(Effect::Partial)) });
    }
    if instructions.len() > INSTRUCTIONS {
        return Err(order.problem_at("dosageInstruction", format!("has more than {INSTRUCTIONS} entries")));
    }
    let mut as_needed = true;
    for instruction in &instructions {
        as_needed &= is_as_needed(instruction).unwrap_or(false);
    }
    let plan = plan(order, &instructions, authored).map_err(|problem| problem.with_effect(Effect::Partial));
    Ok(Dosage { as_needed: as_needed && plan.is_ok(), plan })
}

fn plan(order: &Node<'_>, instructions: &[Node<'_>], authored: Option<Moment>) -> Result<DosePlan, Problem> {
    one_sequence(instructions)?;
    let mut schedules = Vec::new();
    for instruction in instructions {
        instruction.refuse_modifiers()?;
        // As-needed parts beside regular ones make no reminders of their own.
        if !is_as_needed(instruction)? {
            schedules.push(scheduled(instruction, authored)?);
        }
    }
    Ok(DosePlan(if schedules.is_empty() {
        Plan::AsNeeded
    } else {
        let whole = order.problem_at(
            "dosageInstruction",
            "the instructions differ in days, interval or bounds and do not make one plan",
        );
        Plan::Scheduled(Box::new(merge::merge(schedules, &whole)?))
    }))
}

/// Instructions with different sequence numbers follow each other, and one plan holds one rule.
fn one_sequence(instructions: &[Node<'_>]) -> Result<(), Problem> {
    let mut first = None;
    for instruction in instructions {
        let sequence = instruction.unsigned("sequence")?;
        match &first {
            None => first = Some(sequence),
            Some(other) if *other == sequence => {}
            Some(_) => {
                return Err(instruction
                    .problem_at("sequence", "the dose changes over time, step after step; one plan cannot hold that"));
            }
        }
    }
    Ok(())
}

fn is_as_needed(instruction: &Node<'_>) -> Result<bool, Problem> {
    if instruction.has("asNeeded") || instruction.has("asNeededFor") {
        return Err(instruction.problem("asNeeded and asNeededFor are of FHIR R5; only R4 is read"));
    }
    instruction.one_of(&["asNeededBoolean", "asNeededCodeableConcept"])?;
    let concept = instruction.object("asNeededCodeableConcept")?.is_some();
    Ok(concept || instruction.bool("asNeededBoolean")?.unwrap_or(false))
}

fn scheduled(instruction: &Node<'_>, authored: Option<Moment>) -> Result<Schedule, Problem> {
    let timing = instruction
        .object("timing")?
        .ok_or_else(|| instruction.problem_at("timing", "is missing, so there is no dose plan"))?;
    timing.refuse_modifiers()?;
    if timing.has("event") {
        return Err(timing.problem_at("event", "single dates are not understood; give a rule in repeat"));
    }
    let repeat = match timing.object("repeat")? {
        None => Repeat::default(),
        Some(node) => Repeat::from_node(&node)?,
    };
    let doses = pattern::doses(&timing, &repeat)?;
    let bounds = repeat.bounds;
    let Some(start) = bounds.start.or(authored) else {
        return Err(timing.problem_at(
            "repeat.boundsPeriod.start",
            "is missing, and so is authoredOn: it is not known when to begin",
        ));
    };
    if let (Moment::Day(start), Some(Moment::Day(end))) = (start, bounds.end)
        && end < start
    {
        return Err(timing.problem_at("repeat.boundsPeriod.end", "is before the start"));
    }
    Ok(Schedule::new(doses, start, bounds, &timing))
}
