//! Each fault of the SMTP server as a sender sees it, and who meets it.

use std::time::{Duration, Instant};

use pulsecal_tests::smtp_server::{Fate, Fault, Faults, RecordingSmtp, Stage};

use crate::smtp::{A, ID, WHOLE};
use crate::smtp_client::{Client, Heard};
use Heard::{Code, End, Nothing};

async fn one_message(faults: Faults) -> (RecordingSmtp, Vec<Heard>) {
    let smtp = RecordingSmtp::start();
    smtp.set_faults(faults);
    let heard = Client::ready(smtp.address()).await.message(A, ID).await;
    (smtp, heard)
}

/// One message meets the fault: what the sender heard, how many were accepted, and the fate of those that were not.
async fn check(fault: Fault, heard: &[Heard], accepted: usize, fates: &[Fate]) {
    let (smtp, did_hear) = one_message(Faults::none().always(fault.clone())).await;
    assert_eq!(did_hear, heard, "{fault:?}");
    assert_eq!(smtp.accepted().len(), accepted, "{fault:?}");
    let found: Vec<Fate> = smtp.not_accepted().iter().map(|message| message.fate).collect();
    assert_eq!(found, fates, "{fault:?}");
}

#[tokio::test]
async fn refusals_are_heard_at_their_stage() {
    for code in [451, 550] {
        check(Fault::refuse(Stage::Mail, code), &[Code(code)], 0, &[]).await;
        check(Fault::refuse(Stage::Rcpt, code), &[Code(250), Code(code)], 0, &[]).await;
        check(Fault::refuse(Stage::Data, code), &[Code(250), Code(250), Code(code)], 0, &[]).await;
        let heard = [Code(250), Code(250), Code(354), Code(code)];
        check(Fault::refuse(Stage::Dot, code), &heard, 0, &[Fate::Refused(code)]).await;
    }
}

#[tokio::test]
async fn after_a_refusal_the_connection_goes_on_but_after_421_it_ends() {
    for stage in [Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot] {
        let smtp = RecordingSmtp::start();
        smtp.set_faults(Faults::none().next(1, Fault::refuse(stage, 451)).next(1, Fault::refuse(stage, 421)));
        let mut client = Client::ready(smtp.address()).await;
        assert_eq!(client.message(A, ID).await.last(), Some(&Code(451)), "{stage:?}");
        assert_eq!(client.say("RSET").await, Code(250), "{stage:?}");
        assert_eq!(client.message(A, ID).await.last(), Some(&Code(421)), "{stage:?}");
        assert_eq!(client.hear().await, End, "{stage:?}");
        let mut client = Client::ready(smtp.address()).await;
        assert_eq!(client.message(A, ID).await, WHOLE, "{stage:?}");
    }
    let smtp = RecordingSmtp::start();
    smtp.set_faults(Faults::none().next(1, Fault::refuse(Stage::Greeting, 421)));
    let mut client = Client::connect(smtp.address()).await;
    assert_eq!([client.hear().await, client.hear().await], [Code(421), End]);
    assert_eq!(smtp.counts().refused, 1);
}

#[tokio::test]
async fn hangs_leave_the_connection_open_and_unanswered() {
    check(Fault::Hang(Stage::Mail), &[Nothing], 0, &[]).await;
    check(Fault::Hang(Stage::Rcpt), &[Code(250), Nothing], 0, &[]).await;
    check(Fault::Hang(Stage::Data), &[Code(250), Code(250), Nothing], 0, &[]).await;
    check(Fault::Hang(Stage::Dot), &[Code(250), Code(250), Code(354), Nothing], 0, &[Fate::Hung]).await;
    check(Fault::AcceptThenHang, &[Code(250), Code(250), Code(354), Nothing], 1, &[]).await;

    let smtp = RecordingSmtp::start();
    smtp.set_faults(Faults::none().next(1, Fault::Hang(Stage::Greeting)).next(1, Fault::Hang(Stage::Hello)));
    let mut hangs = Client::connect(smtp.address()).await;
    assert_eq!([hangs.hear().await, hangs.say("EHLO x").await], [Nothing, Nothing]);
    let mut client = Client::connect(smtp.address()).await;
    assert_eq!([client.hear().await, client.say("EHLO x").await], [Code(220), Nothing]);
    assert_eq!((smtp.counts().hung, smtp.counts().open_connections), (2, 2));
}

#[tokio::test]
async fn drops_close_the_connection_and_only_a_drop_after_acceptance_is_accepted() {
    check(Fault::Drop(Stage::Mail), &[End], 0, &[]).await;
    check(Fault::Drop(Stage::Rcpt), &[Code(250), End], 0, &[]).await;
    check(Fault::Drop(Stage::Data), &[Code(250), Code(250), End], 0, &[]).await;
    let after_dot = [Code(250), Code(250), Code(354), End];
    check(Fault::DropMidBody, &after_dot, 0, &[]).await;
    check(Fault::Drop(Stage::Dot), &after_dot, 0, &[Fate::Dropped]).await;
    check(Fault::AcceptThenDrop, &after_dot, 1, &[]).await;
    check(Fault::DropAfterReply, &WHOLE, 1, &[]).await;
}

#[tokio::test]
async fn an_accepted_message_whose_reply_was_kept_back_says_so() {
    let (smtp, _) = one_message(Faults::none().recipient(A, Fault::AcceptThenDrop)).await;
    assert!(smtp.accepted()[0].reply_lost);
    assert_eq!((smtp.counts().accepted, smtp.counts().replies_lost, smtp.counts().dropped), (1, 1, 1));
    let (smtp, _) = one_message(Faults::none().recipient(A, Fault::DropAfterReply)).await;
    assert!(!smtp.accepted()[0].reply_lost);
    assert_eq!(smtp.counts().replies_lost, 0);
}

#[tokio::test]
async fn a_drop_in_the_middle_comes_before_the_end_of_a_long_message() {
    let smtp = RecordingSmtp::start();
    smtp.set_faults(Faults::none().always(Fault::DropMidBody));
    let mut client = Client::ready(smtp.address()).await;
    for line in ["MAIL FROM:<clinic@example.org>", "RCPT TO:<a@example.org>", "DATA"] {
        client.say(line).await;
    }
    client.send("Subject: a beginning without an end\r\n").await;
    assert_eq!(client.hear().await, End);
    assert_eq!(smtp.counts().arrived, 0);
}

#[tokio::test]
async fn the_connection_ends_right_after_the_reply() {
    let smtp = RecordingSmtp::start();
    smtp.set_faults(Faults::none().always(Fault::DropAfterReply));
    let mut client = Client::ready(smtp.address()).await;
    assert_eq!(client.message(A, ID).await, WHOLE);
    assert_eq!(client.hear().await, End);
}

#[tokio::test]
async fn a_slow_answer_comes_late() {
    let smtp = RecordingSmtp::start();
    smtp.set_faults(Faults::none().always(Fault::Slow(Stage::Dot, Duration::from_millis(120))));
    let mut client = Client::ready(smtp.address()).await;
    let started = Instant::now();
    assert_eq!(client.message(A, ID).await, WHOLE);
    assert!(started.elapsed() >= Duration::from_millis(115));
}

#[tokio::test]
async fn recipients_domains_and_first_tries_meet_their_own_faults() {
    let smtp = RecordingSmtp::start();
    smtp.set_faults(
        Faults::none()
            .recipient("Bad@example.org", Fault::refuse(Stage::Rcpt, 550))
            .domain("slow.example.org", Fault::refuse(Stage::Dot, 451))
            .first_tries(2, Fault::refuse(Stage::Dot, 452)),
    );
    let mut client = Client::ready(smtp.address()).await;
    assert_eq!(client.message("bad@example.org", ID).await.last(), Some(&Code(550)));
    client.say("RSET").await;
    let mut last = Vec::new();
    for to in ["x@slow.example.org", A, A, A, "b@example.org"] {
        last.push(client.message(to, ID).await[3]);
    }
    assert_eq!(last, [Code(451), Code(452), Code(452), Code(250), Code(452)]);

    // One refused recipient does not spoil the message for the other.
    client.say("MAIL FROM:<clinic@example.org>").await;
    assert_eq!(client.say("RCPT TO:<bad@example.org>").await, Code(550));
    assert_eq!(client.say("RCPT TO:<a@example.org>").await, Code(250));
    client.say("DATA").await;
    assert_eq!(client.body(ID).await, Code(250));
    assert_eq!(smtp.accepted().last().map(|message| message.to.clone()), Some(vec![A.to_owned()]));

    smtp.set_faults(Faults::none());
    assert_eq!(client.message("bad@example.org", ID).await, WHOLE);
}
