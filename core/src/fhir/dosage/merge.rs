//! Several instructions that hold at the same time, as one schedule.

use chrono::Weekday;

use super::super::problem::Problem;
use super::pattern::Doses;
use super::schedule::Schedule;
use crate::doses::timing::Days;

/// The union of the schedules; `whole` is the problem where they do not make one.
///
/// Equal days with different times become one list of times, equal times on different weekdays one list
/// of weekdays. Two doses at one time are one reminder.
pub(super) fn merge(schedules: Vec<Schedule>, whole: &Problem) -> Result<Schedule, Problem> {
    let several = schedules.len() > 1;
    let mut groups: Vec<Schedule> = Vec::new();
    for schedule in schedules {
        if several && schedule.has_count() {
            return Err(whole.clone());
        }
        match groups.iter_mut().find(|group| group.same_days(&schedule)) {
            Some(group) => group.add_times(&schedule),
            None => groups.push(schedule),
        }
    }
    let mut rest = groups.into_iter();
    let mut merged = rest.next().ok_or_else(|| whole.clone())?;
    for schedule in rest {
        if !merged.add_weekdays(&schedule) {
            return Err(whole.clone());
        }
    }
    Ok(merged)
}

impl Schedule {
    fn same_days(&self, other: &Self) -> bool {
        let days = match (&self.doses, &other.doses) {
            (Doses::At { days, from, .. }, Doses::At { days: others, from: other_from, .. }) => {
                days == others && from == other_from
            }
            (Doses::Every { hours }, Doses::Every { hours: others }) => hours == others,
            _ => false,
        };
        days && self.same_bounds(other)
    }

    fn add_times(&mut self, other: &Self) {
        if let (Doses::At { times, .. }, Doses::At { times: more, .. }) = (&mut self.doses, &other.doses) {
            times.extend(more);
        }
    }

    /// Takes over the weekdays of a schedule that has the same times; false if it differs in more.
    fn add_weekdays(&mut self, other: &Self) -> bool {
        let same_bounds = self.same_bounds(other);
        match (&mut self.doses, &other.doses) {
            (
                Doses::At { times, days, .. },
                Doses::At { times: other_times, days: Days::Weekdays { on: more }, .. },
            ) if same_bounds && times == other_times => {
                let Days::Weekdays { on } = days else {
                    return false;
                };
                on.extend(more);
                on.sort_by_key(Weekday::num_days_from_monday);
                on.dedup();
                if on.len() == 7 {
                    *days = Days::Day;
                }
                true
            }
            _ => false,
        }
    }
}
