//! The messages of doses.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::message::{About, Category, Content, Desk, Message, Reached, Recipient};
use crate::doses::dispatch::DoseStep;
use crate::links::DoseLink;
use crate::mail::{DisplayName, DoseFacts, DoseMailView, Locale, MEDICATION_REMINDER, PrivacyLevel, ReminderStep};
use crate::store::DbError;
use crate::store::send::{self, DoseSubject};
use crate::time::Zone;

/// An answer link of a mail lasts so long; the dose itself closes earlier.
const LINK_DAYS: i64 = 3;

/// A dose is due, or was not answered yet.
#[derive(Debug)]
pub struct DoseMessage;

impl Message for DoseMessage {
    type Ask = DoseStep;
    type Subject = DoseSubject;

    const KIND: &'static str = MEDICATION_REMINDER;
    const CATEGORY: Category = Category::Critical;
    const GONE: &'static str = "the dose is no longer planned";

    fn about(ask: &DoseStep) -> About {
        About { org: Some(ask.org), subject: ask.occurrence.0, occurrence: format!("{}/{}", ask.ladder, ask.step) }
    }

    async fn read(conn: &mut PgConnection, asked: &[DoseStep]) -> Result<HashMap<Uuid, DoseSubject>, DbError> {
        let ids: Vec<_> = asked.iter().map(|step| step.occurrence).collect();
        Ok(send::dose_subjects(conn, &ids).await?.into_iter().map(|(id, subject)| (id.0, subject)).collect())
    }

    fn recipient(subject: &DoseSubject) -> Recipient<'_> {
        Recipient { person: subject.patient, address: subject.email.as_deref(), privacy_level: subject.privacy_level }
    }

    fn stale(subject: &DoseSubject, ask: &DoseStep, _now: DateTime<Utc>) -> Option<&'static str> {
        match subject.state.as_str() {
            "taken" => return Some("the dose is taken"),
            "skipped" => return Some("the dose is skipped"),
            "missed" => return Some("the dose is over"),
            _ => {}
        }
        if subject.ladder_at.timestamp() != ask.ladder {
            return Some("the dose was moved or snoozed");
        }
        if subject.step > ask.step + 1 {
            return Some("a newer reminder has taken its place");
        }
        if !subject.reachable {
            return Some("the patient is inactive or deceased");
        }
        if !subject.reminder_active || subject.prescription_status != "active" {
            return Some("the medicine is no longer taken");
        }
        None
    }

    fn content(desk: Desk<'_>, subject: &DoseSubject, ask: &DoseStep, now: DateTime<Utc>) -> Result<Content, String> {
        let zone: Zone = subject.zone.parse().map_err(|_| "its zone is none")?;
        let facts = dose_facts(subject, zone, ask.step);
        let link = DoseLink { org: subject.org, dose: subject.occurrence };
        let page = desk.links.dose_page(link, now + TimeDelta::days(LINK_DAYS)).map_err(|error| error.to_string())?;
        let view = DoseMailView::new(&facts, &page);
        let rendered = desk.templates.render_mail(MEDICATION_REMINDER, &view).map_err(|error| error.to_string())?;
        Ok(Content { from_name: DisplayName::new(view.sender_name()), rendered })
    }

    async fn mark(conn: &mut PgConnection, ended: &[(DoseStep, Reached)], now: DateTime<Utc>) -> Result<(), DbError> {
        let doses: Vec<_> = ended.iter().map(|(step, reached)| (step.occurrence, *reached == Reached::Sent)).collect();
        send::mark_doses(conn, &doses, now).await
    }
}

/// What mail and page of a dose start from; the level is that of a proven address only.
pub fn dose_facts(subject: &DoseSubject, zone: Zone, step: i16) -> DoseFacts<'_> {
    let level = if subject.email_verified {
        PrivacyLevel::try_from(subject.privacy_level).unwrap_or_default()
    } else {
        PrivacyLevel::default()
    };
    DoseFacts {
        level,
        step: ReminderStep::from_index(u8::try_from(step).unwrap_or(u8::MAX)),
        locale: Locale::En,
        clinic_name: &subject.clinic_name,
        discreet_name: subject.discreet_name.as_deref().unwrap_or("Your clinic"),
        clinic_phone: subject.clinic_phone.as_deref(),
        due_at: subject.due_at,
        zone: zone.tz(),
        prescriber: subject.prescriber.as_deref(),
        medicine: &subject.medicine,
        dosage: &subject.dosage,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{OccurrenceId, OrgId, PersonId};

    fn subject(step: i16) -> DoseSubject {
        let nobody = Uuid::nil();
        DoseSubject {
            occurrence: OccurrenceId(nobody),
            org: OrgId(nobody),
            patient: PersonId(nobody),
            due_at: DateTime::UNIX_EPOCH,
            zone: "Europe/Berlin".into(),
            state: "due".into(),
            step,
            ladder_at: DateTime::UNIX_EPOCH,
            reminder_active: true,
            prescription_status: "active".into(),
            medicine: "Examplin".into(),
            dosage: String::new(),
            email: Some("pat@example.org".into()),
            email_verified: true,
            privacy_level: 0,
            reachable: true,
            clinic_name: "Example Clinic".into(),
            discreet_name: None,
            clinic_phone: None,
            prescriber: None,
        }
    }

    #[test]
    fn of_all_steps_of_a_dose_only_the_newest_may_be_sent() {
        for next in 1..10 {
            let dose = subject(next);
            let may = |step| {
                let asked = DoseStep { org: dose.org, occurrence: dose.occurrence, ladder: 0, step };
                DoseMessage::stale(&dose, &asked, DateTime::UNIX_EPOCH).is_none()
            };
            assert_eq!((0..next).filter(|step| may(*step)).collect::<Vec<_>>(), [next - 1]);
        }
    }
}
