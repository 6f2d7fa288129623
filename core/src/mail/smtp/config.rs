//! Which server to use, and how.

use std::fmt::{self, Debug, Formatter};
use std::time::Duration;

use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::extension::ClientId;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use url::{Host, Url, form_urlencoded};

use crate::plaintext::is_here;

/// Connections at most, unless the URL says otherwise.
const DEFAULT_MAX_CONNECTIONS: usize = 16;

/// What is wrong with an SMTP URL. Its text is one line that never holds the URL, for that may
/// hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SmtpConfigError {
    /// Not a URL at all.
    #[error("not a URL of the form smtp://[user:password@]host[:port] or smtps://…")]
    NotAUrl,
    /// Neither `smtp` nor `smtps`.
    #[error("the scheme must be smtp or smtps")]
    Scheme,
    /// No host name.
    #[error("the host is missing")]
    Host,
    /// A user without password, or the reverse.
    #[error("user and password must be given together")]
    Credentials,
    /// The password would travel without encryption, or to whoever answers.
    #[error("a password needs smtps:// or starttls=required, unless the server is on loopback")]
    UnprotectedCredentials,
    /// `starttls` with another value, or together with smtps.
    #[error("starttls must be required, opportunistic or never, and goes with smtp:// only")]
    StartTls,
    /// `max_connections` is no number from 1 to 1000.
    #[error("max_connections must be a number from 1 to 1000")]
    MaxConnections,
    /// A parameter that is not known.
    #[error("the only parameters are starttls and max_connections")]
    UnknownParameter,
    /// The certificates to trust cannot be read.
    #[error("the certificates to trust are not valid PEM certificates")]
    Certificates,
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls,
}

/// What to do about STARTTLS (RFC 3207).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartTlsPolicy {
    /// Use it, with a certificate that is valid for the host, or do not send.
    Required,
    /// Use it if it is offered, whatever the certificate; go on in clear text if it is not.
    Opportunistic,
    /// Clear text.
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Security {
    /// TLS from the first byte (smtps).
    Implicit,
    StartTls(StartTlsPolicy),
}

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SmtpTimeouts {
    /// For the connection, and again for the TLS handshake. 10 s.
    pub connect: Duration,
    /// For the greeting, for each reply, and for each part of a message to be taken. 30 s.
    pub command: Duration,
    /// For the reply to the end of a message. 60 s.
    pub message_end: Duration,
    /// After this long without use a connection is closed. 60 s.
    pub idle: Duration,
}

impl Default for SmtpTimeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            command: Duration::from_secs(30),
            message_end: Duration::from_secs(60),
            idle: Duration::from_secs(60),
        }
    }
}

/// A server and how to talk to it.
#[derive(Clone)]
pub struct SmtpConfig {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) security: Security,
    pub(super) credentials: Option<Credentials>,
    pub(super) hello_name: String,
    pub(super) extra_roots: Vec<CertificateDer<'static>>,
    /// Connections at most, busy and idle together. 16 unless the URL says otherwise.
    pub max_connections: usize,
    /// Time limits.
    pub timeouts: SmtpTimeouts,
}

impl Debug for SmtpConfig {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SmtpConfig")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("security", &self.security)
            .field("has_credentials", &self.credentials.is_some())
            .field("max_connections", &self.max_connections)
            .finish_non_exhaustive()
    }
}

impl SmtpConfig {
    /// Reads `smtp://[user:password@]host[:25][?starttls=…&max_connections=…]`, or `smtps://` for
    /// TLS from the first byte (port 465).
    ///
    /// `starttls` is `required`, `opportunistic` or `never`; without it, opportunistic for a
    /// server on loopback and required for any other.
    ///
    /// # Errors
    /// See [`SmtpConfigError`].
    pub fn parse(url: &str) -> Result<Self, SmtpConfigError> {
        let url = Url::parse(url.trim()).map_err(|_may_hold_password| SmtpConfigError::NotAUrl)?;
        let implicit = match url.scheme() {
            "smtp" => false,
            "smtps" => true,
            _ => return Err(SmtpConfigError::Scheme),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(ip)) => ip.to_string(),
            Some(Host::Ipv6(ip)) => ip.to_string(),
            _ => return Err(SmtpConfigError::Host),
        };
        let on_loopback = is_here(&host);
        let mut start_tls = if on_loopback { StartTlsPolicy::Opportunistic } else { StartTlsPolicy::Required };
        let mut max_connections = DEFAULT_MAX_CONNECTIONS;
        for (name, value) in url.query_pairs() {
            match &*name {
                "starttls" if implicit => return Err(SmtpConfigError::StartTls),
                "starttls" => {
                    start_tls = match &*value {
                        "required" => StartTlsPolicy::Required,
                        "opportunistic" => StartTlsPolicy::Opportunistic,
                        "never" => StartTlsPolicy::Never,
                        _ => return Err(SmtpConfigError::StartTls),
                    }
                }
                "max_connections" => {
                    max_connections =
                        value.parse().ok().filter(|n| (1..=1000).contains(n)).ok_or(SmtpConfigError::MaxConnections)?;
                }
                _ => return Err(SmtpConfigError::UnknownParameter),
            }
        }
        let security = if implicit { Security::Implicit } else { Security::StartTls(start_tls) };
        let credentials = credentials_of(&url)?;
        let protected = matches!(security, Security::Implicit | Security::StartTls(StartTlsPolicy::Required));
        if credentials.is_some() && !protected && !on_loopback {
            return Err(SmtpConfigError::UnprotectedCredentials);
        }
        Ok(Self {
            host,
            port: url.port().unwrap_or(if implicit { 465 } else { 25 }),
            security,
            credentials,
            hello_name: ClientId::default().to_string(),
            extra_roots: Vec::new(),
            max_connections,
            timeouts: SmtpTimeouts::default(),
        })
    }

    /// Also trusts servers whose certificate one of these authorities signed (PEM), for a relay
    /// with a private authority.
    ///
    /// # Errors
    /// [`SmtpConfigError::Certificates`] if there is none in it or one is damaged.
    pub fn trusting(mut self, pem: &[u8]) -> Result<Self, SmtpConfigError> {
        let before = self.extra_roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            self.extra_roots.push(certificate.map_err(|_ignored| SmtpConfigError::Certificates)?);
        }
        if self.extra_roots.len() == before {
            return Err(SmtpConfigError::Certificates);
        }
        Ok(self)
    }
}

fn credentials_of(url: &Url) -> Result<Option<Credentials>, SmtpConfigError> {
    match (url.username(), url.password()) {
        ("", None) => Ok(None),
        ("", Some(_)) | (_, None | Some("")) => Err(SmtpConfigError::Credentials),
        (user, Some(password)) => Ok(Some(Credentials::new(percent_decoded(user), percent_decoded(password)))),
    }
}

/// Undoes percent encoding; a plus sign stays one.
fn percent_decoded(text: &str) -> String {
    let text = text.replace('+', "%2B").replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(text.as_bytes()).map(|(name, _)| name.into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_depend_on_where_the_server_is() {
        let local = SmtpConfig::parse("smtp://127.0.0.1:2591").expect("valid");
        assert_eq!((local.host.as_str(), local.port), ("127.0.0.1", 2591));
        assert_eq!(local.security, Security::StartTls(StartTlsPolicy::Opportunistic));
        assert_eq!(local.max_connections, 16);
        for host in ["localhost", "[::1]", "127.9.9.9"] {
            let config = SmtpConfig::parse(&format!("smtp://{host}")).expect("valid");
            assert_eq!(config.security, Security::StartTls(StartTlsPolicy::Opportunistic), "{host}");
            assert_eq!(config.port, 25);
        }
        let far = SmtpConfig::parse("smtp://mail.example.org").expect("valid");
        assert_eq!(far.security, Security::StartTls(StartTlsPolicy::Required));
        let tls = SmtpConfig::parse("smtps://mail.example.org?max_connections=3").expect("valid");
        assert_eq!((tls.security, tls.port, tls.max_connections), (Security::Implicit, 465, 3));
    }

    #[test]
    fn credentials_are_decoded_and_never_shown() {
        let config = SmtpConfig::parse("smtps://us%40er:p%2Bw+%26%3d%C3%A4@mail.example.org").expect("valid");
        assert_eq!(config.credentials, Some(Credentials::new("us@er".into(), "p+w+&=ä".into())));
        let shown = format!("{config:?}");
        assert!(!shown.contains("p+w") && !shown.contains("us@er"), "{shown}");
    }

    #[test]
    fn faults_are_named_without_the_url() {
        let cases = [
            ("not a url", SmtpConfigError::NotAUrl),
            ("https://secret:secret@mail.example.org", SmtpConfigError::Scheme),
            ("smtp://", SmtpConfigError::Host),
            ("smtp://secret@mail.example.org", SmtpConfigError::Credentials),
            ("smtp://u:secret@mail.example.org?starttls=opportunistic", SmtpConfigError::UnprotectedCredentials),
            ("smtp://u:secret@mail.example.org?starttls=never", SmtpConfigError::UnprotectedCredentials),
            ("smtp://mail.example.org?starttls=yes", SmtpConfigError::StartTls),
            ("smtps://mail.example.org?starttls=never", SmtpConfigError::StartTls),
            ("smtp://localhost?max_connections=0", SmtpConfigError::MaxConnections),
            ("smtp://localhost?secret=1", SmtpConfigError::UnknownParameter),
        ];
        for (url, expected) in cases {
            let error = SmtpConfig::parse(url).expect_err(url);
            assert_eq!(error, expected, "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        assert!(SmtpConfig::parse("smtp://u:pw@localhost").is_ok());
    }
}
