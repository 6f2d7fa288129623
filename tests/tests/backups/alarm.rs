//! Operators are told when backups fail to come, once, and once when it is over.

use pulsecal_tests::processes::Process;
use pulsecal_tests::smtp_server::RecordingSmtp;
use pulsecal_tests::wait::until;

use super::support::{Clinic, LIMIT, with_pg_dump};

/// Two schedulers that have both looked at the alarms. Each look locks the rows, which leaves its mark on them.
async fn two_schedulers(clinic: &Clinic) -> [Process; 2] {
    let looked = "SELECT coalesce(sum(xmax::text::bigint), 0)::bigint FROM alarms";
    let before = clinic.count(looked).await;
    let first = Process::spawn("pulsecal-scheduler", clinic.env());
    until(LIMIT, "a scheduler has looked", async || (clinic.count(looked).await != before).then_some(())).await;
    let before = clinic.count(looked).await;
    let second = Process::spawn("pulsecal-scheduler", clinic.env());
    until(LIMIT, "the other has looked", async || (clinic.count(looked).await != before).then_some(())).await;
    [first, second]
}

fn subjects(smtp: &RecordingSmtp, to: &str) -> Vec<String> {
    let of = |raw: &[u8]| {
        // Long lines are folded (RFC 5322, 2.2.3).
        let text = String::from_utf8_lossy(raw).replace("\r\n ", " ");
        let line = text.lines().find_map(|line| line.strip_prefix("Subject: "));
        line.unwrap_or_default().to_owned()
    };
    let mails = smtp.accepted();
    mails.iter().filter(|mail| mail.to == [to]).map(|mail| of(mail.raw.as_deref().unwrap_or_default())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_told_once_that_backups_fail_to_come_and_once_that_it_is_over() {
    let mut clinic = Clinic::new().await;
    let smtp = RecordingSmtp::start();
    clinic.with_belt("mail=4").await;
    clinic.set("SMTP_URL", &smtp.url());
    clinic.set("ALERT_MAIL", "ops@clinic.example, night@clinic.example");
    clinic.backup().await;
    let _worker = Process::spawn("pulsecal-worker", clinic.env());
    let fine = two_schedulers(&clinic).await;
    drop(fine);
    assert!(smtp.accepted().is_empty(), "all is well");

    // 27 hours pass without a backup. Two schedulers look at once.
    clinic.sql("UPDATE backups SET started_at = started_at - interval '27 hours', ended_at = ended_at - interval '27 hours', verified_at = verified_at - interval '27 hours'").await;
    let schedulers = [0, 1].map(|_| Process::spawn("pulsecal-scheduler", clinic.env()));
    smtp.wait_accepted(2, LIMIT).await;
    drop(schedulers);
    drop(two_schedulers(&clinic).await);
    let overdue = "Alarm: No database backup was proven within the last 26 hours";
    for to in ["ops@clinic.example", "night@clinic.example"] {
        assert_eq!(subjects(&smtp, to), [overdue], "told once, also by those that start later");
    }

    clinic.backup().await;
    let schedulers = two_schedulers(&clinic).await;
    smtp.wait_accepted(4, LIMIT).await;
    drop(schedulers);

    // Each try of a run fails; half an hour later it was the last one.
    let bin = with_pg_dump(
        &clinic.folder,
        r#"[ "$1" = --version ] && exec "${REAL}pg_dump" --version; echo 'pg_dump: error: it broke' >&2; exit 1"#,
    );
    clinic.set("PG_BIN", &bin);
    assert_eq!(clinic.run(&["backup", "create"]).await.status.code(), Some(1));
    drop(two_schedulers(&clinic).await);
    clinic.sql("UPDATE backups SET ended_at = ended_at - interval '31 minutes' WHERE state = 'failed'").await;
    drop(two_schedulers(&clinic).await);
    smtp.wait_accepted(6, LIMIT).await;
    clinic.set("PG_BIN", &super::support::pg_bin());
    clinic.backup().await;
    drop(two_schedulers(&clinic).await);
    smtp.wait_accepted(8, LIMIT).await;
    for to in ["ops@clinic.example", "night@clinic.example"] {
        assert_eq!(
            subjects(&smtp, to),
            [
                overdue,
                "Over: A database backup is proven again",
                "Alarm: The last database backup failed, or was found to be no good",
                "Over: Database backups work again"
            ]
        );
    }
    // They are the platform's own, went the one way by which messages go, and hold nothing of the clinic.
    // A mail is out a moment before its row says so.
    let sent = "SELECT count(*) FROM messages WHERE kind = 'alarm' AND org_id IS NULL AND state = 'sent'";
    until(LIMIT, "all eight are on record as sent", async || (clinic.count(sent).await == 8).then_some(())).await;
    for mail in smtp.accepted() {
        let text = String::from_utf8_lossy(mail.raw.as_deref().unwrap_or_default()).into_owned();
        assert!(text.contains("/ops") && !text.contains("it broke") && !text.contains(clinic.db.name()), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_are_told_that_drills_fail_to_come() {
    let mut clinic = Clinic::new().await;
    let smtp = RecordingSmtp::start();
    clinic.with_belt("mail=4").await;
    clinic.set("SMTP_URL", &smtp.url());
    clinic.set("ALERT_MAIL", "ops@clinic.example");
    clinic.backup().await;
    let _worker = Process::spawn("pulsecal-worker", clinic.env());
    drop(two_schedulers(&clinic).await);
    assert!(smtp.accepted().is_empty(), "where none was ever made none is missed");

    assert_eq!(clinic.run(&["backup", "drill"]).await.status.code(), Some(0));
    drop(two_schedulers(&clinic).await);
    clinic.sql("UPDATE backups SET drilled_at = drilled_at - interval '9 days 1 hour'").await;
    drop(two_schedulers(&clinic).await);
    smtp.wait_accepted(1, LIMIT).await;
    assert_eq!(clinic.run(&["backup", "drill"]).await.status.code(), Some(0));
    drop(two_schedulers(&clinic).await);
    smtp.wait_accepted(2, LIMIT).await;
    assert_eq!(
        subjects(&smtp, "ops@clinic.example"),
        [
            "Alarm: No database backup was restored as a drill within the last 9 days",
            "Over: A database backup was restored as a drill again"
        ]
    );
}
