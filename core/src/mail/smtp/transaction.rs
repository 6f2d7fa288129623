//! The transaction of one message.

use std::time::Duration;

use tokio::time::timeout;

use super::connection::{Broken, Connection};
use super::delivery::{Delivery, Envelope, Stage};
use super::reply::Reply;
use super::wire::WireMessage;

/// How long to look for last words of a server that stopped taking a message.
const LAST_WORDS: Duration = Duration::from_millis(250);
const RSET: &str = "RSET\r\n";

/// How a transaction ended, and what became of its connection.
pub(super) struct Transaction {
    pub(super) delivery: Delivery,
    /// The connection can take the next message.
    pub(super) reusable: bool,
    /// The server went away before it answered to anything of this message: on a connection that
    /// had been idle it had closed it meanwhile, on a shared one it had enough of messages.
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
    /// MAIL, RCPT and DATA, up to the go-ahead for the text. With `announced` they are out already,
    /// behind the text of the message before. The error is the end of the transaction.
    ///
    /// Dropping this future, or that of [`Self::deliver`], leaves it open how the transaction
    /// ended, and the connection must not be used again.
    pub(super) async fn announce(
        &mut self,
        envelope: &Envelope,
        is_ascii: bool,
        announced: bool,
    ) -> Result<(), Transaction> {
        if !self.takes(is_ascii) {
            let reason = "the message is 8-bit and the server does not offer 8BITMIME".to_owned();
            return Err(Transaction::ended(Delivery::NotSent { stage: Stage::Sender, reason }, true));
        }
        let pipelining = self.offers.pipelining;
        if pipelining && !announced {
            let reset = if self.needs_reset { RSET } else { "" };
            let all = format!("{reset}{}", self.group(envelope, is_ascii));
            if let Err(broken) = self.write(all.as_bytes()).await {
                return Err(self.lost(Stage::Sender, &broken, true));
            }
        }
        if self.needs_reset {
            let answered = if pipelining { self.reply().await } else { self.command(RSET).await };
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
        for stage in [Stage::Sender, Stage::Recipient, Stage::Data] {
            let answered = if pipelining {
                self.reply().await
            } else {
                let mut command = String::new();
                self.put(&mut command, stage, envelope, is_ascii);
                self.command(&command).await
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
                if !pipelining {
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

    /// The message with its end, and the reply. `next` goes out with it: the [`Self::group`] of the
    /// message that follows on this connection, or nothing. If the transaction's end says that the
    /// connection is reusable, all of `next` is out.
    pub(super) async fn deliver(&mut self, envelope: &Envelope, message: &WireMessage<'_>, next: &str) -> Transaction {
        let [text, end] = message.pieces();
        let mut sent = 0;
        let written = self.write_counting([text, end, next.as_bytes()], &mut sent).await;
        if let Err(broken) = &written
            && !message.is_out(sent)
        {
            // It may have said why before it stopped listening.
            if let Ok(Ok(reply)) = timeout(LAST_WORDS, self.reply()).await
                && reply.is_refusal()
            {
                return Transaction::ended(refused(Stage::Message, &reply, envelope), false);
            }
            if message.end_is_out(sent) {
                return Transaction::ended(uncertain(broken), false);
            }
            return Transaction::not_sent(Stage::Message, broken);
        }
        // Whatever became of `next`, this message went out whole and has its answer to come.
        let intact = written.is_ok();
        match self.reply_within(self.timeouts.message_end).await {
            Ok(reply) if reply.is_positive() => {
                let reply = reply.first_line(envelope.recipient.local_part());
                Transaction::ended(Delivery::Accepted { reply }, intact)
            }
            Ok(reply) if reply.is_refusal() => {
                let reusable = intact && !reply.is_closing();
                Transaction::ended(refused(Stage::Message, &reply, envelope), reusable)
            }
            Ok(_) => {
                let broken = Broken::Protocol("the reply to the message is neither yes nor no");
                Transaction::ended(uncertain(&broken), false)
            }
            Err(broken) => Transaction::ended(uncertain(&broken), false),
        }
    }

    /// Whether a message may go over this connection, as far as its octets are concerned.
    pub(super) fn takes(&self, is_ascii: bool) -> bool {
        is_ascii || self.offers.eight_bit_mime
    }

    /// MAIL, RCPT and DATA of one message, for a server that offers PIPELINING.
    pub(super) fn group(&self, envelope: &Envelope, is_ascii: bool) -> String {
        let mut group = String::with_capacity(256);
        for stage in [Stage::Sender, Stage::Recipient, Stage::Data] {
            self.put(&mut group, stage, envelope, is_ascii);
        }
        group
    }

    /// Adds the command of `stage`.
    fn put(&self, to: &mut String, stage: Stage, envelope: &Envelope, is_ascii: bool) {
        let tracking = envelope.tracking.as_deref().filter(|_| self.offers.dsn);
        match stage {
            Stage::Sender => {
                to.extend(["MAIL FROM:<", envelope.return_path.expose(), ">"]);
                if !is_ascii {
                    to.push_str(" BODY=8BITMIME");
                }
                if let Some(id) = tracking {
                    to.extend([" RET=HDRS ENVID=", id]);
                }
            }
            Stage::Recipient => {
                to.extend(["RCPT TO:<", envelope.recipient.expose(), ">"]);
                if tracking.is_some() {
                    to.push_str(" NOTIFY=FAILURE,DELAY");
                }
            }
            _ => to.push_str("DATA"),
        }
        to.push_str("\r\n");
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
