//! `/p/payments`: what a patient paid, is to pay, and got back.

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use pulsecal_core::money::Currency;
use pulsecal_core::store::Tx;
use pulsecal_core::store::payments::{self, Order, Payment, PaymentFilter};
use serde_json::{Value, json};

use super::own;
use crate::app::App;
use crate::pages::desk;
use crate::pages::session::SignedIn;
use crate::problem::Problem;

/// So many payments are shown.
const MOST: i64 = 200;

pub(super) fn router() -> Router<App> {
    Router::new().route("/p/payments", get(show))
}

/// The patient's own payments, newest first.
pub(super) async fn of_own(tx: &mut Tx, person: &SignedIn, most: i64) -> Result<Vec<Payment>, Problem> {
    let filter = PaymentFilter { patient: Some(person.person), ..PaymentFilter::default() };
    Ok(payments::list(tx.conn(), person.org, filter, Order::NewestCreated, None, most).await?)
}

async fn show(State(app): State<App>, person: SignedIn) -> Result<Response, Problem> {
    let mut tx = person.look(&app).await?;
    let (_, zone) = own(&mut tx, &person).await?;
    let rows = of_own(&mut tx, &person, MOST + 1).await?;
    person.saw(&app, tx, None, [person.person]).await?;
    let shown = rows.iter().take(usize::try_from(MOST).unwrap_or(usize::MAX));
    let lines: Vec<Value> = shown
        .map(|row| {
            let written = |amount: i64| match row.currency.parse::<Currency>() {
                Ok(currency) => currency.written(amount),
                Err(_) => format!("{amount} {}", row.currency),
            };
            let (state, tone) = state_words(&row.state);
            json!({
                "day": zone.local(row.completed_at.unwrap_or(row.created_at)).format("%-d %B %Y").to_string(),
                "kind": kind_words(&row.kind),
                "amount": written(row.amount),
                "covered": (row.covered > 0).then(|| written(row.covered)),
                "refunded": (row.refunded > 0).then(|| written(row.refunded)),
                "due": row.due_on.filter(|_| row.state == "pending").map(|day| day.format("%-d %B %Y").to_string()),
                "state": state,
                "tone": tone,
            })
        })
        .collect();
    let more = rows.len() > lines.len();
    let view = json!({"at": "/p/payments", "payments": lines, "more": more});
    desk::page(&app, Some(&person), StatusCode::OK, "patient_payments", view)
}

fn kind_words(kind: &str) -> &'static str {
    match kind {
        "consultation" => "Consultation",
        "procedure" => "Procedure",
        "medicine" => "Medicine",
        _ => "Payment",
    }
}

fn state_words(state: &str) -> (&'static str, &'static str) {
    match state {
        "pending" => ("to be paid", "mid"),
        "processing" => ("on its way", "mid"),
        "completed" => ("paid", "good"),
        "failed" => ("not paid", "bad"),
        "cancelled" => ("no longer asked for", "mid"),
        "partly_refunded" => ("a part given back", "good"),
        _ => ("given back", "good"),
    }
}

/// A payment, for the file of all that is held of a patient.
pub(super) fn of_payment(row: &Payment) -> Value {
    json!({
        "kind": row.kind,
        "method": row.method,
        "currency": row.currency,
        "amount": row.amount,
        "covered": row.covered,
        "refunded": row.refunded,
        "due_on": row.due_on,
        "state": row.state,
        "reference": row.reference,
        "failed_reason": row.failed_reason,
        "completed_at": row.completed_at,
        "created_at": row.created_at,
    })
}
