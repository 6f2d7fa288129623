//! A believable clinic of any size. Every person is invented, every address ends in example.org.

use std::collections::BTreeSet;

use chrono::{Datelike, DurationRound, NaiveTime, TimeDelta, Timelike, Weekday};
use clap::{Args, Subcommand};
use pulsecal_core::accounts;
use pulsecal_core::clinic::Holiday;
use pulsecal_core::context::Context;
use pulsecal_core::doses::{Days, Timing, planner};
use pulsecal_core::ids::{OrgId, PersonId, RoomId};
use pulsecal_core::process::Failure;
use pulsecal_core::store::Scope;
use pulsecal_core::store::chat;
use pulsecal_core::store::import::{PersonRow, put_person};
use pulsecal_core::store::organizations::{self, OrganizationRow};
use pulsecal_core::store::seed::{self, DemoLadder, DemoPatient};
use pulsecal_core::time::Zone;
use pulsecal_core::time::local::resolve;
use pulsecal_core::tokens;
use pulsecal_core::visits::{self, Booking, Open, VisitError};
use pulsecal_jobs::AppointmentMail;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::output::Output;
use crate::setup::{context, db, operator};

/// What to load.
#[derive(Subcommand)]
pub enum Seed {
    /// A demonstration clinic with patients, medicines and dose plans; the first dose falls due within the minute.
    Demo(Demo),
}

/// How the clinic is to be.
#[derive(Args)]
pub struct Demo {
    /// How many patients, 1 to 2,000,000.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=2_000_000))]
    patients: u32,
    /// Every patient's first dose falls due in so many seconds, all at one instant: for measuring.
    #[arg(long)]
    due_in: Option<i64>,
    /// Seconds after which nudges come, with commas between; none when empty.
    #[arg(long, default_value = "900,1800")]
    nudge_after: String,
    /// Seconds after which a dose is missed.
    #[arg(long, default_value_t = 3600)]
    window: i32,
    /// Only store the reminders; the planner makes the doses.
    #[arg(long)]
    unplanned: bool,
}

const GIVEN: [&str; 24] = [
    "Amina", "Björn", "Chiara", "Dmitri", "Elena", "Farid", "Grace", "Hiroshi", "Ines", "Jonas", "Kavita", "Liam",
    "Maren", "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samuel", "Tove", "Ursula", "Viktor", "Wanjiru", "Zofia",
];
const FAMILY: [&str; 20] = [
    "Abbot",
    "Bergström",
    "Castellan",
    "Dufour",
    "Eriksen",
    "Fairweather",
    "Gallagher",
    "Hoffmann",
    "Ivanova",
    "Jansen",
    "Kowalski",
    "Lindqvist",
    "Moreau",
    "Novak",
    "Okafor",
    "Petrov",
    "Quispe",
    "Rossi",
    "Schneider",
    "Tanaka",
];
const MEDICINES: [(&str, &str); 8] = [
    ("Metformin 500 mg", "1 tablet with food"),
    ("Ramipril 5 mg", "1 tablet"),
    ("Levothyroxine 75 µg", "1 tablet, half an hour before breakfast"),
    ("Amoxicillin 500 mg", "1 capsule"),
    ("Atorvastatin 20 mg", "1 tablet"),
    ("Bisoprolol 2.5 mg", "1 tablet"),
    ("Methotrexate 10 mg", "1 tablet, once a week"),
    ("Insulin glargine", "14 units under the skin"),
];
const ZONES: [&str; 6] = [
    "Europe/Berlin",
    "America/New_York",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Pacific/Auckland",
];
const CLINIC_ZONE: &str = "Europe/Berlin";

/// Runs `pulsecal seed`.
///
/// # Errors
/// Postgres.
pub async fn run(what: Seed, out: Output) -> Result<(), Failure> {
    let Seed::Demo(demo) = what;
    let ctx = context()?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let now = tx.now();
    let clinic = OrganizationRow {
        id: tx.new_id::<OrgId>(),
        name: "Lindenhof Family Practice".into(),
        discreet_name: Some("Lindenhof".into()),
        zone: CLINIC_ZONE.into(),
        phone: Some("+49 30 555 0100".into()),
    };
    organizations::put(tx.conn(), &clinic, now).await.map_err(db)?;
    if let Some(mut details) = organizations::one_to_change(tx.conn(), clinic.id).await.map_err(db)? {
        details.address = Some("Lindenstraße 12, 10969 Berlin".into());
        details.holidays = holidays(now.year());
        details.meeting_url_template = Some("https://meet.example.org/lindenhof/{room}".into());
        organizations::save(tx.conn(), &mut details, now).await.map_err(db)?;
    }
    let staff = |id: Uuid, role, given: &str, family: &str| PersonRow {
        id,
        role,
        given: given.into(),
        family: family.into(),
        birth_date: None,
        email: Some(format!("{}@lindenhof.example.org", family.to_lowercase())),
        phone: None,
        zone: None,
        locale: None,
        active: true,
        deceased: false,
    };
    let (doctor, nurse, admin, ops) =
        (tx.new_id::<Uuid>(), tx.new_id::<Uuid>(), tx.new_id::<Uuid>(), tx.new_id::<Uuid>());
    put_person(tx.conn(), clinic.id, &staff(doctor, "doctor", "Dr Miriam", "Sommer"), now).await.map_err(db)?;
    put_person(tx.conn(), clinic.id, &staff(nurse, "nurse", "Tom", "Ahlers"), now).await.map_err(db)?;
    put_person(tx.conn(), clinic.id, &staff(admin, "admin", "Ingrid", "Holm"), now).await.map_err(db)?;
    put_person(tx.conn(), clinic.id, &staff(ops, "ops", "Robin", "Keller"), now).await.map_err(db)?;
    let expires_at = now + TimeDelta::days(30);
    let scopes = tokens::Scopes::all();
    let token =
        tokens::mint(&mut tx, operator(), clinic.id, PersonId(nurse), &scopes, expires_at, "demo").await.map_err(db)?;
    let admin_token =
        tokens::mint(&mut tx, operator(), clinic.id, PersonId(admin), &scopes, expires_at, "demo").await.map_err(db)?;
    let ops_token =
        tokens::mint(&mut tx, operator(), clinic.id, PersonId(ops), &scopes, expires_at, "demo").await.map_err(db)?;
    tx.commit().await.map_err(db)?;
    let sign_in_of = async |person: Uuid, family: &str| {
        let email = format!("{}@lindenhof.example.org", family.to_lowercase());
        give_password(&ctx, PersonId(person), &email).await.map(|password| (email, password))
    };
    let (nurses, opss) = (sign_in_of(nurse, "Ahlers").await?, sign_in_of(ops, "Keller").await?);
    let (admins, doctors) = (sign_in_of(admin, "Holm").await?, sign_in_of(doctor, "Sommer").await?);

    let nudges = demo.nudge_after.split(',').filter(|text| !text.is_empty()).map(|text| text.trim().parse::<i32>());
    let nudges = nudges.collect::<Result<Vec<_>, _>>();
    let nudges = nudges.map_err(|_| Failure::new("--nudge-after: must be seconds, as in 900,1800"))?;
    let ladder = DemoLadder { nudge_after_seconds: nudges, window_seconds: demo.window };
    let (mut made, mut people, mut first) = (0, Vec::new(), None);
    while made < demo.patients {
        let end = demo.patients.min(made + 2000);
        let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
        let batch = (made..end).map(|i| patient(&ctx, &demo, i, now)).collect::<Result<Vec<_>, _>>();
        let batch = batch.map_err(|error| Failure::new(error.to_string()))?;
        first = first.or_else(|| batch.first().map(|patient| (PersonId(patient.person), patient.email.clone())));
        people.extend(
            batch.iter().take(VISITS.len().saturating_sub(people.len())).map(|patient| PersonId(patient.person)),
        );
        seed::patients(tx.conn(), clinic.id, doctor, &batch, &ladder, now).await.map_err(db)?;
        tx.commit().await.map_err(db)?;
        made = end;
    }
    if demo.due_in.is_none() && !demo.unplanned {
        book_visits(&ctx, clinic.id, PersonId(doctor), &people).await?;
        talk(&ctx, clinic.id, [doctor, nurse, admin].map(PersonId)).await?;
    }
    // From the moment that the doses' times were counted from: one that is due in a second is planned, however long loading took.
    while !demo.unplanned && planner::plan_due_at(&ctx, now, 500).await.map_err(db)?.reminders > 0 {}
    let secret = token.expose();
    let mut sign_ins = json!([
        {"who": "nurse (at /sign-in; API token with all scopes)", "organization": clinic.id, "person": nurse, "role": "nurse",
            "email": nurses.0, "password": nurses.1, "token": secret},
        {"who": "administrator (at /sign-in; API token with all scopes)", "organization": clinic.id, "person": admin, "role": "admin",
            "email": admins.0, "password": admins.1, "token": admin_token.expose()},
        {"who": "ops (at /sign-in, for /ops)", "organization": clinic.id, "person": ops, "role": "ops",
            "email": opss.0, "password": opss.1, "token": ops_token.expose()},
        {"who": "doctor (at /sign-in)", "organization": clinic.id, "person": doctor, "role": "doctor", "email": doctors.0, "password": doctors.1},
    ]);
    if let (Some((patient, email)), Value::Array(all)) = (first, &mut sign_ins) {
        let password = give_password(&ctx, patient, &email).await?;
        all.push(json!({"who": "patient (at /sign-in)", "organization": clinic.id, "person": patient, "role": "patient", "email": email, "password": password}));
    }
    if let Ok(path) = std::env::var("PULSECAL_SIGN_INS") {
        std::fs::write(&path, sign_ins.to_string())
            .map_err(|error| Failure::new(format!("cannot write the sign-ins: {error}")))?;
    }
    let sentence = format!(
        "A clinic with {} patients. API token of its nurse: {secret}\nAt /sign-in, for /ops: {}",
        demo.patients,
        ops_token.expose()
    );
    out.one(&json!({"organization": clinic.id, "patients": demo.patients, "sign_ins": sign_ins}), &sentence);
    Ok(())
}

/// An account with a password that is printed. None where SECRET_KEY is not set: the API would not know the password.
async fn give_password(ctx: &Context, person: PersonId, email: &str) -> Result<Option<String>, Failure> {
    if std::env::var("SECRET_KEY").unwrap_or_default().is_empty() {
        return Ok(None);
    }
    let letters = ctx.ids.secret()[..12].iter().map(|byte| char::from(b'a' + byte % 26)).collect::<Vec<_>>();
    let password = letters.chunks(4).map(String::from_iter).collect::<Vec<_>>().join("-");
    let hash = ctx.passwords.hash(ctx.ids, &password).await.map_err(|error| Failure::new(error.to_string()))?;
    let mut tx = ctx.begin(Scope::Platform).await.map_err(db)?;
    let found = accounts::found(&mut tx, operator(), email, &hash, &[person]).await.map_err(db)?;
    if found {
        tx.commit().await.map_err(db)?;
    }
    Ok(found.then_some(password))
}

/// The visits of the first patients, as (days ahead, hour of the clinic's clock, kind, online); the one of today begins in an hour or two. Their confirmations, with
/// invitations where the patient's privacy level allows them, are sent at once.
const VISITS: [(u64, u32, &str, bool); 7] = [
    (0, 0, "follow_up", false),
    (1, 9, "follow_up", false),
    (2, 10, "new", true),
    (3, 14, "check_up", false),
    (5, 11, "follow_up", true),
    (8, 15, "procedure", false),
    (13, 9, "other", false),
];

async fn book_visits(ctx: &Context, org: OrgId, doctor: PersonId, people: &[PersonId]) -> Result<(), Failure> {
    let zone: Zone = CLINIC_ZONE.parse().map_err(|_| Failure::new("the clinic's zone is none"))?;
    let today = zone.local(ctx.clock.now()).date();
    let soon = (ctx.clock.now() + TimeDelta::hours(2)).duration_trunc(TimeDelta::hours(1));
    let soon = soon.map_err(|error| Failure::new(error.to_string()))?;
    for (patient, (days, hour, kind, online)) in people.iter().zip(VISITS) {
        let time = NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or(NaiveTime::MIN);
        let starts_at = match days {
            0 => soon,
            _ => resolve(zone, (today + chrono::Days::new(days)).and_time(time)),
        };
        let booking = Booking {
            patient: *patient,
            doctor,
            starts_at,
            ends_at: starts_at + TimeDelta::minutes(30),
            zone: None,
            kind: kind.into(),
            mode: if online { "virtual" } else { "in_person" }.into(),
            place: (!online).then(|| "Lindenstraße 12, first floor".into()),
            meeting_url: None,
            requested: false,
        };
        let refused = |error: VisitError| Failure::new(format!("cannot book a visit: {error}"));
        let Open { tx, .. } = visits::book(ctx, org, booking, AppointmentMail::make).await.map_err(refused)?;
        tx.commit().await.map_err(db)?;
    }
    Ok(())
}

/// What staff said in a room.
async fn talk(ctx: &Context, org: OrgId, [doctor, nurse, admin]: [PersonId; 3]) -> Result<(), Failure> {
    let mut tx = ctx.begin(Scope::Org(org)).await.map_err(db)?;
    let (id, now) = (tx.new_id::<RoomId>(), tx.now());
    chat::insert_room(tx.conn(), (org, admin), id, "Front desk and practice", now).await.map_err(db)?;
    chat::set_participants(tx.conn(), (org, id), &[doctor, nurse, admin], now).await.map_err(db)?;
    for (who, text) in [
        (admin, "The blood pressure monitor of room 2 is back from repair."),
        (nurse, "Thank you, I have put it on the trolley."),
        (doctor, "Tomorrow's first visit is online, so room 2 is free until ten."),
    ] {
        let Some(room) = chat::room_to_change(tx.conn(), who, id).await.map_err(db)? else { continue };
        chat::say(tx.conn(), (org, who), &room, text.to_owned(), now).await.map_err(db)?;
    }
    tx.commit().await.map_err(db)
}

/// The days of a year and of the next on which the clinic is closed.
fn holidays(year: i32) -> Vec<Holiday> {
    let days = [(1, 1, "New Year's Day"), (5, 1, "Labour Day"), (10, 3, "German Unity Day"), (12, 25, "Christmas Day")];
    let all = [year, year + 1].into_iter().flat_map(|year| days.map(|(month, day, name)| (year, month, day, name)));
    let holiday = |(year, month, day, name): (i32, u32, u32, &str)| {
        Some(Holiday { day: chrono::NaiveDate::from_ymd_opt(year, month, day)?, name: name.into() })
    };
    all.filter_map(holiday).collect()
}

fn patient(
    ctx: &Context,
    demo: &Demo,
    i: u32,
    now: chrono::DateTime<chrono::Utc>,
) -> Result<DemoPatient, serde_json::Error> {
    let pick = |of: usize, salt: u32| {
        usize::try_from(i.wrapping_mul(2_654_435_761).wrapping_add(salt.wrapping_mul(40_503)) >> 7).unwrap_or(0) % of
    };
    let (given, family) = (GIVEN[pick(GIVEN.len(), 1)], FAMILY[pick(FAMILY.len(), 2)]);
    let (medicine, dosage) = MEDICINES[pick(MEDICINES.len(), 3)];
    let zone = ZONES[pick(ZONES.len(), 4)];
    let tz: chrono_tz::Tz = zone.parse().unwrap_or(chrono_tz::UTC);
    let soon = now + TimeDelta::seconds(demo.due_in.unwrap_or(20 + i64::from(i) * 30));
    let local = soon.with_timezone(&tz).naive_local();
    let start = local.date();
    let soon = local.time().with_nanosecond(0).unwrap_or(NaiveTime::MIN);
    let at = |hour| NaiveTime::from_hms_opt(hour, 0, 0).unwrap_or(NaiveTime::MIN);
    let (days, times) = match (demo.due_in, i % 6) {
        (Some(_), _) => (Days::Day, BTreeSet::from([soon])),
        (None, 0 | 1) => (Days::Day, BTreeSet::from([soon, at(8), at(20)])),
        (None, 2) => (Days::Weekdays { on: vec![Weekday::Mon, Weekday::Wed, Weekday::Fri] }, BTreeSet::from([at(8)])),
        (None, 3) => (Days::NthDay { n: std::num::NonZeroU16::MIN.saturating_add(2) }, BTreeSet::from([at(9)])),
        _ => (Days::Day, BTreeSet::from([at(8), at(14), at(20)])),
    };
    let elapsed = demo.due_in.is_none() && i % 6 == 5;
    let timing = if elapsed {
        Timing::EveryHours { hours: std::num::NonZeroU16::MIN.saturating_add(7), start, first: soon, end: None }
    } else {
        Timing::TimesOfDay { times, days, start, end: None }
    };
    Ok(DemoPatient {
        person: ctx.ids.new_id(),
        prescription: ctx.ids.new_id(),
        reminder: ctx.ids.new_id(),
        given: given.into(),
        family: family.into(),
        email: format!("patient{i}@patients.example.org"),
        zone: (zone != CLINIC_ZONE).then(|| zone.to_owned()),
        privacy_level: i16::try_from((i + 3) % 4).unwrap_or(0),
        medicine: medicine.into(),
        dosage: dosage.into(),
        timing: serde_json::to_value(&timing)?,
        meaning: if elapsed { "elapsed" } else { "wall_clock" }.into(),
    })
}
