//! Times that a patient may move a visit to.

use chrono::{DateTime, NaiveTime, TimeDelta, Utc};

use crate::clinic::ClinicRules;
use crate::store::visits::{self, Visit};
use crate::store::{DbError, Tx};
use crate::time::local::LocalMoment;

/// Free times of the visit's doctor that are as long as the visit, within the hours and by the rules of the clinic, earliest
/// first. None if it names no doctor.
///
/// # Errors
/// Postgres.
pub async fn free_times(tx: &mut Tx, visit: &Visit, rules: &ClinicRules) -> Result<Vec<DateTime<Utc>>, DbError> {
    let Some(doctor) = visit.doctor.filter(|_| rules.visits.offers > 0) else { return Ok(Vec::new()) };
    let now = tx.now();
    let to = now + TimeDelta::days(i64::from(rules.visits.offer_days) + 2);
    let mut busy = visits::busy(tx.conn(), doctor, now, to, visit.id).await?;
    // The time that it has is no other time.
    busy.push((visit.starts_at, visit.ends_at));
    Ok(choose(rules, now, visit.ends_at - visit.starts_at, &busy))
}

/// Whether a visit may be moved by its patient to begin at `at`: one of [`free_times`].
///
/// # Errors
/// Postgres.
pub async fn is_free(tx: &mut Tx, visit: &Visit, rules: &ClinicRules, at: DateTime<Utc>) -> Result<bool, DbError> {
    Ok(free_times(tx, visit, rules).await?.contains(&at))
}

fn choose(
    clinic: &ClinicRules,
    now: DateTime<Utc>,
    length: TimeDelta,
    busy: &[(DateTime<Utc>, DateTime<Utc>)],
) -> Vec<DateTime<Utc>> {
    let number = |n: i32| usize::try_from(n).unwrap_or(0);
    let (rules, hours) = (&clinic.visits, &clinic.hours);
    let mut chosen = Vec::new();
    for day in hours.zone.local(now).date().iter_days().take(number(rules.offer_days)) {
        let most = (chosen.len() + number(rules.offers_a_day)).min(number(rules.offers));
        for span in hours.of_day(day) {
            let closes = hours.instants(day, *span).map(|(_, closes)| closes);
            for minute in (span.opens.minutes()..span.closes.minutes()).step_by(number(rules.offer_every_minutes)) {
                let time = NaiveTime::from_num_seconds_from_midnight_opt(u32::from(minute) * 60, 0);
                // A time that clocks leap over or show twice is not offered: nobody shall have to think about it.
                let Some(LocalMoment::Once(at)) = time.map(|time| LocalMoment::of(hours.zone, day.and_time(time)))
                else {
                    continue;
                };
                let end = at + length;
                if at < now + rules.move_until() || at > now + rules.ahead() || closes.is_none_or(|closes| end > closes)
                {
                    continue;
                }
                if chosen.len() < most && !busy.iter().any(|(from, to)| *from < end && *to > at) {
                    chosen.push(at);
                }
            }
        }
        if chosen.len() == number(rules.offers) {
            break;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clinic::{Holiday, Hours, OpeningHours, Span, VisitRules};

    fn clinic() -> ClinicRules {
        let span = |opens: &str, closes: &str| Span {
            opens: opens.parse().expect("a time"),
            closes: closes.parse().expect("a time"),
        };
        let day = || vec![span("08:00", "18:00")];
        let opening = OpeningHours { mon: day(), tue: day(), wed: day(), thu: day(), fri: day(), ..Default::default() };
        let visits = VisitRules {
            patient_move_minutes: 60,
            patient_cancel_minutes: 30,
            longest_visit_minutes: 1440,
            book_ahead_days: 1830,
            offer_days: 14,
            offer_every_minutes: 30,
            offers: 12,
            offers_a_day: 3,
            first_reminder_minutes: 1440,
            last_reminder_minutes: 60,
            join_before_minutes: 15,
            join_after_minutes: 30,
        };
        let hours = Hours { zone: "Europe/Berlin".parse().expect("a zone"), opening, holidays: Vec::new() };
        ClinicRules { visits, hours, meeting_url_template: None }
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("an instant")
    }

    // A Friday, 15:10 there.
    const NOW: &str = "2026-11-27T14:10:00Z";

    #[test]
    fn times_are_free_within_hours_and_on_weekdays() {
        let busy = [(at("2026-11-27T15:30:00Z"), at("2026-11-27T16:00:00Z"))];
        let free = choose(&clinic(), at(NOW), TimeDelta::minutes(30), &busy);
        assert_eq!(free.len(), 12);
        assert_eq!(free[0], at("2026-11-27T16:00:00Z"), "16:30 there is busy, 17:00 is free");
        assert_eq!(free[1], at("2026-11-27T16:30:00Z"));
        assert_eq!(free[2], at("2026-11-30T07:00:00Z"), "then Monday at 8");
        assert!(choose(&clinic(), at(NOW), TimeDelta::hours(11), &[]).is_empty(), "longer than the clinic is open");
    }

    #[test]
    fn the_rules_of_the_clinic_say_how_many_how_often_and_when() {
        let mut other = clinic();
        other.visits = VisitRules {
            patient_move_minutes: 24 * 60,
            offers: 4,
            offers_a_day: 2,
            offer_every_minutes: 45,
            ..other.visits
        };
        other.hours.holidays.push(Holiday { day: "2026-11-30".parse().expect("a day"), name: "St Andrew".into() });
        let early = Span { opens: "06:30".parse().expect("a time"), closes: "07:10".parse().expect("a time") };
        other.hours.opening.wed.insert(0, early);
        let free = choose(&other, at(NOW), TimeDelta::minutes(30), &[]);
        let wanted = ["2026-12-01T07:00:00Z", "2026-12-01T07:45:00Z", "2026-12-02T05:30:00Z", "2026-12-02T07:00:00Z"];
        assert_eq!(free, wanted.map(at), "no Monday, and on Wednesday one of the short span");
        other.visits.book_ahead_days = 4;
        assert_eq!(choose(&other, at(NOW), TimeDelta::minutes(30), &[]).len(), 2, "none so far ahead");
    }
}
