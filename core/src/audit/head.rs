//! Signed heads: how far each chain was at some moment, kept outside the database. A chain alone does not show that its end was
//! cut off, or that all of it was written anew; a head that says otherwise does.

use chrono::{DateTime, SecondsFormat, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use uuid::Uuid;

use crate::audit::link::hex;
use crate::config::Secret;
use crate::store::audit::chain::Head;

/// What the documents call themselves.
const FORMAT: &str = "pulsecal audit heads 1";
/// Sets the key for heads apart from others that come of the same secret.
const KEY_OF: &[u8] = b"pulsecal audit heads: key 1";

/// The newest link of one chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChainHead {
    /// The organization; the nil id for the platform's own.
    pub org: Uuid,
    /// Its number.
    pub seq: i64,
    /// Its hash in hex.
    pub hash: String,
}

/// How far all chains were.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Heads {
    format: String,
    /// When.
    pub at: DateTime<Utc>,
    /// One for each chain, by organization.
    pub chains: Vec<ChainHead>,
    /// HMAC-SHA-256 in hex, under a key that follows from `SECRET_KEY`.
    mac: String,
}

/// Why a document of heads cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// Something else, or cut off.
    #[error("this is no document of audit heads: {0}")]
    Unreadable(String),
    /// Changed, or signed under another key.
    #[error("the signature is not that of this SECRET_KEY: the document was changed, or SECRET_KEY was")]
    Forged,
}

/// Signs and checks documents of heads.
#[derive(Clone, Debug)]
pub struct HeadKey(Secret<Vec<u8>>);

impl HeadKey {
    /// The key that follows from `SECRET_KEY`.
    pub fn of(secret: &Secret<Vec<u8>>) -> Self {
        Self(Secret::new(mac(secret.expose(), KEY_OF)))
    }

    /// Signs how far the chains are.
    pub fn sign(&self, heads: Vec<Head>, at: DateTime<Utc>) -> Heads {
        let mut chains: Vec<ChainHead> =
            heads.into_iter().map(|head| ChainHead { org: head.org, seq: head.seq, hash: hex(&head.hash) }).collect();
        chains.sort_by_key(|chain| chain.org);
        let mac = hex(&mac(self.0.expose(), &signed(at, &chains)));
        Heads { format: FORMAT.to_owned(), at, chains, mac }
    }

    /// Reads a document and checks its signature.
    ///
    /// # Errors
    /// Not such a document, or not signed under this key.
    pub fn read(&self, text: &[u8]) -> Result<Heads, HeadError> {
        let heads: Heads = serde_json::from_slice(text).map_err(|error| HeadError::Unreadable(error.to_string()))?;
        if heads.format != FORMAT {
            return Err(HeadError::Unreadable("another format".to_owned()));
        }
        let right = hex(&mac(self.0.expose(), &signed(heads.at, &heads.chains)));
        // Whoever can measure the time of this comparison can read the document and run this program.
        if right == heads.mac { Ok(heads) } else { Err(HeadError::Forged) }
    }
}

impl Heads {
    /// The name of its blob, which sorts by time.
    pub fn name(&self) -> String {
        format!("{}.json", self.at.to_rfc3339_opts(SecondsFormat::Millis, true).replace(':', "-"))
    }

    /// Reads the time from such a name.
    pub fn time_of(name: &str) -> Option<DateTime<Utc>> {
        let stem = name.strip_suffix(".json")?;
        let (day, time) = stem.split_once('T')?;
        DateTime::parse_from_rfc3339(&format!("{day}T{}", time.replace('-', ":"))).ok().map(|at| at.to_utc())
    }
}

/// What the signature covers: lines of text.
fn signed(at: DateTime<Utc>, chains: &[ChainHead]) -> Vec<u8> {
    let mut text = format!("{FORMAT}\n{}\n{}\n", at.timestamp_micros(), chains.len());
    for chain in chains {
        text.push_str(&format!("{} {} {}\n", chain.org, chain.seq, chain.hash));
    }
    text.into_bytes()
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length, so there always is one.
    let made = Hmac::<Sha256>::new_from_slice(key).map(|mut mac| {
        mac.update(text);
        mac.finalize().into_bytes().to_vec()
    });
    made.unwrap_or_default()
}

/// Which of these heads may go, given their times from old to new: all of the last two hours stay, then the first of each hour
/// for a week, of each day for 400 days, of each month for ever. The newest always stays.
pub fn superfluous(times: &[DateTime<Utc>], now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let mut kept: Option<String> = None;
    let mut gone = Vec::new();
    for at in &times[..times.len().saturating_sub(1)] {
        let age = now - *at;
        let slot = if age <= chrono::TimeDelta::hours(2) {
            continue;
        } else if age <= chrono::TimeDelta::days(7) {
            at.format("%Y-%m-%dT%H").to_string()
        } else if age <= chrono::TimeDelta::days(400) {
            at.format("%Y-%m-%d").to_string()
        } else {
            at.format("%Y-%m").to_string()
        };
        if kept.as_ref() == Some(&slot) {
            gone.push(*at);
        }
        kept = Some(slot);
    }
    gone
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn key(text: &[u8]) -> HeadKey {
        HeadKey::of(&Secret::new(text.to_vec()))
    }

    #[test]
    fn a_document_is_read_under_its_key_only_and_any_change_is_seen() {
        let head = Head { org: Uuid::from_u128(1), seq: 12, hash: vec![7; 32] };
        let heads = key(b"one").sign(vec![head], DateTime::UNIX_EPOCH);
        let text = serde_json::to_vec(&heads).expect("serializes");
        assert_eq!(key(b"one").read(&text).expect("its own"), heads);
        assert!(matches!(key(b"two").read(&text), Err(HeadError::Forged)));
        let changes: [fn(&mut Heads); 4] = [
            |h| h.chains[0].seq = 11,
            |h| h.chains[0].hash.replace_range(0..1, "1"),
            |h| h.at += TimeDelta::seconds(1),
            |h| h.chains.clear(),
        ];
        for change in changes {
            let mut changed = heads.clone();
            change(&mut changed);
            let text = serde_json::to_vec(&changed).expect("serializes");
            assert!(matches!(key(b"one").read(&text), Err(HeadError::Forged)));
        }
        assert!(matches!(key(b"one").read(&text[..text.len() - 2]), Err(HeadError::Unreadable(_))));
    }

    #[test]
    fn a_name_says_when() {
        let at = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_234_567);
        let heads = key(b"one").sign(Vec::new(), at);
        assert_eq!(heads.name(), "1970-01-01T00-20-34.567Z.json");
        assert_eq!(Heads::time_of(&heads.name()), Some(at));
        assert_eq!(Heads::time_of("notes.json"), None);
    }

    #[test]
    fn old_heads_thin_out_and_thinning_again_removes_no_more() {
        let start = DateTime::UNIX_EPOCH;
        let now = start + TimeDelta::days(30);
        let mut times: Vec<_> = (0..30 * 24 * 6).map(|i| start + TimeDelta::minutes(10 * i)).collect();
        let gone = superfluous(&times, now);
        times.retain(|at| !gone.contains(at));
        assert!(superfluous(&times, now).is_empty());
        let hours =
            times.iter().filter(|at| now - **at <= TimeDelta::days(7) && now - **at > TimeDelta::hours(2)).count();
        assert!((165..=168).contains(&hours), "{hours}");
        assert_eq!(times.iter().filter(|at| now - **at <= TimeDelta::hours(2)).count(), 12);
        assert!((22..=24).contains(&times.iter().filter(|at| now - **at > TimeDelta::days(7)).count()));
    }
}
