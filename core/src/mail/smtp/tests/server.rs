//! A server that says and expects what a test wrote down, connection by connection.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufStream};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::super::{Envelope, SmtpConfig, SmtpTransport};

/// The authority that signed the scripted server's certificate.
pub(super) const AUTHORITY: &[u8] = include_bytes!("authority.pem");

/// How long one script may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// One thing the server does.
#[derive(Debug, Clone)]
pub(super) enum Step {
    /// Sends these lines (without the last CRLF).
    Say(String),
    /// Sends them octet by octet, each in a segment of its own if the kernel likes.
    SayBitByBit(String),
    /// Reads a line, which has to be this one, or to start with it if this ends in `*`.
    Hear(&'static str),
    /// Reads a message up to its end mark, and keeps it.
    HearMessage,
    /// Reads so many octets.
    HearOctets(usize),
    /// Reads nothing for so long. Anything that comes is a mistake.
    HearNothing(Duration),
    /// Says nothing more until the client goes.
    Hang,
    /// Tells the test that it got here.
    Signal(Arc<Notify>),
    /// Waits for the test to tell it to go on.
    Wait(Arc<Notify>),
    /// The TLS handshake.
    Encrypt,
    /// All that a transaction is when nothing is amiss.
    Accept,
}

pub(super) fn say(lines: &str) -> Step {
    Step::Say(lines.to_owned())
}

/// Greeting and EHLO, offering `extensions`.
pub(super) fn greet(extensions: &[&str]) -> Vec<Step> {
    let mut hello = vec!["250-test.example.org"];
    hello.extend(extensions);
    let last = hello.len() - 1;
    let lines: Vec<String> = hello
        .iter()
        .enumerate()
        .map(|(i, line)| {
            let text = line.strip_prefix("250-").unwrap_or(line);
            format!("250{}{text}", if i == last { ' ' } else { '-' })
        })
        .collect();
    vec![say("220 test.example.org ESMTP"), Step::Hear("EHLO *"), say(&lines.join("\r\n"))]
}

/// `greet` and more.
pub(super) fn after_greeting(extensions: &[&str], steps: impl IntoIterator<Item = Step>) -> Vec<Step> {
    let mut script = greet(extensions);
    script.extend(steps);
    script
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A running server.
pub(super) struct Server {
    pub(super) port: u16,
    script: JoinHandle<Vec<Vec<u8>>>,
}

impl Server {
    /// Plays one script after the other, one per connection that comes in; and no more of them.
    pub(super) async fn plays(scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let port = listener.local_addr().expect("address").port();
        let script = tokio::spawn(async move {
            let mut messages = Vec::new();
            for script in scripts {
                let played = async {
                    let (stream, _) = listener.accept().await.expect("accept");
                    play(stream, script, &mut messages).await;
                };
                timeout(PATIENCE, played).await.expect("a client that keeps to the script");
            }
            messages
        });
        Self { port, script }
    }

    /// A configuration for it, in clear text.
    pub(super) fn config(&self) -> SmtpConfig {
        self.config_with("smtp", "?starttls=never")
    }

    pub(super) fn config_with(&self, scheme: &str, tail: &str) -> SmtpConfig {
        SmtpConfig::parse(&format!("{scheme}://127.0.0.1:{}{tail}", self.port)).expect("config")
    }

    /// Waits until every script has been played to its end; the messages it heard. Fails the test
    /// if something else was heard than expected.
    pub(super) async fn messages(self) -> Vec<Vec<u8>> {
        self.script.await.expect("the dialog as written down")
    }
}

async fn play(stream: TcpStream, script: Vec<Step>, messages: &mut Vec<Vec<u8>>) {
    stream.set_nodelay(true).expect("nodelay");
    let mut stream: BufStream<Box<dyn Stream>> = BufStream::new(Box::new(stream));
    for step in script {
        match step {
            Step::Say(lines) => tell(&mut stream, &lines).await,
            Step::SayBitByBit(lines) => {
                for octet in lines.bytes().chain(*b"\r\n") {
                    stream.write_all(&[octet]).await.expect("write");
                    stream.flush().await.expect("flush");
                    tokio::task::yield_now().await;
                }
            }
            Step::Hear(expected) => hear(&mut stream, expected).await,
            Step::HearMessage => messages.push(message(&mut stream).await),
            Step::HearOctets(count) => {
                stream.read_exact(&mut vec![0; count]).await.expect("read");
            }
            Step::HearNothing(time) => {
                let heard = timeout(time, stream.fill_buf()).await.map(|read| read.map(<[u8]>::to_vec));
                assert!(heard.is_err(), "{heard:?} for silence");
            }
            Step::Signal(here) => here.notify_one(),
            Step::Wait(go_on) => go_on.notified().await,
            Step::Hang => {
                let mut rest = Vec::new();
                let _until_it_goes = stream.read_to_end(&mut rest).await;
            }
            Step::Encrypt => {
                let plain = stream.into_inner();
                match acceptor().accept(plain).await {
                    Ok(tls) => stream = BufStream::new(Box::new(tls)),
                    Err(_) => return,
                }
            }
            Step::Accept => {
                hear(&mut stream, "MAIL FROM:*").await;
                tell(&mut stream, "250 2.1.0 Ok").await;
                hear(&mut stream, "RCPT TO:*").await;
                tell(&mut stream, "250 2.1.5 Ok").await;
                hear(&mut stream, "DATA").await;
                tell(&mut stream, "354 Go ahead").await;
                messages.push(message(&mut stream).await);
                tell(&mut stream, "250 2.0.0 Ok: queued as 4711").await;
            }
        }
    }
}

async fn tell(stream: &mut BufStream<Box<dyn Stream>>, lines: &str) {
    stream.write_all(format!("{lines}\r\n").as_bytes()).await.expect("write");
    stream.flush().await.expect("flush");
}

async fn hear(stream: &mut BufStream<Box<dyn Stream>>, expected: &str) {
    let mut line = String::new();
    stream.read_line(&mut line).await.expect("read");
    let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("{line:?} for {expected:?}"));
    match expected.strip_suffix('*') {
        Some(start) => assert!(line.starts_with(start), "{line:?} for {expected:?}"),
        None => assert_eq!(line, expected),
    }
}

/// A message with its end mark, as it came.
async fn message(stream: &mut BufStream<Box<dyn Stream>>) -> Vec<u8> {
    let mut message = Vec::new();
    while !message.ends_with(b"\r\n.\r\n") && message != b".\r\n" {
        assert_ne!(stream.read_until(b'\n', &mut message).await.expect("read"), 0, "message cut off");
    }
    message
}

fn acceptor() -> TlsAcceptor {
    let certificate = CertificateDer::from_pem_slice(include_bytes!("server.pem")).expect("certificate");
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("server.key.pem")).expect("key");
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .expect("server configuration");
    TlsAcceptor::from(Arc::new(config))
}

pub(super) fn transport(config: SmtpConfig) -> SmtpTransport {
    SmtpTransport::connect_lazy(config).expect("transport")
}

pub(super) fn envelope() -> Envelope {
    envelope_to("jana.probe@example.org")
}

pub(super) fn envelope_to(recipient: &str) -> Envelope {
    Envelope::new("bounce@example.org".parse().expect("address"), recipient.parse().expect("address"))
}

pub(super) const MESSAGE: &[u8] = b"Subject: hello\r\n\r\nThe text\r\n.\r\n";
