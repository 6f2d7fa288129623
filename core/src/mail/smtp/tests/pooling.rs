//! Connections used again, lost while idle, and bounded.

use std::time::Duration;

use super::super::{Delivery, Stage};
use super::server::{MESSAGE, Server, Step, after_greeting, envelope, say, transport};

fn is_accepted(delivery: &Delivery) -> bool {
    matches!(delivery, Delivery::Accepted { .. })
}

#[tokio::test]
async fn one_connection_carries_many_messages() {
    for extensions in [&[][..], &["PIPELINING"][..]] {
        let server = Server::plays(vec![after_greeting(extensions, vec![Step::Accept; 5])]).await;
        let transport = transport(server.config());
        for _ in 0..5 {
            assert!(is_accepted(&transport.send(&envelope(), MESSAGE).await));
        }
        assert_eq!(transport.open_connections(), 1);
        assert_eq!(server.messages().await.len(), 5);
    }
}

#[tokio::test]
async fn refused_transaction_is_reset_before_the_next_one() {
    for extensions in [&[][..], &["PIPELINING"][..]] {
        let mut steps = vec![Step::Hear("MAIL FROM:*"), say("250 Ok"), Step::Hear("RCPT TO:*"), say("550 No")];
        if !extensions.is_empty() {
            steps.extend([Step::Hear("DATA"), say("503 No recipients")]);
        }
        steps.extend([Step::Hear("RSET"), say("250 Ok"), Step::Accept, Step::Accept]);
        let server = Server::plays(vec![after_greeting(extensions, steps)]).await;
        let transport = transport(server.config());
        let refused = transport.send(&envelope(), MESSAGE).await;
        assert!(matches!(refused, Delivery::Refused { code: 550, stage: Stage::Recipient, .. }), "{refused:?}");
        for _ in 0..2 {
            assert!(is_accepted(&transport.send(&envelope(), MESSAGE).await));
        }
        assert_eq!(server.messages().await.len(), 2);
    }
}

#[tokio::test]
async fn connection_that_the_server_closed_while_idle_is_replaced() {
    // The first script ends, and with it the connection, after its message.
    let scripts = vec![after_greeting(&["PIPELINING"], [Step::Accept]); 3];
    let server = Server::plays(scripts).await;
    let transport = transport(server.config());
    for _ in 0..3 {
        let delivery = transport.send(&envelope(), MESSAGE).await;
        assert!(is_accepted(&delivery), "{delivery:?}");
    }
    assert_eq!(server.messages().await.len(), 3);
}

#[tokio::test]
async fn idle_connection_lost_under_the_first_command_is_replaced_once() {
    for extensions in [&[][..], &["PIPELINING"][..]] {
        for farewell in [None, Some(say("421 4.4.2 Idle for too long"))] {
            // Still open when the second message comes, gone before it answers to anything.
            let mut steps = vec![Step::Accept, Step::Hear("MAIL FROM:*")];
            steps.extend(farewell.clone());
            let scripts = vec![after_greeting(extensions, steps), after_greeting(extensions, [Step::Accept])];
            let server = Server::plays(scripts).await;
            let transport = transport(server.config());
            for _ in 0..2 {
                let delivery = transport.send(&envelope(), MESSAGE).await;
                assert!(is_accepted(&delivery), "{delivery:?} {extensions:?} {farewell:?}");
            }
            assert_eq!(server.messages().await.len(), 2);
        }
    }
}

#[tokio::test]
async fn new_connection_that_is_lost_is_not_tried_again() {
    let server = Server::plays(vec![
        after_greeting(&["PIPELINING"], [Step::Hear("MAIL FROM:*"), say("421 4.3.2 Going down")]),
        after_greeting(&["PIPELINING"], [Step::Hear("MAIL FROM:*")]),
        after_greeting(&["PIPELINING"], [Step::Accept]),
    ])
    .await;
    let transport = transport(server.config());
    let delivery = transport.send(&envelope(), MESSAGE).await;
    assert!(
        matches!(delivery, Delivery::Refused { permanent: false, code: 421, stage: Stage::Sender, .. }),
        "{delivery:?}"
    );
    let delivery = transport.send(&envelope(), MESSAGE).await;
    assert!(matches!(delivery, Delivery::NotSent { stage: Stage::Sender, .. }), "{delivery:?}");
    assert!(is_accepted(&transport.send(&envelope(), MESSAGE).await));
    assert_eq!(server.messages().await.len(), 1);
}

#[tokio::test]
async fn uncertain_end_on_a_used_connection_is_never_tried_again() {
    let until_the_reply = [
        Step::Accept,
        Step::Hear("MAIL FROM:*"),
        say("250 Ok"),
        Step::Hear("RCPT TO:*"),
        say("250 Ok"),
        Step::Hear("DATA"),
        say("354 Go ahead"),
        Step::HearMessage,
    ];
    let server = Server::plays(vec![after_greeting(&["PIPELINING"], until_the_reply)]).await;
    let transport = transport(server.config());
    assert!(is_accepted(&transport.send(&envelope(), MESSAGE).await));
    let delivery = transport.send(&envelope(), MESSAGE).await;
    assert!(matches!(delivery, Delivery::Uncertain { .. }), "{delivery:?}");
    assert_eq!(transport.open_connections(), 0);
    assert_eq!(server.messages().await.len(), 2);
}

#[tokio::test]
async fn connection_of_an_abandoned_send_is_not_used_again() {
    let halfway = [Step::Hear("MAIL FROM:*"), say("250 Ok"), Step::Hear("RCPT TO:*"), Step::Hang];
    let server = Server::plays(vec![after_greeting(&[], halfway), after_greeting(&[], [Step::Accept])]).await;
    let mut config = server.config();
    config.max_connections = 1;
    let transport = transport(config);
    let envelope = envelope();
    let abandoned = tokio::time::timeout(Duration::from_millis(300), transport.send(&envelope, MESSAGE)).await;
    assert!(abandoned.is_err());
    assert_eq!(transport.open_connections(), 0);
    assert!(is_accepted(&transport.send(&envelope, MESSAGE).await));
    assert_eq!(server.messages().await.len(), 1);
}

#[tokio::test]
async fn never_more_connections_than_allowed() {
    // The server serves one connection after the other: were there a second one at a time, its
    // messages would wait for ever.
    let server = Server::plays(vec![after_greeting(&["PIPELINING"], vec![Step::Accept; 20])]).await;
    let mut config = server.config();
    config.max_connections = 1;
    let transport = transport(config);
    let sends: Vec<_> = (0..20)
        .map(|_| {
            let transport = transport.clone();
            tokio::spawn(async move { transport.send(&envelope(), MESSAGE).await })
        })
        .collect();
    for send in sends {
        assert!(is_accepted(&send.await.expect("sent")));
    }
    assert_eq!(transport.open_connections(), 1);
    assert_eq!(server.messages().await.len(), 20);
}

#[tokio::test]
async fn idle_connection_is_closed_in_time_with_a_farewell() {
    let server =
        Server::plays(vec![after_greeting(&[], [Step::Accept, Step::Hear("QUIT"), say("221 Bye"), Step::Hang])]).await;
    let mut config = server.config();
    config.timeouts.idle = Duration::from_millis(100);
    let transport = transport(config);
    assert!(is_accepted(&transport.send(&envelope(), MESSAGE).await));
    assert_eq!(transport.open_connections(), 1);
    // Ends only once QUIT was heard and the client has gone.
    assert_eq!(server.messages().await.len(), 1);
}

#[tokio::test]
async fn close_takes_leave_and_the_next_message_connects_anew() {
    let server = Server::plays(vec![
        after_greeting(&[], [Step::Accept, Step::Hear("QUIT"), say("221 Bye")]),
        after_greeting(&[], [Step::Accept]),
    ])
    .await;
    let transport = transport(server.config());
    assert!(is_accepted(&transport.send(&envelope(), MESSAGE).await));
    transport.close().await;
    assert_eq!(transport.open_connections(), 0);
    assert!(is_accepted(&transport.send(&envelope(), MESSAGE).await));
    assert_eq!(server.messages().await.len(), 2);
}

#[tokio::test]
async fn connection_whose_server_is_going_down_is_not_kept() {
    let going_down = [
        Step::Hear("MAIL FROM:*"),
        say("250 Ok"),
        Step::Hear("RCPT TO:*"),
        say("250 Ok"),
        Step::Hear("DATA"),
        say("354 Go ahead"),
        Step::HearMessage,
        say("421 4.3.2 Going down"),
        Step::Hang,
    ];
    let server = Server::plays(vec![after_greeting(&[], going_down)]).await;
    let transport = transport(server.config());
    let delivery = transport.send(&envelope(), MESSAGE).await;
    let refused = matches!(delivery, Delivery::Refused { code: 421, stage: Stage::Message, permanent: false, .. });
    assert!(refused, "{delivery:?}");
    assert_eq!(transport.open_connections(), 0);
    server.messages().await;
}
