//! The mails to owners of accounts.

use super::*;

fn mail(kind: &str) -> Rendered {
    let view = json!({
        "lang": "en", "dir": "ltr", "kind": kind, "sender": "Canaryclinic & Söhne", "at": "2026-11-23 07:00 UTC",
        "until": "2026-11-30 07:00 UTC", "page_url": "https://clinic.example.org/page/t0ken",
    });
    templates().render_mail(ACCOUNT_MAIL, &view).expect("a mail")
}

#[test]
fn each_says_what_happened_and_where_to_go_in_both_parts() {
    let mut subjects = Vec::new();
    for (kind, word, names_sender) in [
        ("invitation", "invites you", true),
        ("reset", "another password", false),
        ("locked", "wrong passwords were tried", false),
        ("password_changed", "was changed", false),
        ("second_factor_on", "were switched on", false),
        ("second_factor_off", "were switched off", false),
        ("recovery_code_used", "with one of its recovery codes", false),
        ("codes_locked", "wrong codes were tried", false),
        ("linked", "by way of another provider", false),
        ("verify", "signed up with this address", false),
        ("sign_up_known", "you have an account already", false),
    ] {
        let mail = mail(kind);
        assert_accessible(kind, &mail.html);
        for part in [&mail.text, &mail.html] {
            assert!(part.to_lowercase().contains(word) && part.contains("/page/t0ken"), "{kind}: {part}");
        }
        assert_eq!(mail.text.contains("Canaryclinic & Söhne"), names_sender, "{kind}");
        assert!(!mail.text.contains("\n\n\n") && !mail.text.lines().any(|line| line != line.trim()), "{}", mail.text);
        assert!(mail.html.len() < 10_000 && !mail.subject.contains('\n'));
        subjects.push(mail.subject);
    }
    subjects.sort();
    subjects.dedup();
    assert_eq!(subjects.len(), 11, "{subjects:?}");
}

#[test]
fn a_decision_says_which_and_why_in_both_parts() {
    let why = Some("Mondays & Tuesdays");
    for (state, note) in [("approved", why), ("approved", None), ("denied", why), ("denied", None), ("expired", None)] {
        let view = json!({
            "lang": "en", "dir": "ltr", "approved": state == "approved", "expired": state == "expired",
            "days": 14, "organization": "Canaryclinic & Söhne", "note": note,
            "sender": "Canaryclinic & Söhne", "page_url": "https://clinic.example.org/sign-in",
        });
        let mail = templates().render_mail(crate::joining::JOIN_DECISION, &view).expect("a mail");
        assert_accessible("join_decision", &mail.html);
        assert_eq!(mail.subject.contains("has not let you in"), state == "denied");
        for part in [&mail.text, &mail.html] {
            assert_eq!(part.contains("have not answered within 14 days"), state == "expired", "{part}");
            assert_eq!(part.contains("decided not to let you in"), state == "denied", "{part}");
        }
        assert!(mail.text.contains("Canaryclinic & Söhne") && mail.html.contains("Canaryclinic &amp; Söhne"));
        assert_eq!(mail.text.contains("Mondays & Tuesdays"), note.is_some());
        assert_eq!(mail.html.contains("Mondays &amp; Tuesdays"), note.is_some());
        assert!(!mail.text.contains("\n\n\n") && !mail.text.lines().any(|line| line != line.trim()), "{}", mail.text);
    }
}
