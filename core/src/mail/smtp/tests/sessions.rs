//! TLS, AUTH and the parameters of the commands.

use uuid::Uuid;

use super::super::{Delivery, SmtpConfig, Stage};
use super::server::{AUTHORITY, MESSAGE, Server, Step, after_greeting, envelope, greet, say, transport};
use crate::mail::MessageId;

fn is_accepted(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Accepted { .. })
}

fn start_tls(and_then: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut steps = vec![Step::Hear("STARTTLS"), say("220 Go ahead"), Step::Encrypt];
    steps.extend(and_then);
    after_greeting(&["STARTTLS"], steps)
}

fn hello_again(extensions: &[&str]) -> Vec<Step> {
    greet(extensions).into_iter().skip(1).collect()
}

#[tokio::test]
async fn starttls_with_a_trusted_certificate_is_used() {
    let mut rest = hello_again(&["PIPELINING"]);
    rest.extend([Step::Accept, Step::Accept]);
    let server = Server::plays(vec![start_tls(rest)]).await;
    let config = server.config_with("smtp", "?starttls=required").trusting(AUTHORITY).expect("pem");
    let transport = transport(config);
    for _ in 0..2 {
        let delivery = transport.send(&envelope(), MESSAGE).await;
        assert!(is_accepted(&delivery), "{delivery:?}");
    }
    assert_eq!(server.messages().await.len(), 2);
}

#[tokio::test]
async fn tls_from_the_first_byte() {
    let mut script = vec![Step::Encrypt];
    script.extend(after_greeting(&[], [Step::Accept]));
    let server = Server::plays(vec![script]).await;
    let config = server.config_with("smtps", "").trusting(AUTHORITY).expect("pem");
    assert!(is_accepted(&transport(config).send(&envelope(), MESSAGE).await));
}

#[tokio::test]
async fn certificate_that_nobody_vouches_for_is_refused_where_tls_is_required() {
    let scripts = [("smtp", "?starttls=required", start_tls([])), ("smtps", "", vec![Step::Encrypt])];
    for (scheme, tail, script) in scripts {
        let server = Server::plays(vec![script]).await;
        let delivery = transport(server.config_with(scheme, tail)).send(&envelope(), MESSAGE).await;
        assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Tls, .. }), "{delivery:?}");
        assert!(server.messages().await.is_empty());
    }
}

#[tokio::test]
async fn opportunistic_tls_takes_any_certificate_and_clear_text_if_it_must() {
    let mut rest = hello_again(&[]);
    rest.push(Step::Accept);
    for script in [start_tls(rest), after_greeting(&[], [Step::Accept])] {
        let server = Server::plays(vec![script]).await;
        let config = server.config_with("smtp", "");
        let delivery = transport(config).send(&envelope(), MESSAGE).await;
        assert!(is_accepted(&delivery), "{delivery:?}");
    }
}

#[tokio::test]
async fn required_starttls_that_is_not_offered_or_refused_sends_nothing() {
    let server = Server::plays(vec![greet(&[])]).await;
    let config = server.config_with("smtp", "?starttls=required");
    let delivery = transport(config).send(&envelope(), MESSAGE).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::StartTls, .. }), "{delivery:?}");

    let script = after_greeting(&["STARTTLS"], [Step::Hear("STARTTLS"), say("454 Not now")]);
    let server = Server::plays(vec![script]).await;
    let config = server.config_with("smtp", "?starttls=required");
    let delivery = transport(config).send(&envelope(), MESSAGE).await;
    assert!(
        matches!(delivery, Delivery::Refused { code: 454, stage: Stage::StartTls, permanent: false, .. }),
        "{delivery:?}"
    );
}

#[tokio::test]
async fn words_slipped_in_before_the_encryption_are_not_believed() {
    let script = after_greeting(
        &["STARTTLS"],
        [Step::Hear("STARTTLS"), say("220 Go ahead\r\n250-evil.example.org\r\n250 AUTH PLAIN"), Step::Hang],
    );
    let server = Server::plays(vec![script]).await;
    let config = server.config_with("smtp", "?starttls=required").trusting(AUTHORITY).expect("pem");
    let delivery = transport(config).send(&envelope(), MESSAGE).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::StartTls, .. }), "{delivery:?}");
}

fn with_login(server: &Server) -> SmtpConfig {
    let url = format!("smtp://user:secret@127.0.0.1:{}?starttls=never", server.port);
    SmtpConfig::parse(&url).expect("config")
}

#[tokio::test]
async fn authenticates_by_plain_or_login() {
    // "\0user\0secret", "Username:", "user", "Password:", "secret"
    let plain = [Step::Hear("AUTH PLAIN AHVzZXIAc2VjcmV0"), say("235 2.7.0 Ok"), Step::Accept];
    let login = [
        Step::Hear("AUTH LOGIN"),
        say("334 VXNlcm5hbWU6"),
        Step::Hear("dXNlcg=="),
        say("334 UGFzc3dvcmQ6"),
        Step::Hear("c2VjcmV0"),
        say("235 2.7.0 Ok"),
        Step::Accept,
    ];
    for script in [after_greeting(&["AUTH LOGIN PLAIN"], plain), after_greeting(&["AUTH LOGIN CRAM-MD5"], login)] {
        let server = Server::plays(vec![script]).await;
        let delivery = transport(with_login(&server)).send(&envelope(), MESSAGE).await;
        assert!(is_accepted(&delivery), "{delivery:?}");
        server.messages().await;
    }
}

#[tokio::test]
async fn failed_authentication_is_about_the_session_not_the_message() {
    let refused = [Step::Hear("AUTH PLAIN *"), say("535 5.7.8 Bad credentials")];
    let server = Server::plays(vec![after_greeting(&["AUTH PLAIN"], refused)]).await;
    let delivery = transport(with_login(&server)).send(&envelope(), MESSAGE).await;
    let Delivery::Refused { code: 535, stage, .. } = delivery else { panic!("{delivery:?}") };
    assert_eq!(stage, Stage::Auth);
    assert!(stage.is_session());

    for mechanisms in [&[][..], &["AUTH GSSAPI"][..]] {
        let server = Server::plays(vec![greet(mechanisms)]).await;
        let delivery = transport(with_login(&server)).send(&envelope(), MESSAGE).await;
        assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Auth, .. }), "{delivery:?}");
    }
}

#[tokio::test]
async fn eight_bit_message_needs_a_server_that_takes_it() {
    let message = "Subject: x\r\n\r\nä\r\n".as_bytes();
    let server = Server::plays(vec![after_greeting(
        &["8BITMIME"],
        [Step::Hear("MAIL FROM:<bounce@example.org> BODY=8BITMIME"), say("451 Not now")],
    )])
    .await;
    let delivery = transport(server.config()).send(&envelope(), message).await;
    assert!(matches!(delivery, Delivery::Refused { code: 451, .. }), "{delivery:?}");

    let server = Server::plays(vec![greet(&[])]).await;
    let delivery = transport(server.config()).send(&envelope(), message).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Sender, .. }), "{delivery:?}");
}

#[tokio::test]
async fn bounces_are_asked_for_under_the_message_id_where_dsn_is_offered() {
    let id = MessageId::derive(Uuid::from_u128(7), "example.org");
    let tracked = envelope().tracked_by(&id);
    let server = Server::plays(vec![after_greeting(
        &["DSN"],
        [
            Step::Hear("MAIL FROM:<bounce@example.org> RET=HDRS ENVID=a3f23b2b0941b9cbcf600d0a48ab0ee4"),
            say("250 Ok"),
            Step::Hear("RCPT TO:<jana.probe@example.org> NOTIFY=FAILURE,DELAY"),
            say("451 Not now"),
        ],
    )])
    .await;
    let delivery = transport(server.config()).send(&tracked, MESSAGE).await;
    assert!(matches!(delivery, Delivery::Refused { code: 451, stage: Stage::Recipient, .. }), "{delivery:?}");

    let server =
        Server::plays(vec![after_greeting(&[], [Step::Hear("MAIL FROM:<bounce@example.org>"), say("451 Not now")])])
            .await;
    let delivery = transport(server.config()).send(&tracked, MESSAGE).await;
    assert!(matches!(delivery, Delivery::Refused { code: 451, .. }), "{delivery:?}");
}

#[tokio::test]
async fn connection_closed_in_the_middle_of_an_encrypted_message_is_not_sent() {
    let mut rest = hello_again(&["PIPELINING"]);
    rest.extend([
        Step::Hear("MAIL FROM:*"),
        say("250 Ok"),
        Step::Hear("RCPT TO:*"),
        say("250 Ok"),
        Step::Hear("DATA"),
        say("354 Go ahead"),
        Step::HearOctets(100_000),
    ]);
    let server = Server::plays(vec![start_tls(rest)]).await;
    let huge = b"0123456789\r\n".repeat(3 << 20);
    let delivery = transport(server.config_with("smtp", "")).send(&envelope(), &huge).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Message, .. }), "{delivery:?}");
}
