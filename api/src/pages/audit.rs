//! `/ops/audit`: how often what happened, by day, as a chart and as a table of the same numbers. It counts nothing itself: the
//! numbers are those of the rollup.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use chrono::{Days, NaiveDate};
use pulsecal_core::store::audit::chain;
use pulsecal_core::store::audit::rollup::{self, Choices, Day, Filter, Lag};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::desk;
use super::session::{Ops, Refused};
use crate::app::App;
use crate::problem::Problem;

/// Days that are shown when none are asked for.
const DAYS: u64 = 30;
/// No more days in one chart.
const MOST_DAYS: i64 = 400;
/// No more lines in the table.
const MOST_LINES: i64 = 500;
/// Counting is late when an entry waits longer than two of its rounds.
const LATE_SECONDS: f64 = 300.0;
/// The chart's size in its own units.
const WIDTH: f64 = 800.0;
const HEIGHT: f64 = 200.0;

/// The route.
pub(super) fn router() -> Router<App> {
    Router::new().route("/ops/audit", get(show))
}

/// The form's fields; empty ones choose nothing.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    org: String,
    from: String,
    to: String,
    action: String,
    outcome: String,
}

async fn show(
    State(app): State<App>,
    ops: Ops,
    asked: Result<Query<Asked>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, Refused> {
    let Query(asked) =
        asked.map_err(|_| Problem::unreadable("The address holds fields that this page does not know."))?;
    let mut tx = ops.begin(&app).await?;
    let now = tx.now();
    let filter = filter_of(&asked, now.date_naive())?;
    let days = rollup::days(tx.conn(), &filter).await?;
    let lines = rollup::lines(tx.conn(), &filter, MOST_LINES + 1).await?;
    let choices = rollup::choices(tx.conn(), filter.from, filter.to).await?;
    let tail = chain::tail(tx.conn(), now).await?;
    let lag = rollup::lag(tx.conn(), now).await?;
    tx.commit().await?;
    let cut = lines.len() > usize::try_from(MOST_LINES).unwrap_or(usize::MAX);
    let view = json!({
        "at": "/ops/audit",
        "from": filter.from,
        "last": filter.to - Days::new(1),
        "choices": choices_of(&choices, &asked),
        "chart": chart(&filter, &days),
        "lines": lines.iter().take(usize::try_from(MOST_LINES).unwrap_or(usize::MAX)).collect::<Vec<_>>(),
        "cut": cut,
        "unsealed": tail.entries,
        "unsealed_seconds": tail.oldest_seconds.round(),
        "behind": behind(&lag),
    });
    Ok(desk::page(&app, Some(&ops.0), StatusCode::OK, "ops_audit", view)?)
}

/// How far the counts are behind the entries, in words. A run comes each two minutes, so that much is nothing to speak of.
fn behind(lag: &Lag) -> String {
    let entries = match lag.waiting {
        0 => return "Every entry is counted.".to_owned(),
        1 => "1 entry is not counted yet; it is".to_owned(),
        rollup::MOST_WAITING.. => "More entries than can be looked at are not counted yet; the oldest is".to_owned(),
        some => format!("{some} entries are not counted yet; the oldest is"),
    };
    let age = match lag.oldest_seconds.max(0.0) {
        seconds if seconds < 120.0 => format!("{seconds:.0} seconds"),
        seconds if seconds < 7200.0 => format!("{:.0} minutes", seconds / 60.0),
        seconds => format!("{:.0} hours", seconds / 3600.0),
    };
    let why = if lag.held {
        " A transaction that began before them is still open; they are counted when it ends.".to_owned()
    } else if lag.oldest_seconds > LATE_SECONDS {
        let last = lag.counted_at.format("%Y-%m-%d %H:%M");
        format!(" The last run that counted something was at {last} UTC: look whether the schedule audit_rollup runs.")
    } else {
        " The next run counts them.".to_owned()
    };
    format!("{entries} {age} old.{why}")
}

fn filter_of(asked: &Asked, today: NaiveDate) -> Result<Filter, Problem> {
    let day = |name: &'static str, text: &str, otherwise: NaiveDate| {
        if text.is_empty() {
            return Ok(otherwise);
        }
        text.parse::<NaiveDate>().map_err(|_| Problem::field(name, "Must be a day, as in 2026-11-25."))
    };
    let last = day("to", &asked.to, today)?;
    let first = day("from", &asked.from, last.checked_sub_days(Days::new(DAYS - 1)).unwrap_or(last))?;
    if first > last {
        return Err(Problem::field("from", "Must not be after the last day."));
    }
    if (last - first).num_days() >= MOST_DAYS {
        return Err(Problem::field("from", format!("A chart has {MOST_DAYS} days at most.")));
    }
    let to = last.checked_add_days(Days::new(1)).ok_or_else(|| Problem::field("to", "Is too far ahead."))?;
    let org = match asked.org.as_str() {
        "" => None,
        text => Some(text.parse::<Uuid>().map_err(|_| Problem::field("org", "Must be an organization's id."))?),
    };
    let chosen = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    Ok(Filter { org, from: first, to, action: chosen(&asked.action), outcome: chosen(&asked.outcome) })
}

/// The lists of the form. What is chosen stays in its list, also when there is nothing of it in these days.
fn choices_of(choices: &Choices, asked: &Asked) -> Value {
    let option =
        |value: &str, label: &str, chosen: &str| json!({"value": value, "label": label, "chosen": value == chosen});
    let texts = |known: &[String], chosen: &str| {
        let mut all: Vec<&str> = known.iter().map(String::as_str).collect();
        if !chosen.is_empty() && !all.contains(&chosen) {
            all.push(chosen);
        }
        all.into_iter().map(|text| option(text, text, chosen)).collect::<Vec<_>>()
    };
    let orgs: Vec<Value> = choices
        .orgs
        .iter()
        .map(|(id, name)| {
            option(
                &id.to_string(),
                name.as_deref().unwrap_or(if id.is_nil() { "(platform)" } else { "(unknown)" }),
                &asked.org,
            )
        })
        .collect();
    json!({"orgs": orgs, "actions": texts(&choices.actions, &asked.action), "outcomes": texts(&choices.outcomes, &asked.outcome)})
}

/// A bar for each day: what succeeded, and on top of it what did not.
fn chart(filter: &Filter, days: &[Day]) -> Value {
    let count = (filter.to - filter.from).num_days().max(1);
    let most = days.iter().map(|day| day.succeeded + day.other).max().unwrap_or(0).max(1);
    #[expect(clippy::cast_precision_loss, reason = "pixels of a chart")]
    let (step, unit) = (WIDTH / count as f64, HEIGHT / most as f64);
    #[expect(clippy::cast_precision_loss, reason = "pixels of a chart")]
    let bars: Vec<Value> = days
        .iter()
        .map(|day| {
            let (x, good, bad) = ((day.day - filter.from).num_days() as f64 * step, day.succeeded as f64 * unit, day.other as f64 * unit);
            let place = |number: f64| (number * 100.0).round() / 100.0;
            json!({"day": day.day, "succeeded": day.succeeded, "other": day.other, "x": place(x), "width": place((step * 0.85).max(0.5)),
                "good_y": place(HEIGHT - good), "good": place(good), "bad_y": place(HEIGHT - good - bad), "bad": place(bad)})
        })
        .collect();
    let sum = |of: fn(&Day) -> i64| days.iter().map(of).sum::<i64>();
    json!({"bars": bars, "most": most, "width": WIDTH, "height": HEIGHT, "succeeded": sum(|day| day.succeeded), "other": sum(|day| day.other)})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> NaiveDate {
        text.parse().expect("a day")
    }

    #[test]
    fn without_a_wish_the_last_thirty_days_are_shown() {
        let filter = filter_of(&Asked::default(), day("2026-03-30")).expect("fine");
        assert_eq!((filter.from, filter.to, filter.org), (day("2026-03-01"), day("2026-03-31"), None));
    }

    #[test]
    fn how_far_the_counts_are_behind_is_said_in_words() {
        let lag = |waiting, oldest_seconds, held| Lag {
            waiting,
            oldest_seconds,
            held,
            counted_at: chrono::DateTime::UNIX_EPOCH,
        };
        for (lag, words) in [
            (lag(0, 0.0, false), "Every entry is counted."),
            (lag(1, 7.4, false), "1 entry is not counted yet; it is 7 seconds old. The next run counts them."),
            (
                lag(12, 700.0, true),
                "12 entries are not counted yet; the oldest is 12 minutes old. A transaction that began before them is still open; they are counted when it ends.",
            ),
            (
                lag(9, 9_000.0, false),
                "9 entries are not counted yet; the oldest is 2 hours old. The last run that counted something was at 1970-01-01 00:00 UTC: look whether the schedule audit_rollup runs.",
            ),
        ] {
            assert_eq!(behind(&lag), words);
        }
    }

    #[test]
    fn days_that_make_no_sense_are_refused_by_name() {
        for (from, to) in
            [("2026-03-02", "2026-03-01"), ("2020-01-01", "2026-01-01"), ("yesterday", ""), ("", "9999999-01-01")]
        {
            let asked = Asked { from: from.to_owned(), to: to.to_owned(), ..Asked::default() };
            let problem = filter_of(&asked, day("2026-03-30")).expect_err("refused");
            assert_eq!(problem.status(), 422, "{from} {to}: {problem:?}");
        }
    }

    #[test]
    fn bars_stand_on_the_ground_and_the_highest_reaches_the_top() {
        let filter = filter_of(&Asked::default(), day("2026-03-30")).expect("fine");
        let days = [
            Day { day: day("2026-03-01"), succeeded: 6, other: 2 },
            Day { day: day("2026-03-30"), succeeded: 1, other: 0 },
        ];
        let chart = chart(&filter, &days);
        assert_eq!((&chart["bars"][0]["x"], &chart["bars"][0]["bad_y"]), (&json!(0.0), &json!(0.0)));
        assert_eq!(chart["bars"][0]["good_y"], json!(50.0));
        assert_eq!(chart["bars"][1]["good_y"], json!(175.0));
        assert_eq!((&chart["succeeded"], &chart["other"]), (&json!(7), &json!(2)));
    }
}
