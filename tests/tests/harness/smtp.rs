//! The recording SMTP server: what it records.

use std::time::{Duration, Instant};

use pulsecal_tests::smtp_server::{Fate, Options, RecordingSmtp};
use pulsecal_tests::wait::until;

use crate::LIMIT;
use crate::smtp_client::{Client, Heard};
use Heard::{Code, End};

pub(crate) const A: &str = "a@example.org";
pub(crate) const ID: &str = "<1@clinic.example.org>";
/// What is heard when all goes well.
pub(crate) const WHOLE: [Heard; 4] = [Code(250), Code(250), Code(354), Code(250)];

#[tokio::test]
async fn an_accepted_message_is_recorded_as_it_was_sent() {
    let before = Instant::now();
    let smtp = RecordingSmtp::start();
    assert_eq!(Client::ready(smtp.address()).await.message(A, ID).await, WHOLE);
    let accepted = smtp.accepted();
    let message = &accepted[0];
    assert_eq!((message.from.as_str(), message.to.as_slice()), ("clinic@example.org", [A.to_owned()].as_slice()));
    assert_eq!(message.message_id.as_deref(), Some(ID));
    let text = format!("Subject: x\r\nMessage-ID: {ID}\r\n\r\nA line.\r\n.A dot.\r\n");
    assert_eq!(message.raw_text(), text);
    assert_eq!(message.size, text.len());
    assert!(!message.reply_lost && message.at >= before);
    assert_eq!(smtp.by_message_id()[ID].len(), 1);
    assert!(!format!("{message:?}").contains(A), "addresses stay out of test output");
    let counts = smtp.counts();
    assert_eq!((counts.connections, counts.mail, counts.rcpt, counts.data), (1, 1, 1, 1));
    assert_eq!((counts.arrived, counts.accepted, counts.bytes), (1, 1, text.len() as u64));
}

#[tokio::test]
async fn several_messages_and_recipients_use_one_connection() {
    let smtp = RecordingSmtp::start();
    let mut client = Client::ready(smtp.address()).await;
    assert_eq!(client.message(A, ID).await, WHOLE);
    assert_eq!(client.say("MAIL FROM:<>").await, Code(250));
    assert_eq!(client.say("RCPT TO:<b@example.org>").await, Code(250));
    assert_eq!(client.say("rcpt to: <c@example.org> NOTIFY=NEVER").await, Code(250));
    assert_eq!(client.say("DATA").await, Code(354));
    assert_eq!(client.say("message-id:\r\n <2@clinic.example.org>\r\n\r\nMessage-ID: <no>\r\n.").await, Code(250));
    assert_eq!(client.say("MAIL FROM:<clinic@example.org>").await, Code(250));
    assert_eq!(client.say("RSET").await, Code(250));
    assert_eq!(client.say("DATA").await, Code(503));
    assert_eq!(client.say("QUIT").await, Code(221));
    assert_eq!(client.hear().await, End);
    let accepted = smtp.accepted();
    assert_eq!(accepted[1].message_id.as_deref(), Some("<2@clinic.example.org>"));
    assert_eq!(accepted[1].to, ["b@example.org", "c@example.org"]);
    assert_eq!(accepted[1].from, "");
    assert_eq!(accepted.len(), 2);
    until(LIMIT, "the connection is counted as closed", async || (smtp.counts().open_connections == 0).then_some(()))
        .await;
}

#[tokio::test]
async fn pipelining_is_offered_or_not_and_works() {
    let smtp = RecordingSmtp::start_with(Options { pipelining: false, ..Options::default() });
    let mut client = Client::connect(smtp.address()).await;
    client.hear().await;
    client.send("EHLO sender.example.org\r\n").await;
    assert!(!client.hear_lines().await.1.concat().contains("PIPELINING"));

    let smtp = RecordingSmtp::start();
    let mut client = Client::connect(smtp.address()).await;
    client.hear().await;
    client.send("EHLO sender.example.org\r\n").await;
    assert!(client.hear_lines().await.1.concat().contains("250-PIPELINING"));
    for _ in 0..2 {
        client.send(&format!("MAIL FROM:<clinic@example.org>\r\nRCPT TO:<{A}>\r\nDATA\r\n")).await;
        assert_eq!([client.hear().await, client.hear().await, client.hear().await], [Code(250), Code(250), Code(354)]);
        // The end of one message and the next transaction in one write.
        client.send(&format!("Message-ID: {ID}\r\n\r\nx\r\n.\r\nMAIL FROM:<x@example.org>\r\nRSET\r\n")).await;
        assert_eq!([client.hear().await, client.hear().await, client.hear().await], [Code(250); 3]);
    }
    assert_eq!(smtp.accepted().len(), 2);
}

#[tokio::test]
async fn long_messages_arrive_whole_and_too_long_ones_are_refused() {
    let options = Options { size_limit: 1_000_000, keep_raw_bytes: 10, ..Options::default() };
    let smtp = RecordingSmtp::start_with(options);
    let mut client = Client::ready(smtp.address()).await;
    for (lines, code) in [(9_000, 250), (11_000, 552)] {
        client.say("MAIL FROM:<clinic@example.org>").await;
        client.say("RCPT TO:<a@example.org>").await;
        client.say("DATA").await;
        client.send(&format!("{:0>98}\r\n", "").repeat(lines)).await;
        assert_eq!(client.say(".").await, Code(code));
    }
    let accepted = smtp.accepted();
    assert_eq!((accepted.len(), accepted[0].size), (1, 900_000));
    assert_eq!(accepted[0].raw.as_deref(), Some("0000000000".as_bytes()));
    assert_eq!(smtp.not_accepted()[0].fate, Fate::Refused(552));
    smtp.clear();
    assert!(smtp.accepted().is_empty() && smtp.counts().arrived == 0 && smtp.counts().open_connections == 1);
}

/// Speed is measured, not asserted closely: a shared machine may be busy.
#[tokio::test]
async fn many_messages_a_second_are_taken() {
    const CONNECTIONS: u64 = 8;
    const EACH: u64 = 1_250;
    let smtp = RecordingSmtp::start_with(Options { keep_raw_bytes: 0, ..Options::default() });
    let text = format!("{:x>74}\r\n", "").repeat(40);
    let started = Instant::now();
    let senders = (0..CONNECTIONS).map(|connection| {
        let (address, text) = (smtp.address(), text.clone());
        tokio::spawn(async move {
            let mut client = Client::ready(address).await;
            for number in 0..EACH {
                client.send("MAIL FROM:<clinic@example.org>\r\nRCPT TO:<a@example.org>\r\nDATA\r\n").await;
                assert_eq!([client.hear().await, client.hear().await, client.hear().await], WHOLE[..3]);
                client.send(&format!("Message-ID: <{connection}.{number}@example.org>\r\n\r\n{text}.\r\n")).await;
                assert_eq!(client.hear().await, Code(250));
            }
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        sender.await.expect("sent");
    }
    let took = started.elapsed();
    assert_eq!(smtp.by_message_id().len() as u64, CONNECTIONS * EACH);
    println!("{} messages of {} bytes in {took:?}", CONNECTIONS * EACH, text.len());
    assert!(took < Duration::from_secs(30), "{took:?}");
}
