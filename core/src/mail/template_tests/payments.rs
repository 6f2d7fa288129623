//! The mail about a payment, at every level, as a receipt and as news of a refund.

use super::*;
use crate::payments::PAYMENT_MAIL;

/// What may not appear below a level, in lower case.
const FORBIDDEN: [(PrivacyLevel, &[&str]); 2] = [
    (
        PrivacyLevel::WhenWhere,
        &[
            "canaryclinic",
            "5550100",
            "45.70",
            "12.34",
            "36.00",
            "eur",
            "paid",
            "pay",
            "money",
            "receipt",
            "insurance",
            "2026",
            "november",
        ],
    ),
    (PrivacyLevel::Provider, &["consultation", "procedure"]),
];

fn payment(level: PrivacyLevel, refund: Option<i64>) -> Rendered {
    let facts = PaymentFacts {
        level,
        clinic_name: CLINIC,
        discreet_name: DISCREET,
        clinic_phone: Some(PHONE),
        currency: "EUR".parse().expect("a currency"),
        amount: 4570,
        covered: 970,
        refund,
        paid_at: "2026-11-23T07:00:00Z".parse::<DateTime<Utc>>().expect("instant"),
        zone: chrono_tz::Europe::Berlin,
        kind: "consultation",
    };
    let page = Url::parse("https://clinic.example.org/p").expect("url");
    templates().render_mail(PAYMENT_MAIL, &PaymentMailView::new(&facts, &page)).expect("a mail")
}

#[test]
fn a_level_hides_what_it_forbids_and_shows_the_rest_in_both_parts() {
    for level in LEVELS {
        for refund in [None, Some(1234)] {
            let mail = payment(level, refund);
            let what = format!("{level:?} {refund:?}");
            assert_accessible(&what, &mail.html);
            for text in [&mail.subject, &mail.text, &mail.html] {
                // The style sheet has words of its own.
                let shown = text.split("</style>").last().unwrap_or_default().to_lowercase();
                for (least, words) in FORBIDDEN {
                    for word in words {
                        assert!(level >= least || !shown.contains(word), "{word:?} in {what}: {shown}");
                    }
                }
            }
            for part in [&mail.text, &mail.html] {
                assert!(part.contains("https://clinic.example.org/p"), "{what}");
                assert_eq!(part.contains("45.70 EUR"), level >= PrivacyLevel::WhenWhere, "{what}");
                assert_eq!(part.contains("36.00 EUR"), level >= PrivacyLevel::WhenWhere, "{what}: the own share");
                assert_eq!(part.contains("Consultation"), level >= PrivacyLevel::Provider, "{what}");
                assert_eq!(part.contains("12.34 EUR"), level >= PrivacyLevel::WhenWhere && refund.is_some(), "{what}");
            }
            assert!(
                !mail.text.contains("\n\n\n") && !mail.text.lines().any(|line| line != line.trim()),
                "{}",
                mail.text
            );
            assert!(!mail.subject.contains('\n') && mail.html.len() < 10_000);
        }
    }
}
