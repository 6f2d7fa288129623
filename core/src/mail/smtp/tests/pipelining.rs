//! Messages that follow each other on one connection without a pause.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;

use super::super::{Delivery, SmtpConfig, SmtpTransport, Stage};
use super::server::{AUTHORITY, Server, Step, after_greeting, envelope_to, greet, say, transport};

const PIPELINING: &[&str] = &["PIPELINING"];
const ONE: &[u8] = b"Subject: one\r\n\r\nThe first\r\n";
const TWO: &[u8] = b"Subject: two\r\n\r\nThe second\r\n";
const THREE: &[u8] = b"Subject: three\r\n\r\nThe third\r\n";
const GO_ON: &str = "250 Ok\r\n250 Ok\r\n354 Go ahead";

/// The commands of the message to `recipient`.
fn hear(recipient: &'static str) -> [Step; 3] {
    [Step::Hear("MAIL FROM:<bounce@example.org>"), Step::Hear(recipient), Step::Hear("DATA")]
}

/// One connection: the first message up to its end, and the commands of the second one before there
/// is an answer to that.
fn followed(and_then: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut steps = Vec::from(hear("RCPT TO:<one@example.org>"));
    steps.extend([say(GO_ON), Step::HearMessage]);
    steps.extend(hear("RCPT TO:<two@example.org>"));
    steps.extend(and_then);
    after_greeting(PIPELINING, steps)
}

/// One connection for one message.
fn accepts_one() -> Vec<Step> {
    after_greeting(PIPELINING, [Step::Accept])
}

fn on_one_connection(mut config: SmtpConfig) -> SmtpTransport {
    config.max_connections = 1;
    transport(config)
}

fn send(transport: &SmtpTransport, to: &str, message: &'static [u8]) -> impl Future<Output = Delivery> {
    let (transport, envelope) = (transport.clone(), envelope_to(&format!("{to}@example.org")));
    async move { transport.send(&envelope, message).await }
}

/// Two messages at once, the first of which finds the one connection free; how they ended. And
/// what the server heard.
async fn ended_with(
    scripts: Vec<Vec<Step>>,
    adapt: impl FnOnce(&mut SmtpConfig),
) -> (Delivery, Delivery, Vec<Vec<u8>>) {
    let server = Server::plays(scripts).await;
    let mut config = server.config();
    adapt(&mut config);
    let transport = on_one_connection(config);
    let (one, two) = tokio::join!(send(&transport, "one", ONE), send(&transport, "two", TWO));
    (one, two, server.messages().await)
}

async fn ended(scripts: Vec<Vec<Step>>) -> (Delivery, Delivery, Vec<Vec<u8>>) {
    ended_with(scripts, |_as_it_is| {}).await
}

fn accepted(reply: &str) -> Delivery {
    Delivery::Accepted { reply: reply.to_owned() }
}

fn is_accepted(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Accepted { .. })
}

fn on_the_wire(messages: &[&[u8]]) -> Vec<Vec<u8>> {
    messages.iter().map(|message| [message, &b".\r\n"[..]].concat()).collect()
}

#[tokio::test]
async fn next_commands_go_out_with_the_text_and_each_message_gets_its_answer() {
    let answers = [say("250 first"), say(GO_ON), Step::HearMessage, say("250 second")];
    let in_one_segment = [say(&format!("250 first\r\n{GO_ON}")), Step::HearMessage, say("250 second")];
    for script in [followed(answers), followed(in_one_segment)] {
        let (one, two, heard) = ended(vec![script]).await;
        assert_eq!((one, two), (accepted("first"), accepted("second")));
        assert_eq!(heard, on_the_wire(&[ONE, TWO]));
    }
}

#[tokio::test]
async fn encrypted_connection_is_shared_the_same_way() {
    let mut script = vec![Step::Encrypt];
    script.extend(followed([say("250 first"), say(GO_ON), Step::HearMessage, say("250 second")]));
    let server = Server::plays(vec![script]).await;
    let transport = on_one_connection(server.config_with("smtps", "").trusting(AUTHORITY).expect("pem"));
    let (one, two) = tokio::join!(send(&transport, "one", ONE), send(&transport, "two", TWO));
    assert_eq!((one, two), (accepted("first"), accepted("second")));
    assert_eq!(server.messages().await, on_the_wire(&[ONE, TWO]));
}

#[tokio::test]
async fn long_text_and_the_commands_behind_it_arrive_whole() {
    let script = followed([say("250 first"), say(GO_ON), Step::HearMessage, say("250 second")]);
    let server = Server::plays(vec![script]).await;
    let transport = on_one_connection(server.config());
    // More than the kernels of both ends hold at once.
    let long = b"0123456789\r\n".repeat(800_000);
    let first = envelope_to("one@example.org");
    let (one, two) = tokio::join!(transport.send(&first, &long), send(&transport, "two", TWO));
    assert_eq!((one, two), (accepted("first"), accepted("second")));
    let heard = server.messages().await;
    assert!(heard == on_the_wire(&[&long, TWO]), "{:?}", heard.iter().map(Vec::len).collect::<Vec<_>>());
}

#[tokio::test]
async fn refusal_of_a_message_is_not_that_of_the_next() {
    for (code, permanent) in [(451, false), (550, true)] {
        let refusal = format!("{code} 5.7.1 No");
        let script = followed([say(&refusal), say(GO_ON), Step::HearMessage, say("250 second")]);
        let (one, two, _) = ended(vec![script]).await;
        let text = "5.7.1 No".to_owned();
        assert_eq!(one, Delivery::Refused { permanent, code, stage: Stage::Message, text });
        assert_eq!(two, accepted("second"));
    }
}

#[tokio::test]
async fn next_message_gets_a_new_connection_when_nothing_answered_to_it() {
    let closing = "421 4.3.2 Going down";
    type Is = fn(&Delivery) -> bool;
    let uncertain: Is = |one| matches!(one, Delivery::Uncertain { .. });
    let refused: Is = |one| matches!(one, Delivery::Refused { code: 421, stage: Stage::Message, permanent: false, .. });
    let cases: [(Vec<Step>, Is); 6] = [
        // Closed before the answer to the first, or after half of it.
        (vec![], uncertain),
        (vec![Step::SayBitByBit("250-fir".to_owned())], uncertain),
        (vec![say("what?")], uncertain),
        (vec![say(closing)], refused),
        // Closed after it, without and with a word.
        (vec![say("250 first")], is_accepted),
        (vec![say("250 first"), say(closing)], is_accepted),
    ];
    for (number, (rest, is_right)) in cases.into_iter().enumerate() {
        let (one, two, heard) = ended(vec![followed(rest), accepts_one()]).await;
        assert!(is_right(&one), "case {number}: {one:?}");
        assert!(is_accepted(&two), "case {number}: {two:?}");
        assert_eq!(heard, on_the_wire(&[ONE, TWO]), "case {number}");
    }
}

#[tokio::test]
async fn next_message_gets_a_new_connection_once_only() {
    let gone_again = after_greeting(PIPELINING, [Step::Hear("MAIL FROM:*")]);
    let (one, two, heard) = ended(vec![followed([]), gone_again]).await;
    assert!(matches!(one, Delivery::Uncertain { .. }), "{one:?}");
    assert!(matches!(two, Delivery::NotSent { stage: Stage::Sender, .. }), "{two:?}");
    assert_eq!(heard, on_the_wire(&[ONE]));
}

#[tokio::test]
async fn silence_after_a_text_makes_only_that_message_uncertain() {
    let scripts = vec![followed([Step::Hang]), accepts_one()];
    let (one, two, _) = ended_with(scripts, |config| config.timeouts.message_end = Duration::from_millis(200)).await;
    assert_eq!(one, Delivery::Uncertain { reason: "no answer within 0.2 s".to_owned() });
    assert!(is_accepted(&two), "{two:?}");
}

#[tokio::test]
async fn time_of_the_next_message_runs_from_the_answer_to_the_one_before() {
    let (heard, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let script = followed([
        Step::Signal(Arc::clone(&heard)),
        Step::Wait(Arc::clone(&go_on)),
        say("250 first"),
        say(GO_ON),
        Step::HearMessage,
        say("250 second"),
    ]);
    let server = Server::plays(vec![script]).await;
    let mut config = server.config();
    config.timeouts.command = Duration::from_millis(500);
    let transport = on_one_connection(config);
    let longer_than_a_command_may_take = async {
        heard.notified().await;
        tokio::time::sleep(Duration::from_millis(800)).await;
        go_on.notify_one();
    };
    let (one, two, ()) =
        tokio::join!(send(&transport, "one", ONE), send(&transport, "two", TWO), longer_than_a_command_may_take);
    assert_eq!((one, two), (accepted("first"), accepted("second")));

    let (one, two, _) = ended_with(vec![followed([say("250 first"), Step::Hang])], |config| {
        config.timeouts.command = Duration::from_millis(300);
    })
    .await;
    assert_eq!(one, accepted("first"));
    let reason = "no answer within 0.3 s".to_owned();
    assert_eq!(two, Delivery::NotSent { stage: Stage::Sender, reason });
}

#[tokio::test]
async fn next_message_that_got_an_answer_keeps_to_its_connection() {
    let cases = [
        (vec![say("250 Ok")], Stage::Recipient),
        (vec![say("250 Ok\r\n250 Ok")], Stage::Data),
        (vec![say("250 Ok"), say("354 What?")], Stage::Recipient),
    ];
    for (answers, at) in cases {
        let mut rest = vec![say("250 first")];
        rest.extend(answers);
        let (one, two, heard) = ended(vec![followed(rest)]).await;
        assert_eq!(one, accepted("first"));
        assert!(matches!(&two, Delivery::NotSent { stage, .. } if *stage == at), "{two:?}");
        assert_eq!(heard.len(), 1);
    }
    let (one, two, _) = ended(vec![followed([say("250 first\r\n250 Ok\r\n421 4.7.0 Not you")])]).await;
    assert_eq!(one, accepted("first"));
    assert!(matches!(two, Delivery::Refused { code: 421, stage: Stage::Recipient, .. }), "{two:?}");
}

#[tokio::test]
async fn refused_recipient_of_the_next_message_changes_nothing_for_the_others() {
    let no_data = vec![say("250 first\r\n250 Ok\r\n550 5.1.1 No\r\n554 No recipients")];
    // A message to nobody was begun: it is ended at once.
    let nobody =
        vec![say("250 first\r\n250 Ok\r\n550 5.1.1 No\r\n354 Go ahead"), Step::Hear("."), say("554 No recipients")];
    for mut rest in [no_data, nobody] {
        rest.extend([Step::Hear("RSET"), say("250 Ok"), Step::Accept]);
        let server = Server::plays(vec![followed(rest)]).await;
        let transport = on_one_connection(server.config());
        let (one, two, three) =
            tokio::join!(send(&transport, "one", ONE), send(&transport, "two", TWO), send(&transport, "three", THREE));
        assert_eq!(one, accepted("first"));
        let text = "5.1.1 No".to_owned();
        assert_eq!(two, Delivery::Refused { permanent: true, code: 550, stage: Stage::Recipient, text });
        assert!(is_accepted(&three), "{three:?}");
        assert_eq!(server.messages().await, on_the_wire(&[ONE, THREE]));
    }
}

#[tokio::test]
async fn server_without_pipelining_hears_nothing_early() {
    let mut steps = Vec::new();
    for (command, reply) in
        [("MAIL FROM:*", "250 Ok"), ("RCPT TO:<one@example.org>", "250 Ok"), ("DATA", "354 Go ahead")]
    {
        steps.extend([Step::Hear(command), say(reply)]);
    }
    steps.extend([Step::HearMessage, Step::HearNothing(Duration::from_millis(100)), say("250 first"), Step::Accept]);
    let (one, two, heard) = ended(vec![after_greeting(&[], steps)]).await;
    assert_eq!(one, accepted("first"));
    assert!(is_accepted(&two), "{two:?}");
    assert_eq!(heard, on_the_wire(&[ONE, TWO]));
}

#[tokio::test]
async fn message_that_the_server_cannot_take_does_not_follow() {
    let server = Server::plays(vec![after_greeting(PIPELINING, [Step::Accept, Step::Accept])]).await;
    let transport = on_one_connection(server.config());
    let (one, two, three) = tokio::join!(
        send(&transport, "one", ONE),
        send(&transport, "two", "Subject: x\r\n\r\nä\r\n".as_bytes()),
        send(&transport, "three", THREE)
    );
    assert!(is_accepted(&one) && is_accepted(&three), "{one:?} {three:?}");
    assert!(matches!(two, Delivery::NotSent { stage: Stage::Sender, .. }), "{two:?}");
    assert_eq!(server.messages().await, on_the_wire(&[ONE, THREE]));
}

#[tokio::test]
async fn text_cut_off_is_not_sent_and_the_next_message_gets_a_new_connection() {
    let mut cut_off = greet(PIPELINING);
    cut_off.extend(hear("RCPT TO:<one@example.org>"));
    cut_off.extend([say(GO_ON), Step::HearOctets(100_000)]);
    let server = Server::plays(vec![cut_off, accepts_one()]).await;
    let transport = on_one_connection(server.config());
    let first = envelope_to("one@example.org");
    let huge = b"0123456789\r\n".repeat(3 << 20);
    let (one, two) = tokio::join!(transport.send(&first, &huge), send(&transport, "two", TWO));
    assert!(matches!(one, Delivery::NotSent { stage: Stage::Message, .. }), "{one:?}");
    assert!(is_accepted(&two), "{two:?}");
    assert_eq!(server.messages().await, on_the_wire(&[TWO]));
}

#[tokio::test]
async fn message_given_up_while_it_waits_is_not_sent() {
    let go_on = Arc::new(Notify::new());
    let mut script = greet(PIPELINING);
    script.extend(hear("RCPT TO:<one@example.org>"));
    script.extend([Step::Wait(Arc::clone(&go_on)), say(GO_ON), Step::HearMessage]);
    // The third one, for the second has gone.
    script.extend(hear("RCPT TO:<three@example.org>"));
    script.extend([say("250 first"), say(GO_ON), Step::HearMessage, say("250 third")]);
    let server = Server::plays(vec![script]).await;
    let transport = on_one_connection(server.config());
    let later = async {
        let given_up = tokio::time::timeout(Duration::from_millis(10), send(&transport, "two", TWO)).await;
        assert!(given_up.is_err());
        go_on.notify_one();
        send(&transport, "three", THREE).await
    };
    let (one, three) = tokio::join!(send(&transport, "one", ONE), later);
    assert_eq!((one, three), (accepted("first"), accepted("third")));
    assert_eq!(server.messages().await, on_the_wire(&[ONE, THREE]));
}

#[tokio::test]
async fn message_given_up_after_its_commands_takes_the_connection_with_it() {
    let (heard, go_on) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let script = followed([
        Step::Signal(Arc::clone(&heard)),
        Step::Wait(Arc::clone(&go_on)),
        say("250 first"),
        say(GO_ON),
        Step::Hang,
    ]);
    let server = Server::plays(vec![script, accepts_one()]).await;
    let transport = on_one_connection(server.config());
    let given_up = async {
        tokio::select! {
            two = send(&transport, "two", TWO) => panic!("{two:?}"),
            () = heard.notified() => go_on.notify_one(),
        }
    };
    let (one, (), three) = tokio::join!(send(&transport, "one", ONE), given_up, send(&transport, "three", THREE));
    assert_eq!(one, accepted("first"));
    assert!(is_accepted(&three), "{three:?}");
    assert_eq!(server.messages().await, on_the_wire(&[ONE, THREE]));
}

#[tokio::test]
async fn message_behind_one_that_is_given_up_gets_a_new_connection() {
    let heard = Arc::new(Notify::new());
    let script = followed([Step::Signal(Arc::clone(&heard)), Step::Hang]);
    let server = Server::plays(vec![script, accepts_one()]).await;
    let transport = on_one_connection(server.config());
    let given_up = async {
        tokio::select! {
            one = send(&transport, "one", ONE) => panic!("{one:?}"),
            () = heard.notified() => {}
        }
    };
    let ((), two) = tokio::join!(given_up, send(&transport, "two", TWO));
    assert!(is_accepted(&two), "{two:?}");
    assert_eq!(transport.open_connections(), 1);
    assert_eq!(server.messages().await, on_the_wire(&[ONE, TWO]));
}
