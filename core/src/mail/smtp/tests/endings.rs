//! How one transaction on a new connection ends.

use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;

use super::super::{Delivery, SmtpConfig, Stage};
use super::server::{MESSAGE, Server, Step, after_greeting, envelope, greet, say, transport};

const WITH_AND_WITHOUT: [&[&str]; 2] = [&[], &["PIPELINING"]];

/// Sends one message to a server that plays `script` once; how that ended.
async fn ended(script: Vec<Step>) -> Delivery {
    let server = Server::plays(vec![script]).await;
    let delivery = transport(server.config()).send(&envelope(), MESSAGE).await;
    server.messages().await;
    delivery
}

fn accepted() -> Delivery {
    Delivery::Accepted { reply: "2.0.0 Ok: queued as 4711".to_owned() }
}

/// Greeting, EHLO and the commands up to `stage`, all well so far; the next thing is the reply to it.
fn up_to(stage: Stage, extensions: &[&str]) -> Vec<Step> {
    let order = [Stage::Greeting, Stage::Hello, Stage::Sender, Stage::Recipient, Stage::Data, Stage::Message];
    let reached = order.iter().position(|s| *s == stage).expect("a stage with a reply");
    let mut script = Vec::new();
    if reached == 1 {
        script.extend(greet(&[]).into_iter().take(2));
    }
    if reached >= 2 {
        script.extend(greet(extensions));
        script.push(Step::Hear("MAIL FROM:<bounce@example.org>"));
    }
    if reached >= 3 {
        script.extend([say("250 Ok"), Step::Hear("RCPT TO:<jana.probe@example.org>")]);
    }
    if reached >= 4 {
        script.extend([say("250 Ok"), Step::Hear("DATA")]);
    }
    if reached >= 5 {
        script.extend([say("354 Go ahead"), Step::HearMessage]);
    }
    script
}

const STAGES: [Stage; 6] =
    [Stage::Greeting, Stage::Hello, Stage::Sender, Stage::Recipient, Stage::Data, Stage::Message];

#[tokio::test]
async fn accepted_message_arrives_as_it_was_with_its_dots_doubled() {
    for extensions in WITH_AND_WITHOUT {
        let server = Server::plays(vec![after_greeting(extensions, [Step::Accept])]).await;
        let delivery = transport(server.config()).send(&envelope(), MESSAGE).await;
        assert_eq!(delivery, accepted());
        assert_eq!(server.messages().await, [b"Subject: hello\r\n\r\nThe text\r\n..\r\n.\r\n".to_vec()]);
    }
}

#[tokio::test]
async fn commands_go_out_together_only_where_pipelining_is_offered() {
    // Answers to nothing before it has heard everything: without PIPELINING that would hang.
    let script = after_greeting(
        &["PIPELINING"],
        [
            Step::Hear("MAIL FROM:<bounce@example.org>"),
            Step::Hear("RCPT TO:<jana.probe@example.org>"),
            Step::Hear("DATA"),
            say("250 Ok\r\n250 Ok\r\n354 Go ahead"),
            Step::HearMessage,
            say("250 2.0.0 Ok: queued as 4711"),
        ],
    );
    assert_eq!(ended(script).await, accepted());
    // And the reverse: a server that does not offer it must not get a second command early.
    let script = after_greeting(&[], [Step::Hear("MAIL FROM:<bounce@example.org>"), Step::Hang]);
    let server = Server::plays(vec![script]).await;
    let mut config = server.config();
    config.timeouts.command = Duration::from_millis(300);
    let delivery = transport(config).send(&envelope(), MESSAGE).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Sender, .. }), "{delivery:?}");
}

#[tokio::test]
async fn refusal_is_reported_with_its_code_at_every_stage() {
    for extensions in WITH_AND_WITHOUT {
        for stage in STAGES {
            for (code, permanent) in [(451, false), (550, true)] {
                let mut script = up_to(stage, extensions);
                script.push(say(&format!("{code}-5.1.1 <jana.probe@example.org>: no\r\n{code} such jana.probe here")));
                if !extensions.is_empty() {
                    // What a server says to the rest of a pipeline whose start it refused.
                    if stage == Stage::Sender {
                        script.extend([Step::Hear("RCPT TO:*"), say("503 No sender")]);
                    }
                    if matches!(stage, Stage::Sender | Stage::Recipient) {
                        script.extend([Step::Hear("DATA"), say("554 No valid recipients")]);
                    }
                }
                let text = match stage {
                    // Before the transaction nobody has named a recipient.
                    Stage::Greeting | Stage::Hello => "5.1.1 [address] no such jana.probe here",
                    _ => "5.1.1 [address] no such [address] here",
                };
                let expected = Delivery::Refused { permanent, code, stage, text: text.to_owned() };
                assert_eq!(ended(script).await, expected, "{stage} {extensions:?}");
            }
        }
    }
}

#[tokio::test]
async fn recipient_refused_but_data_allowed_sends_an_empty_message_and_counts_as_refused() {
    for answer_to_nothing in ["554 No valid recipients", "250 Ok"] {
        let script = after_greeting(
            &["PIPELINING"],
            [
                Step::Hear("MAIL FROM:*"),
                say("250 Ok"),
                Step::Hear("RCPT TO:*"),
                say("450 4.2.1 Try later"),
                Step::Hear("DATA"),
                say("354 Go ahead"),
                Step::Hear("."),
                say(answer_to_nothing),
                // The connection stays in use, from a clean state.
                Step::Hear("RSET"),
                say("250 Ok"),
                Step::Accept,
            ],
        );
        let server = Server::plays(vec![script]).await;
        let transport = transport(server.config());
        let expected = Delivery::Refused {
            permanent: false,
            code: 450,
            stage: Stage::Recipient,
            text: "4.2.1 Try later".to_owned(),
        };
        assert_eq!(transport.send(&envelope(), MESSAGE).await, expected);
        assert_eq!(transport.send(&envelope(), MESSAGE).await, accepted());
        assert_eq!(server.messages().await.len(), 1);
    }
}

#[tokio::test]
async fn connection_closed_before_the_message_is_not_sent() {
    for extensions in WITH_AND_WITHOUT {
        for stage in &STAGES[..5] {
            let delivery = ended(up_to(*stage, extensions)).await;
            let Delivery::NotSent { stage: seen, .. } = delivery else {
                panic!("{delivery:?} at {stage}");
            };
            assert_eq!(seen, *stage, "{extensions:?}");
        }
    }
}

#[tokio::test]
async fn silence_before_the_message_is_not_sent() {
    for extensions in WITH_AND_WITHOUT {
        for stage in &STAGES[..5] {
            let mut script = up_to(*stage, extensions);
            script.push(Step::Hang);
            let server = Server::plays(vec![script]).await;
            let mut config = server.config();
            config.timeouts.command = Duration::from_millis(300);
            let delivery = transport(config).send(&envelope(), MESSAGE).await;
            let reason = "no answer within 0.3 s".to_owned();
            assert_eq!(delivery, Delivery::NotSent { stage: *stage, reason }, "{extensions:?}");
            server.messages().await;
        }
    }
}

#[tokio::test]
async fn nothing_listening_is_not_sent() {
    let server = Server::plays(Vec::new()).await;
    let config = server.config();
    server.messages().await;
    let delivery = transport(config).send(&envelope(), MESSAGE).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Connect, .. }), "{delivery:?}");
}

/// Larger than what the kernels of both ends hold, so that its end cannot be out.
fn huge() -> Vec<u8> {
    b"0123456789\r\n".repeat(3 << 20)
}

fn halfway_through_the_message() -> Vec<Step> {
    let mut script = up_to(Stage::Data, &["PIPELINING"]);
    script.extend([say("354 Go ahead"), Step::HearOctets(100_000)]);
    script
}

#[tokio::test]
async fn connection_closed_in_the_middle_of_a_message_is_not_sent() {
    let server = Server::plays(vec![halfway_through_the_message()]).await;
    let delivery = transport(server.config()).send(&envelope(), &huge()).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Message, .. }), "{delivery:?}");
}

#[tokio::test]
async fn server_that_stops_reading_in_the_middle_is_not_sent() {
    // By hand, since a script would read on.
    let (finished, wait) = tokio::sync::oneshot::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("accept");
        let (read, mut write) = stream.split();
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"220 test\r\n").await.expect("write");
        for reply in ["250 test\r\n", "250 Ok\r\n", "250 Ok\r\n", "354 Go ahead\r\n"] {
            lines.next_line().await.expect("read").expect("a command");
            write.write_all(reply.as_bytes()).await.expect("write");
        }
        wait.await.expect("the test to finish");
    });
    let mut config = SmtpConfig::parse(&format!("smtp://127.0.0.1:{port}")).expect("config");
    config.timeouts.command = Duration::from_millis(500);
    let delivery = transport(config).send(&envelope(), &huge()).await;
    let reason = "no answer within 0.5 s".to_owned();
    assert_eq!(delivery, Delivery::NotSent { stage: Stage::Message, reason });
    finished.send(()).expect("server");
    server.await.expect("server");
}

#[tokio::test]
async fn refusal_in_the_middle_of_a_message_is_heard() {
    let mut script = halfway_through_the_message();
    script.push(say("552 5.3.4 Too big"));
    let server = Server::plays(vec![script]).await;
    let delivery = transport(server.config()).send(&envelope(), &huge()).await;
    let expected =
        Delivery::Refused { permanent: true, code: 552, stage: Stage::Message, text: "5.3.4 Too big".to_owned() };
    assert_eq!(delivery, expected);
}

#[tokio::test]
async fn connection_closed_once_the_end_is_out_is_uncertain() {
    // After the whole message, and after a part of one so small that all of it left at once: the
    // client cannot tell these apart.
    let mut cut = up_to(Stage::Data, &["PIPELINING"]);
    cut.extend([say("354 Go ahead"), Step::HearOctets(5)]);
    for script in [up_to(Stage::Message, &[]), up_to(Stage::Message, &["PIPELINING"]), cut] {
        let delivery = ended(script).await;
        assert!(matches!(delivery, Delivery::Uncertain { .. }), "{delivery:?}");
    }
}

#[tokio::test]
async fn silence_or_nonsense_after_the_end_is_uncertain() {
    let mut script = up_to(Stage::Message, &["PIPELINING"]);
    script.push(Step::Hang);
    let server = Server::plays(vec![script]).await;
    let mut config = server.config();
    config.timeouts.message_end = Duration::from_millis(200);
    let delivery = transport(config).send(&envelope(), MESSAGE).await;
    assert_eq!(delivery, Delivery::Uncertain { reason: "no answer within 0.2 s".to_owned() });

    for nonsense in ["354 What?", "Ok", "250-and no end"] {
        let mut script = up_to(Stage::Message, &[]);
        script.push(say(nonsense));
        let delivery = ended(script).await;
        assert!(matches!(delivery, Delivery::Uncertain { .. }), "{nonsense}: {delivery:?}");
    }
}

#[tokio::test]
async fn nonsense_before_the_message_is_not_sent() {
    for stage in &STAGES[..5] {
        for nonsense in ["HTTP/1.1 400 Bad Request", "334 What?"] {
            let mut script = up_to(*stage, &[]);
            script.push(say(nonsense));
            let delivery = ended(script).await;
            let Delivery::NotSent { stage: seen, .. } = delivery else {
                panic!("{delivery:?} at {stage}");
            };
            assert_eq!(seen, *stage);
        }
    }
}

#[tokio::test]
async fn replies_in_many_lines_and_pieces_are_understood() {
    let bit_by_bit = |lines: &str| Step::SayBitByBit(lines.to_owned());
    let script = vec![
        bit_by_bit("220-test\r\n220-takes its\r\n220 time"),
        Step::Hear("EHLO *"),
        bit_by_bit("250-test\r\n250-PIPELINING\r\n250 SIZE 1000"),
        Step::Hear("MAIL FROM:*"),
        bit_by_bit("250-a\r\n250 b"),
        Step::Hear("RCPT TO:*"),
        bit_by_bit("250 c"),
        Step::Hear("DATA"),
        bit_by_bit("354-go\r\n354 on"),
        Step::HearMessage,
        bit_by_bit("250-2.0.0 first line\r\n250 second line"),
    ];
    assert_eq!(ended(script).await, Delivery::Accepted { reply: "2.0.0 first line".to_owned() });
}
