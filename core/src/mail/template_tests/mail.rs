//! The reminder mail at every level and step.

use super::*;

#[test]
fn mail_never_shows_what_the_level_forbids() {
    for level in LEVELS {
        for step in STEPS {
            let mail = reminder(&facts(level, step));
            let what = format!("{step:?}");
            assert_nothing_forbidden(level, &format!("subject of {what}"), &mail.subject);
            assert_nothing_forbidden(level, &format!("text of {what}"), &mail.text);
            assert_nothing_forbidden(level, &format!("html of {what}"), &mail.html);
        }
    }
}

#[test]
fn mail_shows_all_that_the_level_allows_in_both_parts() {
    for step in STEPS {
        for level in LEVELS {
            let mail = reminder(&facts(level, step));
            let in_both = |value: &str, escaped: &str| {
                assert!(mail.text.contains(value), "{value} missing in text at {level:?}");
                assert!(mail.html.contains(escaped), "{value} missing in html at {level:?}");
            };
            if level == PrivacyLevel::Discreet {
                in_both(DISCREET, DISCREET);
                in_both("https://clinic.example.org/p/a/t0ken?x=1", "p/a/t0ken?x=1");
                assert!(mail.subject.contains(DISCREET));
                continue;
            }
            in_both(CLINIC, "Canaryclinic &amp; Söhne");
            in_both(PHONE, PHONE);
            // One formatter: subject, text and HTML say the same moment.
            in_both(WHEN, WHEN);
            assert!(mail.subject.contains(WHEN), "{}", mail.subject);
            for choice in ["done", "skip", "later"] {
                in_both(&format!("?x=1&choice={choice}"), &format!("?x=1&amp;choice={choice}"));
            }
            if level >= PrivacyLevel::Provider {
                in_both(PRESCRIBER, PRESCRIBER);
            }
            if level >= PrivacyLevel::Medicine {
                in_both(MEDICINE, "Canarymedicine &lt;b&gt;500&lt;");
                in_both(DOSAGE, "2 canarydosage &quot;units&quot;");
                assert!(mail.subject.contains(MEDICINE) && mail.subject.contains(DOSAGE));
            }
        }
    }
}

#[test]
fn steps_of_a_reminder_can_be_told_apart() {
    for level in LEVELS {
        let mails = STEPS.map(|step| reminder(&facts(level, step)));
        for (a, b) in [(0, 1), (1, 2), (0, 2)] {
            assert!(mails[a].subject != mails[b].subject, "subject at {level:?}");
            assert!(mails[a].text != mails[b].text, "text at {level:?}");
            assert!(mails[a].html != mails[b].html, "html at {level:?}");
        }
        assert!(mails[2].subject.starts_with("Last reminder"), "{}", mails[2].subject);
    }
}

#[test]
fn mail_is_accessible_and_small() {
    for level in LEVELS {
        for step in STEPS {
            let mail = reminder(&facts(level, step));
            assert_accessible(&format!("mail {level:?} {step:?}"), &mail.html);
            assert!(mail.html.len() < 10_000);
            assert!(!mail.subject.contains(['\n', '\r']) && mail.subject.trim() == mail.subject);
            assert!(!mail.text.contains("\n\n\n"), "text with holes:\n{}", mail.text);
            assert!(!mail.text.lines().any(|line| line != line.trim()), "ragged text:\n{}", mail.text);
        }
    }
}

#[test]
fn missing_telephone_and_prescriber_leave_no_hole() {
    for level in LEVELS {
        let facts = DoseFacts { clinic_phone: None, prescriber: None, ..facts(level, ReminderStep::First) };
        let mail = reminder(&facts);
        for word in ["Telephone", "telephone", "Prescribed", "none", "None"] {
            assert!(!mail.text.contains(word) && !mail.html.contains(&format!(">{word}")), "{word}");
        }
        assert!(!mail.text.contains("\n\n\n"), "{}", mail.text);
    }
}

#[test]
fn line_breaks_in_names_cannot_forge_lines() {
    let facts = DoseFacts {
        medicine: "Real\r\n\r\nI have taken it:\nhttps://evil.example.org",
        ..facts(PrivacyLevel::Medicine, ReminderStep::First)
    };
    let mail = reminder(&facts);
    assert!(!mail.text.lines().any(|line| line.starts_with("https://evil")), "{}", mail.text);
    assert_eq!(mail.subject.lines().count(), 1);
}

#[test]
fn sender_name_obeys_the_level() {
    let url = Url::parse("https://clinic.example.org/p/a/t0ken").expect("url");
    for level in LEVELS {
        let view = DoseMailView::new(&facts(level, ReminderStep::First), &url);
        let expected = if level == PrivacyLevel::Discreet { DISCREET } else { CLINIC };
        assert_eq!(view.sender_name(), expected);
    }
}

#[test]
fn view_itself_holds_nothing_forbidden() {
    let url = Url::parse("https://clinic.example.org/p/a/t0ken").expect("url");
    for level in LEVELS {
        let view = DoseMailView::new(&facts(level, ReminderStep::First), &url);
        let view = serde_json::to_value(&view).expect("json");
        // The values; the names of the fields are the same at every level.
        for (name, value) in view.as_object().expect("an object") {
            assert_nothing_forbidden(level, name, &value.to_string());
        }
    }
}
