//! Reading a cron expression, and saying what is wrong with it.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use cron::Schedule;

use crate::time::quoted;

/// Longer than anything a person writes.
const MAX_LEN: usize = 500;

const FIELDS: [&str; 7] = ["seconds", "minutes", "hours", "days of month", "months", "days of week", "years"];

/// A cron expression that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "cron expression {given}: {problem}; a right one is \"0 30 7 * * Mon-Fri\" \
     (seconds, minutes, hours, days of month, months, days of week: 07:30 on working days)"
)]
pub struct CronError {
    given: String,
    problem: String,
}

/// Reads an expression of five, six or seven fields, or a shorthand.
pub(super) fn schedule(source: &str) -> Result<Schedule, CronError> {
    let error = |problem: String| CronError { given: quoted(source), problem };
    if source.len() > MAX_LEN {
        return Err(error(format!("it is longer than {MAX_LEN} characters")));
    }
    let fields: Vec<&str> = source.split_whitespace().collect();
    let schedule = match fields.as_slice() {
        [word] if word.starts_with('@') => Schedule::from_str(word)
            .map_err(|_| error("the words are @hourly, @daily, @weekly, @monthly and @yearly".to_owned()))?,
        [minutes, hours, days, months, weekdays] => {
            if !is_open(days) && !is_open(weekdays) {
                return Err(error(
                    "five fields with both days of month and days of week would mean either; make it two schedules"
                        .to_owned(),
                ));
            }
            let weekdays = from_unix_weekdays(weekdays)
                .ok_or_else(|| error(format!("{} are not days of week (0 to 7, or names)", quoted(weekdays))))?;
            from_fields(&["0", minutes, hours, days, months, &weekdays]).map_err(error)?
        }
        fields @ ([_, _, _, _, _, _] | [_, _, _, _, _, _, _]) => from_fields(fields).map_err(error)?,
        fields => {
            return Err(error(format!("it has {} fields instead of 6", fields.len())));
        }
    };
    if schedule.after(&DateTime::<Utc>::UNIX_EPOCH).next().is_none() {
        return Err(error("no day of any year from 1970 to 2100 matches it".to_owned()));
    }
    Ok(schedule)
}

/// Whether a field of days leaves all days open, as Unix cron sees it.
fn is_open(field: &str) -> bool {
    field.starts_with('*') || field == "?"
}

fn from_fields(fields: &[&str]) -> Result<Schedule, String> {
    // The crate lets spaces stand within a list, and so could read fields otherwise than they are counted here.
    let loose = |field: &&&str| field.starts_with([',', '-', '/']) || field.ends_with([',', '-', '/']);
    if let Some(field) = fields.iter().find(loose) {
        return Err(format!("{} is incomplete", quoted(field)));
    }
    Schedule::from_str(&fields.join(" ")).map_err(|_| {
        let wrong = (0..fields.len()).find(|&index| {
            let mut alone = ["*"; 7];
            alone[index] = fields[index];
            Schedule::from_str(&alone.join(" ")).is_err()
        });
        match wrong {
            Some(index) => format!("{} cannot be read as {}", quoted(fields[index]), FIELDS[index]),
            None => "it cannot be read".to_owned(),
        }
    })
}

/// Unix counts days of week from 0 = Sunday, with 7 Sunday again; the crate from 1 = Sunday. Numbers become the days
/// they name; what holds names stays as it is.
fn from_unix_weekdays(field: &str) -> Option<String> {
    let parts: Option<Vec<String>> = field.split(',').map(from_unix_weekday).collect();
    parts.map(|parts| parts.join(","))
}

fn from_unix_weekday(part: &str) -> Option<String> {
    if !part.starts_with(|first: char| first.is_ascii_digit()) {
        return Some(part.to_owned());
    }
    let number = |text: &str| text.parse::<u32>().ok();
    let (days, step) = match part.split_once('/') {
        Some((days, step)) => (days, number(step)?),
        None => (part, 1),
    };
    let (first, last) = match days.split_once('-') {
        Some((first, last)) => (number(first)?, number(last)?),
        // `3/2` is every second day from the 3rd on.
        None if step > 1 => (number(days)?, 6),
        None => (number(days)?, number(days)?),
    };
    if first > last || last > 7 || step == 0 || step > 7 {
        return None;
    }
    let step = usize::try_from(step).ok()?;
    let days: Vec<String> = (first..=last).step_by(step).map(|day| (day % 7 + 1).to_string()).collect();
    Some(days.join(","))
}
