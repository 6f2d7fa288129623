//! The ladder of one dose: the reminder when it is due, nudges until it is answered, missed at the end of the window.

use chrono::{DateTime, TimeDelta, Utc};

use crate::store::ladder::{Advance, DueDose};

/// What a dose's next step is.
#[derive(Clone, Debug)]
pub struct Step {
    /// Where the dose goes.
    pub advance: Advance,
    /// Send this step's message before this moment; none: nothing is sent.
    pub send: Option<SendStep>,
}

/// A message to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SendStep {
    /// 0: the reminder, 1 and up: nudges.
    pub step: i16,
    /// After this it is no longer useful.
    pub expires_at: DateTime<Utc>,
}

/// The next step of `dose` at `now`. After a pause, steps that have gone by are skipped and only the newest is sent: what is
/// still useful goes out, the rest is missed, nothing floods.
pub fn next_step(dose: &DueDose, now: DateTime<Utc>) -> Step {
    let end = dose.ladder_at + TimeDelta::seconds(i64::from(dose.window_seconds));
    if now >= end {
        let (state, reason) = match dose.state.as_str() {
            "reminded" => ("missed", "not answered in time"),
            "uncertain" => ("uncertain", "whether the reminder arrived is not known, and it was not answered"),
            "snoozed" => ("missed", "not answered after the snooze"),
            "planned" => ("missed", "not reminded: it was found too late"),
            _ => ("missed", "the reminder could not be delivered"),
        };
        let advance = Advance { id: dose.id, state, step: dose.step, next_at: None, reason: Some(reason) };
        return Step { advance, send: None };
    }
    let at = |step: usize| match step {
        0 => Some(dose.ladder_at),
        nudge => {
            dose.nudge_after_seconds.get(nudge - 1).map(|after| dose.ladder_at + TimeDelta::seconds(i64::from(*after)))
        }
    };
    let coming = usize::try_from(dose.step).unwrap_or(0);
    let mut newest = None;
    let mut next = coming;
    while let Some(due) = at(next).filter(|due| *due <= now) {
        debug_assert!(due <= now);
        newest = Some(next);
        next += 1;
    }
    let next_at = at(next).map_or(end, |due| due.min(end));
    let state = match dose.state.as_str() {
        "planned" => "due",
        "reminded" => "reminded",
        "snoozed" => "snoozed",
        "uncertain" => "uncertain",
        _ => "due",
    };
    let number = |step: usize| i16::try_from(step).unwrap_or(i16::MAX);
    Step {
        advance: Advance { id: dose.id, state, step: number(next), next_at: Some(next_at), reason: None },
        send: newest.map(|step| SendStep { step: number(step), expires_at: end }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{OccurrenceId, OrgId};

    fn dose(step: i16, state: &str) -> DueDose {
        let at = DateTime::UNIX_EPOCH;
        DueDose {
            id: OccurrenceId(uuid::Uuid::nil()),
            org: OrgId(uuid::Uuid::nil()),
            state: state.into(),
            due_at: at,
            ladder_at: at,
            step,
            nudge_after_seconds: vec![900, 1800],
            window_seconds: 3600,
        }
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(seconds)
    }

    #[test]
    fn the_reminder_comes_first_and_the_first_nudge_next() {
        let step = next_step(&dose(0, "planned"), at(1));
        assert_eq!(step.send.map(|send| send.step), Some(0));
        assert_eq!((step.advance.state, step.advance.step, step.advance.next_at), ("due", 1, Some(at(900))));
    }

    #[test]
    fn after_a_pause_only_the_newest_step_is_sent() {
        let step = next_step(&dose(0, "planned"), at(2000));
        assert_eq!(step.send.map(|send| send.step), Some(2));
        assert_eq!(step.advance.next_at, Some(at(3600)));
    }

    #[test]
    fn after_the_last_nudge_comes_the_end() {
        let step = next_step(&dose(2, "reminded"), at(1800));
        assert_eq!(step.send.map(|send| send.step), Some(2));
        assert_eq!(step.advance.next_at, Some(at(3600)));
        let end = next_step(&dose(3, "reminded"), at(3600));
        assert!(end.send.is_none());
        assert_eq!((end.advance.state, end.advance.next_at), ("missed", None));
    }

    #[test]
    fn too_late_is_missed_and_says_why() {
        let end = next_step(&dose(0, "planned"), at(4000));
        assert!(end.send.is_none());
        assert_eq!((end.advance.state, end.advance.reason), ("missed", Some("not reminded: it was found too late")));
    }

    #[test]
    fn an_uncertain_dose_stays_uncertain_when_nobody_answers() {
        assert_eq!(next_step(&dose(3, "uncertain"), at(3600)).advance.state, "uncertain");
    }
}
