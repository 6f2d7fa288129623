//! Times that a patient may move a visit to.

use chrono::{DateTime, Datelike, NaiveTime, TimeDelta, Utc, Weekday};

use super::MOVE_UNTIL;
use crate::store::visits::{self, Visit};
use crate::store::{DbError, Tx};
use crate::time::Zone;
use crate::time::local::{LocalMoment, resolve};

/// Times are offered for so many days …
const DAYS: u64 = 14;
/// … from this hour of the clinic's clock …
const OPENS: u32 = 8;
/// … until this one …
const CLOSES: u32 = 18;
/// … every so many minutes …
const EVERY: u32 = 30;
/// … so many in all, and so many of one day.
const MOST: usize = 12;
const MOST_A_DAY: usize = 3;

/// Free times of the visit's doctor that are as long as the visit, earliest first. None if it names no doctor.
///
/// # Errors
/// Postgres.
pub async fn free_times(tx: &mut Tx, visit: &Visit, zone: Zone) -> Result<Vec<DateTime<Utc>>, DbError> {
    let Some(doctor) = visit.doctor else { return Ok(Vec::new()) };
    let now = tx.now();
    let to = now + TimeDelta::days(i64::try_from(DAYS).unwrap_or(0) + 2);
    let mut busy = visits::busy(tx.conn(), doctor, now, to, visit.id).await?;
    // The time that it has is no other time.
    busy.push((visit.starts_at, visit.ends_at));
    Ok(choose(zone, now, visit.ends_at - visit.starts_at, &busy))
}

/// Whether a visit may be moved by its patient to begin at `at`: one of [`free_times`], even if fewer are shown.
///
/// # Errors
/// Postgres.
pub async fn is_free(tx: &mut Tx, visit: &Visit, zone: Zone, at: DateTime<Utc>) -> Result<bool, DbError> {
    Ok(free_times(tx, visit, zone).await?.contains(&at))
}

fn choose(
    zone: Zone,
    now: DateTime<Utc>,
    length: TimeDelta,
    busy: &[(DateTime<Utc>, DateTime<Utc>)],
) -> Vec<DateTime<Utc>> {
    let today = zone.local(now).date();
    let mut chosen = Vec::new();
    for day in today.iter_days().take(usize::try_from(DAYS).unwrap_or(0)) {
        if matches!(day.weekday(), Weekday::Sat | Weekday::Sun) {
            continue;
        }
        let closes = NaiveTime::from_hms_opt(CLOSES, 0, 0).map(|time| resolve(zone, day.and_time(time)));
        let mut of_day = 0;
        for minute in (OPENS * 60..CLOSES * 60).step_by(EVERY as usize) {
            let Some(time) = NaiveTime::from_hms_opt(minute / 60, minute % 60, 0) else { continue };
            // A time that clocks leap over or show twice is not offered: nobody shall have to think about it.
            let LocalMoment::Once(at) = LocalMoment::of(zone, day.and_time(time)) else { continue };
            let end = at + length;
            if at < now + MOVE_UNTIL || closes.is_none_or(|closes| end > closes) {
                continue;
            }
            if busy.iter().any(|(from, to)| *from < end && *to > at) {
                continue;
            }
            chosen.push(at);
            of_day += 1;
            if chosen.len() == MOST {
                return chosen;
            }
            if of_day == MOST_A_DAY {
                break;
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_free_within_hours_and_on_weekdays() {
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
        // A Friday, 15:10 there.
        let now = at("2026-11-27T14:10:00Z");
        let busy = [(at("2026-11-27T15:30:00Z"), at("2026-11-27T16:00:00Z"))];
        let free = choose(zone, now, TimeDelta::minutes(30), &busy);
        assert_eq!(free.len(), MOST);
        assert_eq!(free[0], at("2026-11-27T16:00:00Z"), "16:30 there is busy, 17:00 is free");
        assert_eq!(free[1], at("2026-11-27T16:30:00Z"));
        assert_eq!(free[2], at("2026-11-30T07:00:00Z"), "then Monday at 8");
        assert!(choose(zone, now, TimeDelta::hours(11), &[]).is_empty(), "longer than the clinic is open");
    }
}
