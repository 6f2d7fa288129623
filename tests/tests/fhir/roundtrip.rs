//! Timings of PulseCal written as FHIR come back.

use chrono::NaiveTime;
use proptest::prelude::*;
use pulsecal_core::doses::timing::{Days, Timing};
use serde_json::{Value, json};

use super::support::{day, nth, repeat};

fn codes() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(vec!["mon", "tue", "wed", "thu", "fri", "sat", "sun"], 1..=6)
}

proptest! {
    /// Times, days and bounds written out as FHIR come back as they were.
    #[test]
    fn what_pulsecal_can_plan_survives_fhir(
        minutes in proptest::collection::btree_set(0..1440_u32, 1..8),
        days in prop_oneof![Just(None), codes().prop_map(|on| Some(Ok(on))), (2..=366_u16).prop_map(|n| Some(Err(n)))],
        length in proptest::option::of(0..1000_u64),
    ) {
        let times: Vec<NaiveTime> = minutes.iter().map(|m| NaiveTime::from_hms_opt(m / 60, m % 60, 0).expect("in a day")).collect();
        let written: Vec<String> = times.iter().map(NaiveTime::to_string).collect();
        let start = day("2026-03-02");
        let end = length.map(|days| start + chrono::Days::new(days));
        let mut value = json!({"timeOfDay": written});
        let expected = match days {
            None => Days::Day,
            Some(Ok(on)) => {
                value["dayOfWeek"] = json!(on);
                Days::Weekdays { on: on.iter().map(|code| code.parse().expect("a weekday")).collect() }
            }
            Some(Err(n)) => {
                value["period"] = json!(n);
                value["periodUnit"] = json!("d");
                nth(n)
            }
        };
        if let Some(end) = end {
            value["boundsPeriod"] = json!({"start": start.to_string(), "end": end.to_string()});
        }
        let expected = Timing::TimesOfDay { times: times.into_iter().collect(), days: expected, start, end };
        prop_assert_eq!(repeat(&value).expect("understood"), expected);
    }

    /// So do intervals, whatever their unit.
    #[test]
    fn intervals_survive_fhir(hours in 1..=720_u16, minute in 0..1440_u32, in_minutes: bool) {
        let (period, unit) = if in_minutes { (u32::from(hours) * 60, "min") } else { (hours.into(), "h") };
        let start = format!("2026-06-01T{:02}:{:02}:00+02:00", minute / 60, minute % 60);
        let value = json!({"frequency": 1, "period": period, "periodUnit": unit, "boundsPeriod": {"start": start}});
        let expected = Timing::EveryHours {
            hours: hours.try_into().expect("not 0"),
            start: day("2026-06-01"),
            first: NaiveTime::from_hms_opt(minute / 60, minute % 60, 0).expect("in a day"),
            end: None,
        };
        prop_assert_eq!(repeat(&value).expect("understood"), expected);
    }

    /// A count ends the plan on the day of the last dose.
    #[test]
    fn counts_end_with_the_last_dose(a_day in 1..=6_u32, on in codes(), weeks in 1..30_u32) {
        let count = a_day * u32::try_from(on.len()).expect("small") * weeks;
        let value = json!({"frequency": a_day, "period": 1, "periodUnit": "d", "dayOfWeek": on, "count": count});
        let Timing::TimesOfDay { times, days: Days::Weekdays { on }, start, end: Some(end) } = repeat(&value).expect("understood") else {
            return Err(TestCaseError::fail("times on weekdays with an end"));
        };
        let mut doses = 0;
        for day in start.iter_days().take_while(|day| *day <= end) {
            doses += if on.contains(&chrono::Datelike::weekday(&day)) { times.len() } else { 0 };
        }
        prop_assert_eq!(doses, count as usize);
        prop_assert!(on.contains(&chrono::Datelike::weekday(&end)));
    }

    /// Whatever stands in `repeat`, reading ends with a plan or a problem that names the field.
    #[test]
    fn no_repeat_breaks_the_reader(
        field in proptest::sample::select(vec!["frequency", "period", "periodUnit", "timeOfDay", "dayOfWeek", "when", "offset", "count", "boundsPeriod", "boundsDuration"]),
        value in prop_oneof![
            any::<i64>().prop_map(Value::from), any::<f64>().prop_map(Value::from), ".{0,12}".prop_map(Value::from),
            Just(json!([])), Just(json!({})), Just(json!([null])), Just(json!([[1]])), Just(json!({"start": [], "value": "x"})), Just(json!(true)),
        ],
    ) {
        let mut base = json!({"frequency": 1, "period": 1, "periodUnit": "d", "when": ["ACM"], "offset": 5});
        base[field] = value;
        if let Err(problem) = repeat(&base) {
            prop_assert!(problem.path.starts_with("MedicationRequest.dosageInstruction[0].timing"), "{}", problem.path);
            prop_assert!(problem.to_string().chars().count() <= 510);
        }
    }
}
