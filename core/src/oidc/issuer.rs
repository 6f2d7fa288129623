//! The issuer: where it is, its keys, and what it says of who comes back.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::claims::{Claims, Email};
use super::fetch::{client, json, safe};
use crate::clock::Clock;
use crate::config::Secret;
use crate::jose::{Algorithm, KeySet, Signed};
use crate::sessions::SessionSecret;
use crate::tokens::fingerprint;

/// How issuers may sign.
const ALGORITHMS: [Algorithm; 4] = [Algorithm::Rs256, Algorithm::Rs384, Algorithm::Es256, Algorithm::Es384];
/// What the issuer says of itself is asked again after so long …
const KNOWN: Duration = Duration::from_secs(3600);
/// … or when a key is not known, but so often at most.
const AGAIN: Duration = Duration::from_secs(3);
/// What an issuer sends back is no longer, in bytes.
const LONGEST_CODE: usize = 4096;

/// Where people sign in elsewhere, and who we are there.
#[derive(Clone, Debug)]
pub struct OidcConfig {
    issuer: String,
    client: String,
    secret: Secret<String>,
}

impl OidcConfig {
    /// An issuer, and who we are there.
    ///
    /// # Errors
    /// It is no address that may be asked.
    pub fn new(issuer: &str, client: &str, secret: Secret<String>) -> Result<Self, String> {
        safe(issuer)
            .filter(|url| url.query().is_none())
            .ok_or("must be an https:// URL, or one of this machine by its number (http://127.0.0.1:…)")?;
        Ok(Self { issuer: issuer.to_owned(), client: client.to_owned(), secret })
    }

    /// Where it is.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

/// What the issuer publishes.
#[derive(Clone)]
struct Known {
    asked: Instant,
    authorize: Url,
    token: Url,
    userinfo: Option<Url>,
    /// The secret goes into the form, not into a header.
    secret_in_form: bool,
    keys: KeySet,
}

#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    userinfo_endpoint: Option<String>,
    jwks_uri: String,
    token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// Why nobody is known to have come.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NotProven {
    /// The issuer cannot be asked.
    #[error("the issuer (OIDC_ISSUER, or Google) is of no use now: {0}")]
    Away(String),
    /// What came back is worth nothing.
    #[error("what came back from the issuer is worth nothing: {0}")]
    Worthless(&'static str),
}

/// A sign-in that was begun.
pub struct Begun {
    /// For the browser's cookie, until it comes back.
    pub secret: SessionSecret,
    /// Where the browser goes.
    pub to: Url,
}

/// Somebody whom the issuer knows. No `Debug`: it holds personal data.
pub struct Proven {
    /// The issuer.
    pub issuer: String,
    /// Who, there.
    pub sub: String,
    /// Their address, if the issuer has proven it.
    pub email: Option<String>,
}

/// An issuer, and what is known of it. Cheap to clone.
#[derive(Clone)]
pub struct Issuer {
    config: OidcConfig,
    back: Url,
    http: Client,
    clock: Clock,
    known: Arc<Mutex<Asked>>,
}

/// What came of asking the issuer.
#[derive(Default)]
struct Asked {
    known: Option<Known>,
    /// When it last could not be asked, and why.
    failed: Option<(Instant, String)>,
}

impl Issuer {
    /// The issuer of this configuration, which sends browsers back to `back`. It is asked when somebody needs it.
    ///
    /// # Errors
    /// No client for HTTP can be made.
    pub fn new(config: OidcConfig, back: Url, clock: Clock) -> Result<Self, String> {
        let http = client().map_err(|error| error.to_string())?;
        Ok(Self { config, back, http, clock, known: Arc::default() })
    }

    /// Its name, for people.
    pub fn name(&self) -> String {
        Url::parse(&self.config.issuer).ok().and_then(|url| url.host_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Sends a browser to the issuer.
    ///
    /// # Errors
    /// The issuer is away.
    pub async fn begin(&self, secret: SessionSecret) -> Result<Begun, NotProven> {
        let mut to = self.known(None).await?.authorize;
        let challenge = challenge(&verifier(&secret));
        to.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client)
            .append_pair("redirect_uri", self.back.as_str())
            .append_pair("scope", "openid email")
            .append_pair("state", &part("state", &secret))
            .append_pair("nonce", &part("nonce", &secret))
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(Begun { secret, to })
    }

    /// Whom the issuer says that the browser is, which has come back with its secret, and this state and code.
    ///
    /// # Errors
    /// [`NotProven`].
    pub async fn finish(&self, secret: &SessionSecret, state: &str, code: &str) -> Result<Proven, NotProven> {
        if !is_state(secret, state) {
            return Err(NotProven::Worthless("it belongs to another sign-in"));
        }
        if code.is_empty() || code.len() > LONGEST_CODE {
            return Err(NotProven::Worthless("it holds no code"));
        }
        let known = self.known(None).await?;
        let answer = self.exchange(&known, secret, code).await?;
        let token = answer["id_token"].as_str().ok_or(NotProven::Worthless("it does not say who it is"))?;
        let signed = Signed::parse(token).map_err(|_| NotProven::Worthless("its statement is no token"))?;
        // A key that is not known may be a new one.
        let known = if known.keys.names(signed.key_id()) { known } else { self.known(Some(known.asked)).await? };
        let claims: Claims = signed
            .verify(&known.keys, &ALGORITHMS)
            .map_err(|_| NotProven::Worthless("its statement is not signed by it"))?;
        let now = self.clock.now();
        if let Some(wrong) = claims.wrong(&self.config.issuer, &self.config.client, &part("nonce", secret), now) {
            return Err(NotProven::Worthless(wrong));
        }
        let email = match (&known.userinfo, answer["access_token"].as_str()) {
            (Some(address), Some(token)) if !claims.email.is_there() => self.ask(address, token, &claims.sub).await?,
            _ => claims.email,
        };
        Ok(Proven { issuer: self.config.issuer.clone(), sub: claims.sub, email: email.proven() })
    }

    async fn exchange(&self, known: &Known, secret: &SessionSecret, code: &str) -> Result<Value, NotProven> {
        let verifier = verifier(secret);
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.back.as_str()),
            ("code_verifier", verifier.as_str()),
        ];
        let mut request = self.http.post(known.token.clone());
        if known.secret_in_form {
            form.extend([("client_id", self.config.client.as_str()), ("client_secret", self.config.secret.expose())]);
        } else {
            // RFC 6749, 2.3.1: written as in a form, then as HTTP has it.
            let written = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
            request = request.basic_auth(written(&self.config.client), Some(written(self.config.secret.expose())));
        }
        json(request.form(&form)).await.map_err(|why| {
            // A code that is used, old or made up.
            if why == "it answers with 400" {
                NotProven::Worthless("its code is not good")
            } else {
                NotProven::Away(why)
            }
        })
    }

    /// What the issuer says of somebody's address, where its statement does not say it.
    async fn ask(&self, address: &Url, token: &str, sub: &str) -> Result<Email, NotProven> {
        let said = json(self.http.get(address.clone()).bearer_auth(token)).await.map_err(NotProven::Away)?;
        if said["sub"].as_str() != Some(sub) {
            return Err(NotProven::Worthless("it speaks of two people"));
        }
        Ok(serde_json::from_value(said).unwrap_or_default())
    }

    /// What the issuer publishes; not what was asked at `but`, if it can be asked again.
    async fn known(&self, but: Option<Instant>) -> Result<Known, NotProven> {
        let came = Instant::now();
        let mut asked = self.known.lock().await;
        if let Some(known) = &asked.known {
            let age = known.asked.elapsed();
            let fresh = age < KNOWN && but.is_none_or(|but| known.asked != but);
            if fresh || age < AGAIN && but.is_some() {
                return Ok(known.clone());
            }
        }
        // Whoever waited while it could not be asked does not ask again: a row of waits would have no end.
        if let Some((at, why)) = &asked.failed
            && *at >= came
        {
            return Err(NotProven::Away(why.clone()));
        }
        match self.discover().await {
            Ok(known) => Ok(asked.known.insert(known).clone()),
            Err(why) => {
                asked.failed = Some((Instant::now(), why.clone()));
                Err(NotProven::Away(why))
            }
        }
    }

    async fn discover(&self) -> Result<Known, String> {
        let place = format!("{}/.well-known/openid-configuration", self.config.issuer.trim_end_matches('/'));
        let said: Discovery = serde_json::from_value(json(self.http.get(place)).await?)
            .map_err(|_| "its openid-configuration lacks something".to_owned())?;
        if said.issuer != self.config.issuer {
            return Err("it calls itself by another name than it is asked by".to_owned());
        }
        let place = |address: &str| safe(address).ok_or_else(|| "it names an address that is not https".to_owned());
        let keys = json(self.http.get(place(&said.jwks_uri)?)).await?;
        let methods = said.token_endpoint_auth_methods_supported;
        Ok(Known {
            asked: Instant::now(),
            authorize: place(&said.authorization_endpoint)?,
            token: place(&said.token_endpoint)?,
            userinfo: said.userinfo_endpoint.as_deref().map(place).transpose()?,
            secret_in_form: methods.is_some_and(|all| !all.iter().any(|method| method == "client_secret_basic")),
            keys: KeySet::published(&keys, &ALGORITHMS),
        })
    }
}

fn part(name: &str, secret: &SessionSecret) -> String {
    fingerprint(&["oidc", name, secret.expose()])
}

fn is_state(secret: &SessionSecret, state: &str) -> bool {
    part("state", secret).as_bytes().ct_eq(state.as_bytes()).into()
}

/// Between 43 and 128 characters (RFC 7636, 4.1).
fn verifier(secret: &SessionSecret) -> String {
    part("verifier", secret)
}

fn challenge(verifier: &str) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use sha2::{Digest, Sha256};
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Ids;

    #[test]
    fn what_is_sent_follows_from_the_secret_and_does_not_give_it_away() {
        let (one, other) = (SessionSecret::anew(Ids), SessionSecret::anew(Ids));
        assert!(is_state(&one, &part("state", &one)) && !is_state(&one, &part("state", &other)) && !is_state(&one, ""));
        let parts = [part("state", &one), part("nonce", &one), verifier(&one)];
        for (at, text) in parts.iter().enumerate() {
            assert!((43..=128).contains(&text.len()) && !text.contains(one.expose()));
            assert!(!parts[at + 1..].contains(text));
        }
        // RFC 7636, appendix B.
        assert_eq!(
            challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        );
    }
}
