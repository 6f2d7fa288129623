//! The transaction of one message.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Broken, Connection};
use super::delivery::{Delivery, Envelope, Stage};
use super::reply::Reply;
use super::wire::WireMessage;

/// How long to look for last words of a server that stopped taking a message.
const LAST_WORDS: Duration = Duration::from_millis(250);
/// How a transaction ended, and what became of its connection.
pub(super) struct Transaction {
    pub(super) delivery: Delivery,
    /// The connection can take the next message.
    pub(super) reusable: bool,
    /// The server went away before it answered to anything: on a connection that had been idle,
    /// it had closed it meanwhile.
    pub(super) never_began: bool,
}

impl Transaction {
    fn ended(delivery: Delivery, reusable: bool) -> Self {
        Self { delivery, reusable, never_began: false }
    }

    fn not_sent(stage: Stage, broken: &Broken) -> Self {
        Self::ended(Delivery::NotSent { stage, reason: broken.to_string() }, false)
    }
}

impl Connection {
    /// Sends one message to one recipient. Dropping the future leaves it open how that ended, and
    /// the connection must not be used again.
    pub(super) async fn transact(&mut self, envelope: &Envelope, message: &WireMessage) -> Transaction {
        if !message.is_ascii() && !self.offers.eight_bit_mime {
            let reason = "the message is 8-bit and the server does not offer 8BITMIME".to_owned();
            return Transaction::ended(Delivery::NotSent { stage: Stage::Sender, reason }, true);
        }
        if let Err(ended) = self.announce(envelope, message).await {
            return ended;
        }
        self.deliver(envelope, message).await
    }

    /// MAIL, RCPT and DATA, up to the go-ahead. The error is the end of the transaction.
    async fn announce(&mut self, envelope: &Envelope, message: &WireMessage) -> Result<(), Transaction> {
        let commands = self.commands(envelope, message);
        if self.offers.pipelining {
            let all = commands.concat();
            if let Err(broken) = self.write(all.as_bytes()).await {
                return Err(self.lost(Stage::Sender, &broken, true));
            }
        }
        let reset = commands[0].as_str();
        if !reset.is_empty() {
            let answered = match self.offers.pipelining {
                true => self.reply().await,
                false => self.command(reset).await,
            };
            match answered {
                Ok(reply) if reply.is_positive() => self.needs_reset = false,
                Ok(_) => {
                    let broken = Broken::Protocol("the server refused RSET");
                    return Err(Transaction { never_began: true, ..Transaction::not_sent(Stage::Sender, &broken) });
                }
                Err(broken) => return Err(self.lost(Stage::Sender, &broken, true)),
            }
        }
        let mut refusal = None;
        let mut go_ahead = false;
        let stages = [Stage::Sender, Stage::Recipient, Stage::Data];
        for (stage, command) in stages.into_iter().zip(&commands[1..]) {
            let answered = match self.offers.pipelining {
                true => self.reply().await,
                false => self.command(command).await,
            };
            let reply = match (answered, refusal.take()) {
                (Ok(reply), earlier) => {
                    refusal = earlier;
                    reply
                }
                // Refused, and then the connection went: the refusal stands.
                (Err(_), Some(refused)) => return Err(Transaction::ended(refused, false)),
                (Err(broken), None) => {
                    return Err(self.lost(stage, &broken, stage == Stage::Sender));
                }
            };
            let expected = match stage {
                Stage::Data => reply.code == 354,
                _ => reply.is_positive(),
            };
            if expected {
                go_ahead = stage == Stage::Data;
            } else if reply.is_refusal() {
                // The first refusal is the reason; the ones after it follow from it.
                let first = refusal.take().unwrap_or_else(|| refused(stage, &reply, envelope));
                if reply.is_closing() {
                    let never_began = stage == Stage::Sender;
                    return Err(Transaction { delivery: first, reusable: false, never_began });
                }
                refusal = Some(first);
                if !self.offers.pipelining {
                    break;
                }
            } else {
                let broken = Broken::Protocol("the server's reply does not fit the command");
                return Err(Transaction::not_sent(stage, &broken));
            }
        }
        let Some(refused) = refusal else {
            return Ok(());
        };
        self.needs_reset = true;
        // DATA was on its way before the refusal came. With no recipient left the server may still
        // wait for a message: an empty one (RFC 2920 3.1), which goes to nobody.
        let reusable = !go_ahead || self.empty_message().await.is_ok();
        Err(Transaction::ended(refused, reusable))
    }

    /// The message with its end, and the reply.
    async fn deliver(&mut self, envelope: &Envelope, message: &WireMessage) -> Transaction {
        let mut sent = 0;
        let written = self.write_counting(message.bytes(), &mut sent).await;
        if let Err(broken) = written {
            // It may have said why before it stopped listening.
            if let Ok(Ok(reply)) = timeout(LAST_WORDS, self.reply()).await
                && reply.is_refusal()
            {
                return Transaction::ended(refused(Stage::Message, &reply, envelope), false);
            }
            if message.end_is_out(sent) {
                return Transaction::ended(uncertain(&broken), false);
            }
            return Transaction::not_sent(Stage::Message, &broken);
        }
        match self.reply_within(self.timeouts.message_end).await {
            Ok(reply) if reply.is_positive() => {
                let reply = reply.first_line(envelope.recipient.local_part());
                Transaction::ended(Delivery::Accepted { reply }, true)
            }
            Ok(reply) if reply.is_refusal() => {
                let reusable = !reply.is_closing();
                Transaction::ended(refused(Stage::Message, &reply, envelope), reusable)
            }
            Ok(_) => {
                let broken = Broken::Protocol("the reply to the message is neither yes nor no");
                Transaction::ended(uncertain(&broken), false)
            }
            Err(broken) => Transaction::ended(uncertain(&broken), false),
        }
    }

    /// RSET (empty if not needed), MAIL, RCPT, DATA.
    fn commands(&self, envelope: &Envelope, message: &WireMessage) -> [String; 4] {
        let reset = if self.needs_reset { "RSET\r\n" } else { "" };
        let body = if message.is_ascii() { "" } else { " BODY=8BITMIME" };
        let (track, notify) = match &envelope.tracking {
            Some(id) if self.offers.dsn => (format!(" RET=HDRS ENVID={id}"), " NOTIFY=FAILURE,DELAY"),
            _ => (String::new(), ""),
        };
        [
            reset.to_owned(),
            format!("MAIL FROM:<{}>{body}{track}\r\n", envelope.return_path.expose()),
            format!("RCPT TO:<{}>{notify}\r\n", envelope.recipient.expose()),
            "DATA\r\n".to_owned(),
        ]
    }

    /// The end of a transaction whose connection broke before the message began.
    fn lost(&self, stage: Stage, broken: &Broken, nothing_answered: bool) -> Transaction {
        Transaction { never_began: nothing_answered && broken.is_lost(), ..Transaction::not_sent(stage, broken) }
    }

    async fn empty_message(&mut self) -> Result<Reply, Broken> {
        self.command(".\r\n").await
    }
}

fn refused(stage: Stage, reply: &Reply, envelope: &Envelope) -> Delivery {
    Delivery::Refused {
        permanent: reply.code >= 500,
        code: reply.code,
        stage,
        text: reply.text(envelope.recipient.local_part()),
    }
}

fn uncertain(broken: &Broken) -> Delivery {
    Delivery::Uncertain { reason: broken.to_string() }
}
