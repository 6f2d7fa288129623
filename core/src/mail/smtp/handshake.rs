//! From nothing to a connection that takes mail: TCP, greeting, EHLO, TLS, AUTH.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::config::{Security, SmtpConfig, SmtpConfigError, StartTlsPolicy};
use super::connection::{Broken, Connection, Counted, Offers};
use super::delivery::{Delivery, Stage};
use super::reply::Reply;
use super::stream::{SmtpStream, Trust, tls_connector};

/// Challenges of a server during AUTH, at most.
const MAX_CHALLENGES: usize = 4;

/// What opens connections to one server.
pub(super) struct Dialer {
    pub(super) config: SmtpConfig,
    verified: TlsConnector,
    opportunistic: TlsConnector,
    server_name: ServerName<'static>,
}

impl Dialer {
    pub(super) fn new(config: SmtpConfig) -> Result<Self, SmtpConfigError> {
        let connector = |trust| tls_connector(trust, &config.extra_roots).map_err(|_ignored| SmtpConfigError::Tls);
        let (verified, opportunistic) = (connector(Trust::Verified)?, connector(Trust::Opportunistic)?);
        let server_name = ServerName::try_from(config.host.clone()).map_err(|_ignored| SmtpConfigError::Host)?;
        Ok(Self { config, verified, opportunistic, server_name })
    }

    /// A connection ready for its first transaction; the error says how the message that wanted it
    /// ended.
    pub(super) async fn open(&self, open: &Arc<AtomicUsize>) -> Result<Connection, Delivery> {
        let counted = Counted::new(open);
        let mut stream = SmtpStream::Plain(self.connect().await?);
        if self.config.security == Security::Implicit {
            stream = self.encrypt(stream, &self.verified).await?;
        }
        let mut connection = Connection::over(stream, self.config.timeouts, counted);
        let greeting = connection.reply().await;
        positive(Stage::Greeting, greeting)?;
        self.hello(&mut connection).await?;
        if let Security::StartTls(policy) = self.config.security {
            connection = self.start_tls(connection, policy).await?;
        }
        if let Some(credentials) = &self.config.credentials {
            authenticate(&mut connection, credentials).await?;
        }
        Ok(connection)
    }

    async fn connect(&self) -> Result<TcpStream, Delivery> {
        let limit = self.config.timeouts.connect;
        let address = (self.config.host.as_str(), self.config.port);
        let failed = |broken: Broken| not_sent(Stage::Connect, &broken);
        let stream = timeout(limit, TcpStream::connect(address))
            .await
            .map_err(|_| failed(Broken::TimedOut(limit)))?
            .map_err(|error| failed(error.into()))?;
        // Without it the second write of a transaction waits for the first one's acknowledgement,
        // which a server may hold back for 40 ms.
        stream.set_nodelay(true).map_err(|error| failed(error.into()))?;
        Ok(stream)
    }

    async fn encrypt(&self, stream: SmtpStream, connector: &TlsConnector) -> Result<SmtpStream, Delivery> {
        let SmtpStream::Plain(stream) = stream else {
            return Ok(stream);
        };
        let limit = self.config.timeouts.connect;
        let handshake = connector.connect(self.server_name.clone(), stream);
        match timeout(limit, handshake).await {
            Ok(Ok(stream)) => Ok(SmtpStream::Tls(Box::new(stream))),
            // rustls names the fault of a certificate here, which whoever set it up needs to know.
            Ok(Err(error)) => {
                let reason = super::reply::cleaned(&format!("the TLS handshake failed: {error}"), "");
                Err(Delivery::NotSent { stage: Stage::Tls, reason })
            }
            Err(_) => Err(not_sent(Stage::Tls, &Broken::TimedOut(limit))),
        }
    }

    async fn hello(&self, connection: &mut Connection) -> Result<(), Delivery> {
        let hello = format!("EHLO {}\r\n", self.config.hello_name);
        let reply = connection.command(&hello).await;
        connection.offers = offers(&positive(Stage::Hello, reply)?);
        Ok(())
    }

    async fn start_tls(&self, mut connection: Connection, policy: StartTlsPolicy) -> Result<Connection, Delivery> {
        let connector = match policy {
            StartTlsPolicy::Never => return Ok(connection),
            StartTlsPolicy::Opportunistic if !connection.offers.start_tls => return Ok(connection),
            StartTlsPolicy::Opportunistic => &self.opportunistic,
            StartTlsPolicy::Required => &self.verified,
        };
        if !connection.offers.start_tls {
            let broken = Broken::Protocol("the server does not offer STARTTLS, which is required");
            return Err(not_sent(Stage::StartTls, &broken));
        }
        let reply = connection.command("STARTTLS\r\n").await;
        positive(Stage::StartTls, reply)?;
        // Anything that came with the reply came unencrypted, and must not be taken for an answer
        // to what follows.
        if connection.read_from < connection.received.len() {
            let broken = Broken::Protocol("the server went on in clear text after STARTTLS");
            return Err(not_sent(Stage::StartTls, &broken));
        }
        connection.stream = self.encrypt(connection.stream, connector).await?;
        // What was offered in clear text may have been tampered with.
        self.hello(&mut connection).await?;
        Ok(connection)
    }
}

async fn authenticate(connection: &mut Connection, credentials: &Credentials) -> Result<(), Delivery> {
    let mechanism = if connection.offers.auth_plain {
        Mechanism::Plain
    } else if connection.offers.auth_login {
        Mechanism::Login
    } else {
        let broken = Broken::Protocol("the server offers neither AUTH PLAIN nor AUTH LOGIN");
        return Err(not_sent(Stage::Auth, &broken));
    };
    let unfit = || not_sent(Stage::Auth, &Broken::Protocol("the server's challenge is not known"));
    let mut command = format!("AUTH {mechanism}");
    if mechanism.supports_initial_response() {
        let answer = mechanism.response(credentials, None).map_err(|_ignored| unfit())?;
        command = format!("{command} {}", BASE64.encode(answer));
    }
    for _ in 0..MAX_CHALLENGES {
        command.push_str("\r\n");
        let reply = connection.command(&command).await.map_err(|broken| not_sent(Stage::Auth, &broken))?;
        if reply.code != 334 {
            return positive(Stage::Auth, Ok(reply)).map(drop);
        }
        let challenge = BASE64.decode(reply.lines.trim()).map_err(|_ignored| unfit())?;
        let challenge = String::from_utf8(challenge).map_err(|_ignored| unfit())?;
        let answer = mechanism.response(credentials, Some(&challenge)).map_err(|_ignored| unfit())?;
        command = BASE64.encode(answer);
    }
    Err(unfit())
}

/// The reply, if it is a 2xx one.
fn positive(stage: Stage, reply: Result<Reply, Broken>) -> Result<Reply, Delivery> {
    match reply {
        Ok(reply) if reply.is_positive() => Ok(reply),
        Ok(reply) if reply.is_refusal() => {
            Err(Delivery::Refused { permanent: reply.code >= 500, code: reply.code, stage, text: reply.text("") })
        }
        Ok(_) => {
            let broken = Broken::Protocol("the server's reply does not fit the command");
            Err(not_sent(stage, &broken))
        }
        Err(broken) => Err(not_sent(stage, &broken)),
    }
}

fn not_sent(stage: Stage, broken: &Broken) -> Delivery {
    Delivery::NotSent { stage, reason: broken.to_string() }
}

/// Reads the keywords in the reply to EHLO.
fn offers(reply: &Reply) -> Offers {
    let mut offers = Offers::default();
    for line in reply.lines.lines().skip(1) {
        // Some old servers write AUTH=LOGIN.
        let mut words = line.split([' ', '=']).map(str::to_ascii_uppercase);
        match words.next().as_deref() {
            Some("PIPELINING") => offers.pipelining = true,
            Some("8BITMIME") => offers.eight_bit_mime = true,
            Some("DSN") => offers.dsn = true,
            Some("STARTTLS") => offers.start_tls = true,
            Some("AUTH") => {
                for mechanism in words {
                    offers.auth_plain |= mechanism == "PLAIN";
                    offers.auth_login |= mechanism == "LOGIN";
                }
            }
            _ => {}
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_whatever_their_case() {
        let lines =
            "mail.example.org PIPELINING\npipelining\nSIZE 1000\nAUTH=LOGIN\nAUTH CRAM-MD5 PLAIN\nStartTLS\nDSN";
        let read = offers(&Reply { code: 250, lines: lines.to_owned() });
        let expected = Offers {
            pipelining: true,
            eight_bit_mime: false,
            dsn: true,
            start_tls: true,
            auth_plain: true,
            auth_login: true,
        };
        assert_eq!(read, expected);
        let name_only = Reply { code: 250, lines: "PIPELINING".to_owned() };
        assert_eq!(offers(&name_only), Offers::default());
    }
}
