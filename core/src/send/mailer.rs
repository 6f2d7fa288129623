//! Where mail goes: an SMTP server, or the development mailbox.

use std::time::Duration;

use crate::ids::Ids;
use crate::mail::{Delivery, OutgoingMail, SmtpTransport, Stage};
use crate::store::mailbox::{self, InboxLine};
use crate::store::{Db, Scope};

/// Hands mail over.
#[derive(Clone)]
pub enum Mailer {
    /// To an SMTP server.
    Smtp(SmtpTransport),
    /// To the development mailbox.
    Mailbox(Db),
}

impl std::fmt::Debug for Mailer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Mailer::Smtp(_) => "Mailer::Smtp",
            Mailer::Mailbox(_) => "Mailer::Mailbox",
        })
    }
}

impl Mailer {
    /// How many mails are worth having ready at once: one on its way on each connection, and one that follows it.
    pub fn worth_at_once(&self) -> usize {
        match self {
            Mailer::Smtp(smtp) => 2 * smtp.max_connections(),
            Mailer::Mailbox(_) => 8,
        }
    }

    /// Delivers one mail, and says exactly how that ended.
    pub async fn deliver(&self, mail: &OutgoingMail) -> Delivery {
        let bytes = mail.to_bytes();
        match self {
            Mailer::Smtp(smtp) => smtp.send(&mail.envelope(), &bytes).await,
            Mailer::Mailbox(db) => {
                let line = InboxLine {
                    id: Ids.new_id(),
                    to: mail.to.expose().to_owned(),
                    subject: mail.rendered.subject.clone(),
                    message_id: mail.message_id.as_str().to_owned(),
                    received_at: mail.date,
                };
                let take_in = async {
                    let mut tx = db.begin(Scope::Platform).await?;
                    mailbox::take_in(tx.conn(), &line, &bytes).await?;
                    tx.commit().await
                };
                match tokio::time::timeout(Duration::from_secs(30), take_in).await {
                    Ok(Ok(())) => Delivery::Accepted { reply: "in the development mailbox".into() },
                    Ok(Err(error)) => Delivery::NotSent { stage: Stage::Connect, reason: error.to_string() },
                    Err(_) => Delivery::Uncertain { reason: "the development mailbox did not answer".into() },
                }
            }
        }
    }
}
