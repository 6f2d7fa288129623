//! Imported FHIR resources become people, prescriptions and dose plans: one transaction each, under the ids of their source.

use chrono_tz::Tz;
use serde_json::Value;
use uuid::Uuid;

use crate::context::Context;
use crate::doses::Timing;
use crate::fhir::{Entry, Identifier, Kind, Link, PrescriptionRecord, PrescriptionStatus, Record};
use crate::ids::{AppointmentId, OrgId};
use crate::store::audit::{self, Actor};
use crate::store::import::{self, Foreign, PersonRow, PrescriptionRow, VisitRow};
use crate::store::organizations::{self, OrganizationRow};
use crate::store::{self, DbError, Scope, Tx};
use crate::tokens::fingerprint;
use crate::visits::{self, MakeJob};

/// Where an import goes, and what its ids belong to.
#[derive(Clone, Debug)]
pub struct Target {
    /// The organization.
    pub org: OrgId,
    /// The system that gave the ids.
    pub source: String,
    /// Who imports.
    pub by: Actor,
    /// Patients hear of visits that were moved or called off.
    pub tell: bool,
}

/// Why a resource did not go in.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// It refers to something that is not there.
    #[error("{0}")]
    Missing(String),
    /// It cannot go in as things are.
    #[error("{0}")]
    Refused(&'static str),
    /// Postgres; nothing of the resource went in.
    #[error("Postgres: {0}")]
    Db(#[from] DbError),
}

/// Stores one resource in one transaction. Returns what was left out, in words. Reminders are marked for planning; the
/// caller has them planned soon when the import is through, and the planner's schedule finds them in any case.
///
/// # Errors
/// [`NotStored`]; nothing of this resource went in then.
pub async fn store(ctx: &Context, target: &Target, entry: &Entry, job: MakeJob) -> Result<Option<String>, NotStored> {
    let mut tx = ctx.begin(Scope::Org(target.org)).await?;
    let kind = entry.record.kind();
    let me = foreign(target, kind, entry.record.source_id().as_str());
    let id = if let Record::Organization(_) = entry.record { target.org.0 } else { tx.new_id::<Uuid>() };
    let now = tx.now();
    let id = import::remember(tx.conn(), me, id, now).await?;
    let mut action = None;
    let (subject_type, left_out) = match &entry.record {
        Record::Organization(record) => {
            let found = organizations::all(tx.conn()).await?.into_iter().find(|row| row.id == target.org);
            let zone = record.zone.map(|zone| zone.name().to_owned()).or(found.map(|row| row.zone));
            let zone = zone.ok_or_else(|| NotStored::Missing("the organization has no zone".into()))?;
            let row = OrganizationRow {
                id: target.org,
                name: record.name.clone(),
                discreet_name: None,
                zone,
                phone: record.phone.clone(),
            };
            organizations::put(tx.conn(), &row, now).await?;
            ("organization", None)
        }
        Record::Practitioner(p) => {
            let row = PersonRow {
                id,
                role: "doctor",
                given: p.given.clone(),
                family: p.family.clone(),
                birth_date: None,
                email: p.email.clone(),
                phone: p.phone.clone(),
                zone: p.zone.map(|zone| zone.name().to_owned()),
                locale: None,
                active: p.active,
                deceased: false,
            };
            import::put_person(tx.conn(), target.org, &row, now).await?;
            ("person", None)
        }
        Record::Patient(p) => {
            let row = PersonRow {
                id,
                role: "patient",
                given: p.given.clone(),
                family: p.family.clone(),
                birth_date: p.birth_date,
                email: p.email.clone(),
                phone: p.phone.clone(),
                zone: p.zone.map(|zone| zone.name().to_owned()),
                locale: p.locale.clone(),
                active: p.active,
                deceased: p.deceased,
            };
            import::put_person(tx.conn(), target.org, &row, now).await?;
            ("person", None)
        }
        Record::Prescription(p) => ("prescription", put_prescription(&mut tx, target, id, p).await?),
        Record::Appointment(a) => {
            let patient =
                person(&mut tx, target, Kind::Patient, &a.patient).await?.ok_or_else(|| missing("patient"))?;
            let doctor = match &a.practitioner {
                Some(link) => person(&mut tx, target, Kind::Practitioner, link).await?,
                None => None,
            };
            let row = VisitRow {
                id,
                patient,
                doctor,
                starts_at: a.start,
                ends_at: a.end,
                status: a.status.as_str().to_owned(),
            };
            action = put_visit(&mut tx, target, me, &row, job).await?;
            let nobody = "kept without a doctor: its practitioner is neither in this file nor imported before";
            ("appointment", (a.practitioner.is_some() && doctor.is_none()).then(|| nobody.to_owned()))
        }
    };
    let identifiers: Vec<(String, String)> = entry.record.identifiers().iter().map(pair).collect();
    import::set_identifiers(tx.conn(), target.org, subject_type, id, &identifiers).await?;
    let noted = audit::Entry {
        org: Some(target.org),
        actor: target.by,
        action: action.unwrap_or(match subject_type {
            "organization" => "organization.imported",
            "person" => "person.imported",
            "prescription" => "prescription.imported",
            _ => "appointment.imported",
        }),
        subject_type,
        subject: id,
        outcome: "success",
        detail: None,
    };
    audit::write(tx.conn(), ctx.ids, &[noted], now).await?;
    tx.commit().await?;
    Ok(left_out)
}

fn pair(identifier: &Identifier) -> (String, String) {
    (identifier.system.clone().unwrap_or_default(), identifier.value.clone())
}

fn foreign<'a>(target: &'a Target, kind: Kind, id: &'a str) -> Foreign<'a> {
    Foreign { org: target.org, source: &target.source, kind: kind.as_str(), id }
}

fn missing(whom: &str) -> NotStored {
    NotStored::Missing(format!("its {whom} is neither in this file nor imported before"))
}

async fn person(tx: &mut Tx, target: &Target, kind: Kind, link: &Link) -> Result<Option<Uuid>, DbError> {
    match link {
        Link::Id(id) => import::known(tx.conn(), foreign(target, kind, id.as_str())).await,
        Link::Identifier(i) => {
            import::by_identifier(tx.conn(), target.org, "person", i.system.as_deref(), &i.value).await
        }
    }
}

/// Stores a visit with its reminders, and says what is noted of it if that is more than that it was imported. Of a visit that is
/// new nothing else is sent: the system that it comes from has told the patient. A later change is one as any other, and the
/// patient hears of it ([`visits::tells`]). A resource that says what it said before changes nothing: what the patient or the
/// clinic did here since then stays.
async fn put_visit(
    tx: &mut Tx,
    target: &Target,
    me: Foreign<'_>,
    row: &VisitRow,
    job: MakeJob,
) -> Result<Option<&'static str>, NotStored> {
    let (id, now) = (AppointmentId(row.id), tx.now());
    let doctor = row.doctor.map(|id| id.to_string()).unwrap_or_default();
    let (starts, ends) = (row.starts_at.to_rfc3339(), row.ends_at.to_rfc3339());
    let said = fingerprint(&[&row.patient.to_string(), &doctor, &starts, &ends, &row.status]);
    let news = import::says_new(tx.conn(), me, &said).await?;
    let before = store::visits::one_to_change(tx.conn(), id).await?;
    if let Some(before) = &before {
        if !news {
            return Ok(None);
        }
        if before.patient.0 != row.patient {
            return Err(NotStored::Refused(
                "it is another patient's than before: call it off there, and let the new one have an id of its own",
            ));
        }
        if store::visits::mail_on_its_way(tx.conn(), id, now - visits::binding()).await? {
            return Err(NotStored::Refused(
                "a mail about it is on its way to the mail server; import it again in a moment",
            ));
        }
    }
    if let Some(doctor) = row.doctor {
        store::visits::lock_doctor(tx.conn(), target.org, doctor.into()).await?;
    }
    import::put_visit(tx.conn(), target.org, row, now).await.map_err(|error| {
        match store::visits::is_taken(&error) {
            true => NotStored::Refused("its practitioner has another appointment at that time"),
            false => error.into(),
        }
    })?;
    let Some(after) = store::visits::one(tx.conn(), id).await? else { return Ok(None) };
    let rules = store::organizations::rules(tx.conn(), target.org).await?.visits;
    let Some(before) = before else {
        visits::enqueue_mails(tx, &after, None, &rules, job).await?;
        return Ok(None);
    };
    if before.sequence == after.sequence {
        return Ok(None);
    }
    let (why, action) = match visits::is_off(&after.status) {
        true => ("the visit is cancelled", "appointment.cancelled"),
        false => ("the visit was moved", "appointment.moved"),
    };
    visits::cancel_older_mails(tx, &before, before.sequence, why).await?;
    let says = visits::tells(&before, &after, now).filter(|_| target.tell);
    visits::enqueue_mails(tx, &after, says, &rules, job).await?;
    Ok(Some(action))
}

async fn put_prescription(
    tx: &mut Tx,
    target: &Target,
    id: Uuid,
    p: &PrescriptionRecord,
) -> Result<Option<String>, NotStored> {
    let patient = person(tx, target, Kind::Patient, &p.patient).await?.ok_or_else(|| missing("patient"))?;
    let prescriber = match &p.prescriber {
        Some(link) => person(tx, target, Kind::Practitioner, link).await?,
        None => None,
    };
    let zone = import::zone_of(tx.conn(), patient).await?.and_then(|zone| zone.parse::<Tz>().ok());
    let zone = zone.ok_or_else(|| NotStored::Missing("neither its patient nor the organization has a zone".into()))?;
    let (timing, left_out) = match p.timing(zone) {
        Ok(timing) => (Some(timing), None),
        Err(problem) => (None, Some(format!("kept without a dose plan: {}: {}", problem.path, problem.reason))),
    };
    let status = match p.status {
        PrescriptionStatus::Active => "active",
        PrescriptionStatus::OnHold | PrescriptionStatus::Draft | PrescriptionStatus::Unknown => "on_hold",
        PrescriptionStatus::Completed => "completed",
        PrescriptionStatus::Cancelled | PrescriptionStatus::EnteredInError | PrescriptionStatus::Stopped => "stopped",
    };
    let meaning = if matches!(timing, Some(Timing::EveryHours { .. })) { "elapsed" } else { "wall_clock" };
    let timing: Option<Value> =
        timing.map(serde_json::to_value).transpose().map_err(|error| DbError::Encode(error.into()))?;
    let row = PrescriptionRow {
        id,
        patient,
        prescriber,
        medicine: p.medicine.clone(),
        dosage: p.dosage_text.clone(),
        timing,
        status,
        meaning,
    };
    let (reminder, now) = (tx.new_id(), tx.now());
    import::put_prescription(tx.conn(), target.org, &row, reminder, now).await?;
    Ok(left_out)
}
