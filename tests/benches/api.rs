//! What the API does a second at a clinic of 100,000 patients: listing a doctor's day, reading a patient, booking a visit with its
//! jobs and its audit entry; beside a bare axum handler with one query by primary key, in the same run and in turn.
//!
//! `./dev bench api -- --patients 100000 --connections 16 --seconds 4 --rounds 3`
//!
//! This program starts itself again to be the bare handler.

#[expect(dead_code, reason = "each bench uses a part of what they share")]
mod support;

use std::net::SocketAddr;
use std::process::{Command, ExitCode};
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use pulsecal_tests::big_clinic::{BigClinic, DOCTORS};
use pulsecal_tests::processes::Process;
use serde::Serialize;
use serde_json::json;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use uuid::Uuid;

use support::bed::{Bed, START_LIMIT};
use support::load::{Load, drive, pace};
use support::options::Options;
use support::report::{Report, percentile};
use support::usage;

/// Connections to Postgres of the bare handler: as many as the API's.
const POOL: u32 = 16;
/// A token of the doctor who asks.
const TOKEN: &str = "pc_live_benchbenchbenchbenchbenchbenchbenchbenchben";
const SCOPES: [&str; 3] = ["patients:read", "appointments:read", "appointments:write"];
const READ_AIM: f64 = 1.5;
const BOOKING_AIM: f64 = 4.0;
const P99_AIM: f64 = 5.0;
/// Names the database to the bare handler.
const DATABASE: &str = "PULSECAL_BENCH_DATABASE";

fn main() -> ExitCode {
    if std::env::args().nth(1).as_deref() == Some("bare") {
        support::block_on(bare());
        return ExitCode::SUCCESS;
    }
    let options = Options::read(&["--patients", "--connections", "--seconds", "--rounds"]);
    let span = Duration::from_secs(options.value("--seconds", 4));
    let connections = options.value("--connections", 16);
    support::block_on(bench(options.value("--patients", 100_000), connections, span, options.value("--rounds", 3)));
    ExitCode::SUCCESS
}

/// What the bare handler shows: as many columns as the API reads of a patient.
#[derive(Serialize, sqlx::FromRow)]
struct Bare {
    person_id: Uuid,
    given_name: String,
    family_name: String,
    birth_date: Option<NaiveDate>,
    email: Option<String>,
    phone: Option<String>,
    zone: Option<String>,
    locale: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

/// The yardstick: the least that an axum handler can do with Postgres.
#[expect(clippy::print_stdout, reason = "the bench waits for this line")]
async fn bare() {
    let url = std::env::var(DATABASE).expect("the bench names the database");
    let pool = PgPoolOptions::new().max_connections(POOL).connect(&url).await.expect("Postgres answers");
    let one = async |State(pool): State<PgPool>, Path(id): Path<Uuid>| {
        let row = sqlx::query_as::<_, Bare>(
            "SELECT person_id, given_name, family_name, birth_date, email, phone, zone, locale, created_at, updated_at, version
             FROM people WHERE person_id = $1",
        );
        match row.bind(id).fetch_optional(&pool).await {
            Ok(Some(row)) => Ok(Json(row)),
            Ok(None) => Err(StatusCode::NOT_FOUND),
            Err(_) => Err(StatusCode::INTERNAL_SERVER_ERROR),
        }
    };
    let router = Router::new().route("/people/{id}", get(one)).with_state(pool);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("bare: ready address={}", listener.local_addr().expect("an address"));
    axum::serve(listener, router).await.expect("served");
}

/// A server under load.
struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    async fn ready(process: Process, line: &str) -> Self {
        let line = process.wait_line(line, START_LIMIT).await;
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.and_then(|text| text.trim_matches('"').parse().ok());
        Self { process, address: address.unwrap_or_else(|| panic!("no address in {line:?}")) }
    }
}

/// What one kind of request came to in all rounds.
#[derive(Default)]
struct Sum {
    rates: Vec<f64>,
    waits: Vec<f64>,
    answered: f64,
    own_cpu: f64,
    all_cpu: f64,
}

impl Sum {
    fn add(&mut self, load: Load, own_cpu: f64, all_cpu: f64) {
        self.rates.push(load.rate());
        self.answered += load.rate() * load.seconds;
        self.waits.extend(load.waits);
        self.own_cpu += own_cpu;
        self.all_cpu += all_cpu;
    }
}

async fn bench(patients: i32, connections: usize, span: Duration, rounds: usize) {
    let bed = Bed::open().await;
    let mut report = Report::new("api", &bed).await;
    report.fact("patients", patients);
    report.fact("connections", connections);
    report.fact(
        "aims",
        "a read costs at most 1.5 times the bare handler, a booking at most 4 times; p99 at most 5 times p50",
    );
    let clinic = BigClinic::load(&bed.pool, patients).await;
    add_token(&bed, clinic).await;
    bed.settle().await;
    let bare = {
        let mut command = Command::new(std::env::current_exe().expect("a bench knows its own file"));
        let url = bed.env(&[]).into_iter().find(|(name, _)| name == "DATABASE_URL").expect("the bed has one").1;
        command.arg("bare").env(DATABASE, url);
        Server::ready(Process::spawn_command("bare", command), "bare: ready").await
    };
    let env = [("BIND", "127.0.0.1:0"), ("RATE_LIMITS", "address=100000,caller=100000")];
    let api = Server::ready(Process::spawn("pulsecal-api", bed.env(&env)), "api: ready").await;

    let day = bed.clock.now().date_naive() + Days::new(1);
    let next_day = day + Days::new(1);
    let booked_from = (day + Days::new(120)).and_hms_opt(0, 0, 0).expect("midnight").and_utc();
    let get = |path: String| {
        format!("GET {path} HTTP/1.1\r\nHost: bench.example.org\r\nAuthorization: Bearer {TOKEN}\r\n\r\n")
    };
    let patient = |i: usize| clinic.patient(i32::try_from(i * 7919 % 1_000_000_007).unwrap_or(0) % patients);
    let doctor = |i: usize| clinic.doctor(i32::try_from(i).unwrap_or(0) % DOCTORS);
    let book = |i: usize| {
        let slot = i32::try_from(i).unwrap_or(0) / DOCTORS;
        let starts = booked_from + TimeDelta::minutes(20) * slot;
        let body = json!({"patient_id": patient(i), "doctor_id": doctor(i), "starts_at": starts, "ends_at": starts + TimeDelta::minutes(20)}).to_string();
        format!(
            "POST /v1/appointments HTTP/1.1\r\nHost: bench.example.org\r\nAuthorization: Bearer {TOKEN}\r\n\
             Idempotency-Key: bench-{i}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let list =
        |i: usize| get(format!("/v1/appointments?from={day}T00:00:00Z&to={next_day}T00:00:00Z&doctor={}", doctor(i)));
    type Request<'a> = &'a (dyn Fn(usize) -> String + Sync);
    let kinds: [(&str, &Server, u16, f64, Request<'_>); 4] = [
        ("bare handler, one row by key", &bare, 200, f64::NAN, &|i| get(format!("/people/{}", patient(i)))),
        ("read a patient", &api, 200, READ_AIM, &|i| get(format!("/v1/patients/{}", patient(i)))),
        ("list a doctor's day", &api, 200, READ_AIM, &list),
        ("book a visit", &api, 201, BOOKING_AIM, &book),
    ];
    let numbers = kinds.each_ref().map(|_| AtomicUsize::new(0));
    let mut sums = kinds.each_ref().map(|_| Sum::default());
    for round in 0..=rounds {
        for (place, (_, server, status, _, request)) in kinds.iter().enumerate() {
            // The first round is for caches, plans and connections.
            let span = if round == 0 { span / 4 } else { span };
            let servers = || bed.postgres_cpu() + bed.redis_cpu();
            let (own, others) = (usage::cpu_seconds(server.process.pid()), servers());
            let load = drive(server.address, connections, span, &numbers[place], *status, request).await;
            let own = usage::cpu_seconds(server.process.pid()) - own;
            if round > 0 {
                sums[place].add(load, own, own + servers() - others);
            }
        }
    }
    let median = |rates: &[f64]| {
        percentile(
            &{
                let mut sorted = rates.to_vec();
                sorted.sort_by(f64::total_cmp);
                sorted
            },
            0.5,
        )
    };
    let micros = |cpu: f64, sum: &Sum| cpu / sum.answered * 1e6;
    let (yard_rate, yard_cpu) = (median(&sums[0].rates), micros(sums[0].all_cpu, &sums[0]));
    for ((what, _, _, aim, _), mut sum) in kinds.into_iter().zip(sums) {
        sum.waits.sort_by(f64::total_cmp);
        let [half, high] = [0.5, 0.99].map(|share| percentile(&sum.waits, share));
        let (rate, cpu) = (median(&sum.rates), micros(sum.all_cpu, &sum));
        let cost = yard_rate / rate;
        report.row([
            ("request", json!(what)),
            ("a second", json!(rate)),
            ("times the bare", json!(cost)),
            ("aim", if aim.is_nan() { json!("") } else { json!(aim) }),
            ("p50 ms", json!(half)),
            ("p99 ms", json!(high)),
            ("p99 over p50", json!(high / half)),
            ("CPU µs", json!(cpu)),
            ("of it its own", json!(micros(sum.own_cpu, &sum))),
            ("CPU, times the bare", json!(cpu / yard_cpu)),
            ("within", if aim.is_nan() { json!("") } else { json!(cost <= aim && high / half <= P99_AIM) }),
        ]);
    }
    report.fact(
        "visits_booked",
        bed.count("SELECT count(*) FROM appointments WHERE starts_at > now() + interval '100 days'").await,
    );
    let read = |i: usize| get(format!("/v1/patients/{}", patient(i)));
    flooded(&mut report, api.address, span, &read).await;
    report.finish();
}

/// How long reads of a patient take, 200 a second, while 200 passwords a second are tried, each for another account and from another
/// address, so that no limit stops them; beside the same reads without. Three times in turn.
async fn flooded(report: &mut Report, api: SocketAddr, span: Duration, read: &(dyn Fn(usize) -> String + Sync)) {
    let try_password = |i: usize| {
        let form = format!("email=nobody-{i}%40example.org&password=three+wrong+words&next=");
        format!(
            "POST /sign-in HTTP/1.1\r\nHost: bench.example.org\r\nX-Forwarded-For: 10.{}.{}.{}\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
            i / 65_536 % 256,
            i / 256 % 256,
            i % 256,
            form.len()
        )
    };
    let (mut quiet, mut beside) = (Vec::new(), Vec::new());
    let mut statuses = std::collections::BTreeMap::<u16, usize>::new();
    for _ in 0..3 {
        quiet.extend(pace(api, 8, 200, span, read).await.waits);
        let (reads, tries) = tokio::join!(pace(api, 8, 200, span, read), pace(api, 64, 200, span, try_password));
        beside.extend(reads.waits);
        assert_eq!(reads.statuses.keys().copied().collect::<Vec<_>>(), [200], "reads are answered all the same");
        for (status, count) in tries.statuses {
            *statuses.entry(status).or_default() += count;
        }
    }
    let shares = |waits: &mut Vec<f64>| {
        waits.sort_by(f64::total_cmp);
        [0.5, 0.99].map(|share| percentile(waits, share))
    };
    let ([half, high], [half_beside, high_beside]) = (shares(&mut quiet), shares(&mut beside));
    report.fact("flood: 200 passwords a second were answered with", json!(statuses));
    report.fact("flood: reads without it, p50 and p99 in ms", json!([half, high]));
    report.fact("flood: reads beside it, p50 and p99 in ms", json!([half_beside, high_beside]));
    report.fact("flood: p99, times that without it (aim 2)", high_beside / high);
}

async fn add_token(bed: &Bed, clinic: BigClinic) {
    sqlx::query(
        "INSERT INTO api_tokens (token_id, org_id, person_id, token_hash, scopes, created_at, expires_at)
         VALUES (gen_random_uuid(), $1, $2, sha256(convert_to($3, 'UTF8')), $4, now(), now() + interval '1 day')",
    )
    .bind(clinic.org)
    .bind(clinic.doctor(0))
    .bind(TOKEN)
    .bind(SCOPES.map(str::to_owned).to_vec())
    .execute(&bed.pool)
    .await
    .expect("a token");
}
