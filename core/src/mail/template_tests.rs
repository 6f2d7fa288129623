//! Every template with samples: what a privacy level forbids appears nowhere, and what makes mail
//! and pages accessible is there.

use std::path::Path;

use chrono::{DateTime, Utc};
use serde_json::json;
use url::Url;

use super::template::SOURCES;
use super::*;

mod accounts;
mod mail;
mod pages;
mod payments;
mod visits;

const CLINIC: &str = "Canaryclinic & Söhne";
const DISCREET: &str = "Canarydiscreet";
const PHONE: &str = "+49 30 5550100";
const PRESCRIBER: &str = "Dr. Canaryprescriber";
const MEDICINE: &str = "Canarymedicine <b>500</b>";
const DOSAGE: &str = "2 canarydosage \"units\"";
const WHEN: &str = "Monday 23 November 2026, 08:00 (Europe/Berlin, UTC+01:00)";

const LEVELS: [PrivacyLevel; 4] =
    [PrivacyLevel::Discreet, PrivacyLevel::WhenWhere, PrivacyLevel::Provider, PrivacyLevel::Medicine];
const STEPS: [ReminderStep; 3] = [ReminderStep::First, ReminderStep::Nudge, ReminderStep::LastCall];

/// What may not appear below a level, in lower case: values, and words that give them away.
const FORBIDDEN_BELOW: [(PrivacyLevel, &[&str]); 3] = [
    (PrivacyLevel::WhenWhere, &["canaryclinic", "5550100", "november", "2026", "08:00", "berlin", "monday", "choice="]),
    (
        PrivacyLevel::Provider,
        &[
            "canaryprescriber",
            "medic",
            "dose",
            "dosage",
            "dosis",
            "drug",
            "pill",
            "tablet",
            "taken",
            "prescri",
            "doctor",
            "treatment",
            "health",
        ],
    ),
    (PrivacyLevel::Medicine, &["canarymedicine", "canarydosage", "500"]),
];

fn facts(level: PrivacyLevel, step: ReminderStep) -> DoseFacts<'static> {
    DoseFacts {
        level,
        step,
        locale: Locale::En,
        clinic_name: CLINIC,
        discreet_name: DISCREET,
        clinic_phone: Some(PHONE),
        due_at: "2026-11-23T07:00:00Z".parse::<DateTime<Utc>>().expect("instant"),
        zone: chrono_tz::Europe::Berlin,
        prescriber: Some(PRESCRIBER),
        medicine: MEDICINE,
        dosage: DOSAGE,
    }
}

fn templates() -> Templates {
    Templates::new().expect("templates that parse")
}

fn reminder(facts: &DoseFacts<'_>) -> Rendered {
    let url = Url::parse("https://clinic.example.org/p/a/t0ken?x=1").expect("url");
    let view = DoseMailView::new(facts, &url);
    templates().render_mail(MEDICATION_REMINDER, &view).expect("a mail")
}

fn assert_nothing_forbidden(level: PrivacyLevel, what: &str, text: &str) {
    let text = text.to_lowercase();
    for (least, words) in FORBIDDEN_BELOW {
        for word in words {
            assert!(level >= least || !text.contains(word), "{word:?} in {what} at {level:?}");
        }
    }
}

fn assert_accessible(what: &str, html: &str) {
    assert_eq!(html.matches("<h1").count(), 1, "{what}: one h1");
    assert!(html.starts_with("<!DOCTYPE html>"), "{what}: doctype first");
    assert!(html.contains("<html lang=\"en\" dir=\"ltr\">"), "{what}: language and direction");
    let title = html.split("<title>").nth(1).and_then(|rest| rest.split("</title>").next());
    assert!(title.is_some_and(|title| !title.trim().is_empty()), "{what}: title");
    assert_eq!(html.matches("<table").count(), html.matches("<table role=\"presentation\"").count(), "{what}");
    assert_eq!(html.matches("<img").count(), 0, "{what}: no pictures");
    for outside in ["@import", "url(", "<link", "<script", "src=\"http", "javascript:", "onclick"] {
        assert!(!html.contains(outside), "{what}: {outside}");
    }
    assert!(html.contains("prefers-color-scheme: dark"), "{what}: dark mode");
}

#[test]
fn errors_name_the_template_and_no_value() {
    let templates = templates();
    let view = json!({"level": "Canarymedicine", "step": 1});
    let error = templates.render_mail(MEDICATION_REMINDER, &view).err().expect("does not fit");
    assert_eq!(error.to_string(), "template mail/medication_reminder/subject.txt does not fit its view");
    let error = templates.render_mail("no_such", &json!({})).err().expect("unknown");
    assert!(matches!(error, TemplateError::Unknown(_)), "{error}");
}

#[test]
fn every_template_on_disk_is_in_the_program() {
    fn files(folder: &Path, root: &Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("folder") {
            let path = entry.expect("entry").path();
            if path.is_dir() {
                files(&path, root, found);
            } else {
                found.push(path.strip_prefix(root).expect("below").to_string_lossy().into_owned());
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../templates");
    let mut found = Vec::new();
    for part in ["mail", "pages"] {
        files(&root.join(part), &root, &mut found);
    }
    let mut listed: Vec<_> = SOURCES.iter().map(|(name, _)| (*name).to_owned()).collect();
    found.sort();
    listed.sort();
    assert_eq!(found, listed);
}
