//! The mail about a visit, at every level, for every word, and its invitation.

use super::*;

const SAYS: [&str; 6] = ["booked", "moved", "cancelled", "declined", "day_before", "hour_before"];
const DOCTOR: &str = "Dr. Canarydoctor";
const PLACE: &str = "Canaryplace <1>; left";
const MEETING: &str = "https://meet.example.org/canarymeeting?a=1&b=2";

/// What may not appear below a level, in lower case.
const FORBIDDEN: [(PrivacyLevel, &[&str]); 2] = [
    (
        PrivacyLevel::WhenWhere,
        &[
            "canaryclinic",
            "5550100",
            "november",
            "2026",
            "08:00",
            "berlin",
            "monday",
            "choice=",
            "canaryplace",
            "canarymeeting",
            "visit",
            "appointment",
            "online",
            "person",
            "travel",
        ],
    ),
    (PrivacyLevel::Provider, &["canarydoctor", "follow", "doctor", "treatment", "health", "medic"]),
];

fn visit(level: PrivacyLevel, online: bool) -> VisitFacts<'static> {
    VisitFacts {
        level,
        locale: Locale::En,
        clinic_name: CLINIC,
        discreet_name: DISCREET,
        clinic_phone: Some(PHONE),
        starts_at: "2026-11-23T07:00:00Z".parse().expect("instant"),
        ends_at: "2026-11-23T07:30:00Z".parse().expect("instant"),
        zone: chrono_tz::Europe::Berlin,
        online,
        place: Some(PLACE),
        meeting_url: Some(MEETING),
        doctor: Some(DOCTOR),
        kind: "follow_up",
        confirmed: false,
    }
}

fn mail(facts: &VisitFacts<'_>, says: &'static str) -> Rendered {
    let url = Url::parse("https://clinic.example.org/p/a/t0ken?x=1").expect("url");
    templates().render_mail("appointment_mail", &VisitMailView::new(facts, says, &url)).expect("a mail")
}

/// The invitation of sequence 3, its lines unfolded.
fn event(facts: &VisitFacts<'_>, method: Method) -> Option<String> {
    let address = |text: &str| EmailAddress::parse(text).expect("an address");
    let (organizer, attendee) = (address("visits@clinic.example.org"), address("pat@patients.example.org"));
    let invited = Invited {
        visit: uuid::Uuid::from_u128(7),
        sequence: 3,
        firm: true,
        method,
        stamp: facts.starts_at,
        organizer: &organizer,
        attendee: &attendee,
    };
    let part = invitation(facts, &invited)?;
    for line in part.text.split("\r\n") {
        assert!(line.len() <= 75, "{line}");
    }
    Some(part.text.replace("\r\n ", ""))
}

/// Level, online, word: every mail there is.
fn each(mut look: impl FnMut(VisitFacts<'static>, &'static str, Rendered)) {
    for level in LEVELS {
        for online in [false, true] {
            for says in SAYS {
                for confirmed in [false, true] {
                    let facts = VisitFacts { confirmed, ..visit(level, online) };
                    look(facts, says, mail(&facts, says));
                }
            }
        }
    }
}

#[test]
fn mail_and_invitation_never_show_what_the_level_forbids() {
    each(|facts, says, mail| {
        let invited = event(&facts, Method::Request).unwrap_or_default();
        assert_eq!(invited.is_empty(), facts.level == PrivacyLevel::Discreet, "an event says when and where");
        for (what, text) in [("subject", mail.subject), ("text", mail.text), ("html", mail.html), ("event", invited)] {
            let text = text.to_lowercase();
            for (least, words) in FORBIDDEN {
                for word in words {
                    assert!(
                        facts.level >= least || !text.contains(word),
                        "{word:?} in {what} of {says} at {:?}",
                        facts.level
                    );
                }
            }
        }
    });
}

#[test]
fn subject_text_html_and_invitation_say_the_same() {
    each(|facts, says, mail| {
        if facts.level == PrivacyLevel::Discreet {
            assert!(mail.text.contains(DISCREET) && mail.html.contains(DISCREET) && mail.subject.contains(DISCREET));
            return;
        }
        let off = ["cancelled", "declined"].contains(&says);
        let mode = if facts.online { "Online visit" } else { "In-person visit" };
        assert!(mail.subject.starts_with(mode) && mail.subject.contains(WHEN), "{}", mail.subject);
        assert!(mail.text.starts_with(mode), "whether to travel is said first: {}", mail.text);
        let in_both = |there: bool, value: &str, escaped: &str| {
            assert_eq!(mail.text.contains(value), there, "{value} in the text of {says}:\n{}", mail.text);
            assert_eq!(mail.html.contains(escaped), there, "{escaped} in the html of {says}");
        };
        in_both(true, WHEN, WHEN);
        in_both(true, CLINIC, "Canaryclinic &amp; Söhne");
        in_both(true, PHONE, PHONE);
        in_both(!facts.online, PLACE, "Canaryplace &lt;1&gt;; left");
        in_both(facts.online && !off, MEETING, "canarymeeting?a=1&amp;b=2");
        in_both(facts.level >= PrivacyLevel::Provider, DOCTOR, DOCTOR);
        in_both(facts.level >= PrivacyLevel::Provider, "Follow-up visit", "Follow-up visit");
        // Who has said that they will come is not asked again, and who need not come is asked nothing.
        in_both(!off && !facts.confirmed, "?x=1&choice=yes", "?x=1&amp;choice=yes");
        in_both(
            !off && facts.confirmed,
            "You have confirmed that you will come.",
            "You have confirmed that you will come.",
        );
        for choice in ["other", "no"] {
            in_both(!off, &format!("?x=1&choice={choice}"), &format!("?x=1&amp;choice={choice}"));
        }
        let lower = format!("{} {}", mail.text, mail.html).to_lowercase();
        assert_eq!(lower.contains("please come"), !off && !facts.online, "{says}: {}", mail.text);
        let place = if facts.online { "LOCATION:https://meet" } else { "LOCATION:Canaryplace <1>\\; left" };
        let asks = event(&facts, Method::Request).expect("from level 1");
        assert!(asks.contains(place) && asks.contains(&format!("SUMMARY:{mode}")), "{asks}");
        let drops = event(&facts, Method::Cancel).expect("from level 1");
        assert!(drops.contains("DESCRIPTION:This visit does not take place."), "{drops}");
    });
}

#[test]
fn mails_can_be_told_apart_and_are_accessible_and_small() {
    for level in &LEVELS[1..] {
        let subjects: std::collections::BTreeSet<_> =
            SAYS.iter().map(|says| mail(&visit(*level, false), says).subject).collect();
        assert_eq!(subjects.len(), SAYS.len(), "{subjects:?}");
    }
    each(|facts, says, mail| {
        assert_accessible(&format!("{says} at {:?}", facts.level), &mail.html);
        assert!(mail.html.len() < 10_000);
        assert!(!mail.subject.contains(['\n', '\r']) && mail.subject.trim() == mail.subject);
        assert!(!mail.text.contains("\n\n\n"), "text with holes:\n{}", mail.text);
        assert!(!mail.text.lines().any(|line| line != line.trim()), "ragged text:\n{}", mail.text);
    });
}

#[test]
fn what_is_missing_leaves_no_hole() {
    each(|facts, says, _| {
        let bare =
            VisitFacts { clinic_phone: None, place: None, meeting_url: None, doctor: None, kind: "other", ..facts };
        let mail = mail(&bare, says);
        for word in ["Telephone", "telephone", "Where:", "Join", "With", "Kind:", "none", "None"] {
            assert!(
                !mail.text.contains(word) && !mail.html.contains(&format!(">{word}")),
                "{word} in {says}: {}",
                mail.text
            );
        }
        assert!(!mail.text.contains("\n\n\n"), "{}", mail.text);
    });
}

#[test]
fn line_breaks_and_direction_marks_in_names_forge_nothing() {
    let evil = "Real\r\n\r\nI will come:\nhttps://evil.example.org\u{202e}\u{2066}\rATTENDEE:mailto:x@evil.example.org";
    for says in SAYS {
        let facts = VisitFacts {
            clinic_name: evil,
            discreet_name: evil,
            doctor: Some(evil),
            place: Some(evil),
            clinic_phone: Some(evil),
            ..visit(PrivacyLevel::Medicine, false)
        };
        let mail = mail(&facts, says);
        assert!(!mail.text.lines().any(|line| line.starts_with("https://evil")), "{}", mail.text);
        assert_eq!(mail.subject.lines().count(), 1);
        let invited = event(&facts, Method::Request).expect("from level 1");
        assert_eq!(invited.lines().filter(|line| line.starts_with("ATTENDEE")).count(), 1, "{invited}");
        for text in [&mail.subject, &mail.text, &mail.html, &invited] {
            assert!(!text.contains(['\u{202e}', '\u{2066}']), "{text}");
        }
        let discreet = VisitFacts { level: PrivacyLevel::Discreet, ..facts };
        assert_eq!(self::mail(&discreet, says).subject.lines().count(), 1);
    }
}

#[test]
fn long_names_and_names_written_from_right_to_left_stay_whole() {
    let long = "Donaudampfschifffahrtselektrizitätenhauptbetriebswerk ".repeat(4);
    for name in [long.trim(), "مستشفى الملك فيصل التخصصي", "בית חולים שערי צדק — Ärzte"]
    {
        let facts = VisitFacts { clinic_name: name, doctor: Some(name), ..visit(PrivacyLevel::Provider, false) };
        for says in SAYS {
            let mail = mail(&facts, says);
            assert!(mail.text.contains(name) && mail.html.contains(name), "{name}: {}", mail.text);
        }
        let invited = event(&facts, Method::Request).expect("from level 1");
        assert!(invited.contains(&format!("SUMMARY:In-person visit with {name}\\, {name}")), "{invited}");
        assert!(invited.contains("SEQUENCE:3\r\n") && invited.contains("UID:00000000-0000-0000-0000-000000000007\r\n"));
    }
}
