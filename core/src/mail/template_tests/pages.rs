//! The pages.

use super::*;

#[test]
fn patient_pages_obey_the_level_and_work_by_plain_form() {
    let templates = templates();
    let later = "2026-11-23T07:30:00Z".parse::<DateTime<Utc>>().expect("instant");
    for level in LEVELS {
        let facts = facts(level, ReminderStep::First);
        for preselected in [None, Some(DoseChoice::Taken), Some(DoseChoice::Skip), Some(DoseChoice::Snooze)] {
            let form = DoseForm { action: "/p/a/x", token: "\"><t0ken", preselected, problem: Some("Not yet.") };
            let page = templates.render_page("dose_answer", "n0nce", &DosePageView::new(&facts, form)).expect("a page");
            assert_nothing_forbidden(level, "dose_answer", &page);
            assert_accessible("dose_answer", &page);
            assert!(page.contains("<form method=\"post\" action=\"/p/a/x\">"));
            assert!(page.contains("name=\"form_token\" value=\"&quot;&gt;&lt;t0ken\""), "{page}");
            assert!(page.contains("<style nonce=\"n0nce\">"));
            assert!(!page.contains("style=\""), "inline style would break the policy");
            assert_eq!(page.matches("class=\"main\"").count(), 1, "{preselected:?}");
            // Each button's value is one that the form's reader takes, and all answers are there.
            let answers: Vec<_> = page
                .split("name=\"choice\" value=\"")
                .skip(1)
                .map(|rest| DoseAnswer::from_form(rest.split('"').next().unwrap_or_default()).expect("known"))
                .collect();
            assert_eq!(answers.len(), 5);
            for answer in [
                DoseAnswer::Taken,
                DoseAnswer::Skip,
                DoseAnswer::Snooze(10),
                DoseAnswer::Snooze(30),
                DoseAnswer::Snooze(60),
            ] {
                assert!(answers.contains(&answer), "{answer:?}");
            }
        }
        for (answer, at) in [(DoseAnswer::Taken, None), (DoseAnswer::Skip, None), (DoseAnswer::Snooze(30), Some(later))]
        {
            let view = DoseAnsweredView::new(&facts, answer, at, Some("/p/a/x"));
            let page = templates.render_page("dose_answered", "n0nce", &view).expect("a page");
            assert_accessible("dose_answered", &page);
            assert_nothing_forbidden(level, "dose_answered", &page);
            let shown = at.is_some() && level >= PrivacyLevel::WhenWhere;
            assert_eq!(page.contains("08:30"), shown, "{answer:?} at {level:?}");
            assert!(page.contains("href=\"/p/a/x\""));
        }
    }
}

#[test]
fn other_pages_render_with_little_and_with_all() {
    let templates = templates();
    let message = json!({"to": "a@example.org", "subject": "<x>", "received_at": "now", "url": "/dev/inbox/1"});
    let samples = [
        ("link_problem", json!({"reason": "unknown"})),
        ("link_problem", json!({"reason": "expired", "sender": CLINIC, "clinic_phone": PHONE})),
        ("link_problem", json!({"reason": "used", "forgot_url": "/forgot"})),
        ("error", json!({"status": 500, "title": "Sorry", "detail": null, "reference": null, "back_url": null})),
        (
            "error",
            json!({"status": 404, "title": "Not here", "detail": "Look elsewhere.", "reference": "r1", "back_url": "/"}),
        ),
        (
            "meeting",
            json!({"lang": "en", "dir": "ltr", "level": 2, "sender": CLINIC, "clinic_phone": PHONE, "when": "now <x>", "doctor": "<y>", "opens": "then", "form_action": "/p/t/x", "form_token": "<x>", "state": "open", "meeting_url": null, "problem": "<y>"}),
        ),
        (
            "meeting",
            json!({"lang": "en", "dir": "ltr", "level": 0, "sender": "s", "clinic_phone": null, "when": null, "doctor": null, "opens": null, "form_action": "/p/t/x", "form_token": "t", "state": "soon", "meeting_url": "https://m/?<x>", "problem": null}),
        ),
        ("inbox", json!({"messages": []})),
        ("inbox", json!({"messages": [message]})),
        (
            "inbox_message",
            json!({"subject": "<x>", "headers": [{"name": "To", "value": "<y>"}], "html_url": "/h", "text": "</pre><script>", "inbox_url": "/", "raw_url": null}),
        ),
    ];
    for (name, view) in samples {
        let page = templates.render_page(name, "n0nce", &view).expect(name);
        assert_accessible(name, &page);
        assert!(!page.contains("<x>") && !page.contains("<y>"), "{name} escapes");
        assert!(!page.contains("style=\""), "{name}: inline style would break the policy");
    }
}

#[test]
fn choices_survive_the_way_through_a_link() {
    for choice in [DoseChoice::Taken, DoseChoice::Skip, DoseChoice::Snooze] {
        assert_eq!(DoseChoice::from_query(choice.as_query()), Some(choice));
    }
    assert_eq!(DoseChoice::from_query("taken"), None);
    for bad in ["", "later", "later-", "later-5", "later-010", "later-10 ", "DONE"] {
        assert_eq!(DoseAnswer::from_form(bad), None, "{bad:?}");
    }
}
