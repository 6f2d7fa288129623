//! Links that work without signing in: a signed token says which dose or visit, of which organization, until when.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use uuid::Uuid;

use crate::config::Secret;
use crate::ids::{AccountMailId, AppointmentId, ExportId, OccurrenceId, OrgId};

const VERSION: u8 = 1;
const FOR_DOSE: u8 = b'd';
const FOR_VISIT: u8 = b'a';
const FOR_MEETING: u8 = b't';
const FOR_EXPORT: u8 = b'e';
const FOR_ACCOUNT: u8 = b'p';
const BODY: usize = 2 + 16 + 16 + 8;
const MAC: usize = 16;

/// What a dose link stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DoseLink {
    /// Whose.
    pub org: OrgId,
    /// Which dose.
    pub dose: OccurrenceId,
}

/// What a visit link stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VisitLink {
    /// Whose.
    pub org: OrgId,
    /// Which visit.
    pub visit: AppointmentId,
}

/// What the link of an export's file stands for. It opens nothing by itself: whoever brings it must be signed in as the one
/// who asked for the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExportLink {
    /// Whose.
    pub org: OrgId,
    /// Which export.
    pub export: ExportId,
}

/// Why a link does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// Not made by this server, or changed.
    #[error("this link is not one of ours, or it was cut off")]
    Forged,
    /// Its time is over.
    #[error("this link has expired")]
    Expired,
}

/// Makes and reads links.
#[derive(Clone, Debug)]
pub struct Links {
    key: Secret<Vec<u8>>,
    public_url: String,
}

impl Links {
    /// Signs with `key`; pages are under `public_url`.
    pub fn new(key: Secret<Vec<u8>>, public_url: &str) -> Self {
        Self { key, public_url: public_url.to_owned() }
    }

    fn mac(&self, body: &[u8]) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.key.expose()).ok()?;
        mac.update(b"pulsecal link\0");
        mac.update(body);
        Some(mac)
    }

    /// The token of a dose, good until `until`.
    pub fn dose_token(&self, link: DoseLink, until: DateTime<Utc>) -> String {
        self.token(FOR_DOSE, link.org, link.dose.0, until)
    }

    /// The token of a visit, good until `until`.
    pub fn visit_token(&self, link: VisitLink, until: DateTime<Utc>) -> String {
        self.token(FOR_VISIT, link.org, link.visit.0, until)
    }

    /// The token by which the patient of an online visit joins it, good until `until`: it opens nothing outside the visit's time.
    pub fn meeting_token(&self, link: VisitLink, until: DateTime<Utc>) -> String {
        self.token(FOR_MEETING, link.org, link.visit.0, until)
    }

    /// The token of an export's file, good until `until`.
    pub fn export_token(&self, link: ExportLink, until: DateTime<Utc>) -> String {
        self.token(FOR_EXPORT, link.org, link.export.0, until)
    }

    /// The token in a mail to the owner of an account: the mail's id, and 256 bits that follow from the key and from what the
    /// mail's row holds. The row says until when it is good, and whether it was used.
    pub fn account_token(&self, mail: AccountMailId, seed: &[u8]) -> String {
        let parts = [&[VERSION, FOR_ACCOUNT][..], mail.0.as_bytes(), seed].concat();
        let tag = self.mac(&parts).map(|mac| mac.finalize().into_bytes());
        URL_SAFE_NO_PAD.encode([&mail.0.as_bytes()[..], &tag.unwrap_or_default()].concat())
    }

    /// The mail that a token says it is from.
    pub fn account_mail_of(token: &str) -> Option<AccountMailId> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok().filter(|bytes| bytes.len() == 16 + 32)?;
        Uuid::from_slice(&bytes[..16]).ok().map(AccountMailId)
    }

    /// Whether it is the token of that mail.
    pub fn is_account_token(&self, token: &str, mail: AccountMailId, seed: &[u8]) -> bool {
        self.account_token(mail, seed).as_bytes().ct_eq(token.as_bytes()).into()
    }

    fn token(&self, of: u8, org: OrgId, subject: Uuid, until: DateTime<Utc>) -> String {
        let mut bytes = Vec::with_capacity(BODY + MAC);
        bytes.extend_from_slice(&[VERSION, of]);
        bytes.extend_from_slice(org.0.as_bytes());
        bytes.extend_from_slice(subject.as_bytes());
        bytes.extend_from_slice(&until.timestamp().to_be_bytes());
        // HMAC takes a key of any length, so there always is a tag.
        let tag = self.mac(&bytes).map(|mac| mac.finalize().into_bytes());
        bytes.extend_from_slice(&tag.unwrap_or_default()[..MAC]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The page where a dose is answered.
    ///
    /// # Errors
    /// `PUBLIC_URL` is none; it was checked at start.
    pub fn dose_page(&self, link: DoseLink, until: DateTime<Utc>) -> Result<url::Url, url::ParseError> {
        url::Url::parse(&format!("{}/p/d/{}", self.public_url, self.dose_token(link, until)))
    }

    /// The page of a visit.
    ///
    /// # Errors
    /// `PUBLIC_URL` is none; it was checked at start.
    pub fn visit_page(&self, link: VisitLink, until: DateTime<Utc>) -> Result<url::Url, url::ParseError> {
        url::Url::parse(&format!("{}/p/a/{}", self.public_url, self.visit_token(link, until)))
    }

    /// The page where the patient of an online visit joins it.
    ///
    /// # Errors
    /// `PUBLIC_URL` is none; it was checked at start.
    pub fn meeting_page(&self, link: VisitLink, until: DateTime<Utc>) -> Result<url::Url, url::ParseError> {
        url::Url::parse(&format!("{}/p/t/{}", self.public_url, self.meeting_token(link, until)))
    }

    /// Where an export's file is fetched.
    pub fn export_file(&self, link: ExportLink, until: DateTime<Utc>) -> String {
        format!("{}/files/e/{}", self.public_url, self.export_token(link, until))
    }

    /// The address of a page that one signs in for.
    ///
    /// # Errors
    /// `PUBLIC_URL` is none; it was checked at start.
    pub fn page(&self, path: &str) -> Result<url::Url, url::ParseError> {
        url::Url::parse(&format!("{}{path}", self.public_url))
    }

    /// Reads the token of an export's file.
    ///
    /// # Errors
    /// Forged or expired.
    pub fn read_export(&self, token: &str, now: DateTime<Utc>) -> Result<ExportLink, LinkError> {
        let (org, export) = self.read(FOR_EXPORT, token, now)?;
        Ok(ExportLink { org, export: ExportId(export) })
    }

    /// Reads the token of a dose.
    ///
    /// # Errors
    /// Forged or expired.
    pub fn read_dose(&self, token: &str, now: DateTime<Utc>) -> Result<DoseLink, LinkError> {
        let (org, dose) = self.read(FOR_DOSE, token, now)?;
        Ok(DoseLink { org, dose: OccurrenceId(dose) })
    }

    /// Reads the token of a visit.
    ///
    /// # Errors
    /// Forged or expired.
    pub fn read_visit(&self, token: &str, now: DateTime<Utc>) -> Result<VisitLink, LinkError> {
        let (org, visit) = self.read(FOR_VISIT, token, now)?;
        Ok(VisitLink { org, visit: AppointmentId(visit) })
    }

    /// Reads the token by which a patient joins an online visit.
    ///
    /// # Errors
    /// Forged or expired.
    pub fn read_meeting(&self, token: &str, now: DateTime<Utc>) -> Result<VisitLink, LinkError> {
        let (org, visit) = self.read(FOR_MEETING, token, now)?;
        Ok(VisitLink { org, visit: AppointmentId(visit) })
    }

    fn read(&self, of: u8, token: &str, now: DateTime<Utc>) -> Result<(OrgId, Uuid), LinkError> {
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| LinkError::Forged)?;
        if bytes.len() != BODY + MAC {
            return Err(LinkError::Forged);
        }
        let (body, tag) = bytes.split_at(BODY);
        let mac = self.mac(body).ok_or(LinkError::Forged)?;
        mac.verify_truncated_left(tag).map_err(|_| LinkError::Forged)?;
        let id = |from: usize| Uuid::from_slice(&body[from..from + 16]).map_err(|_| LinkError::Forged);
        if body[0] != VERSION || body[1] != of {
            return Err(LinkError::Forged);
        }
        let until = i64::from_be_bytes(body[34..42].try_into().map_err(|_| LinkError::Forged)?);
        if now.timestamp() >= until {
            return Err(LinkError::Expired);
        }
        Ok((OrgId(id(2)?), id(18)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn links() -> Links {
        Links::new(Secret::new(b"0123456789abcdef0123456789abcdef".to_vec()), "https://clinic.example.org")
    }

    fn link() -> DoseLink {
        DoseLink { org: OrgId(Uuid::from_u128(7)), dose: OccurrenceId(Uuid::from_u128(9)) }
    }

    #[test]
    fn a_link_is_read_back_until_it_expires() {
        let until = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        let token = links().dose_token(link(), until);
        assert_eq!(links().read_dose(&token, DateTime::UNIX_EPOCH), Ok(link()));
        assert_eq!(links().read_dose(&token, until), Err(LinkError::Expired));
    }

    #[test]
    fn a_token_opens_only_the_sort_of_thing_that_it_was_made_for() {
        let until = DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1);
        let visit = VisitLink { org: OrgId(Uuid::from_u128(7)), visit: AppointmentId(Uuid::from_u128(9)) };
        let (of_visit, of_dose) = (links().visit_token(visit, until), links().dose_token(link(), until));
        assert_eq!(links().read_visit(&of_visit, DateTime::UNIX_EPOCH), Ok(visit));
        assert_eq!(links().read_dose(&of_visit, DateTime::UNIX_EPOCH), Err(LinkError::Forged));
        let export = ExportLink { org: OrgId(Uuid::from_u128(7)), export: ExportId(Uuid::from_u128(9)) };
        let of_export = links().export_token(export, until);
        assert_eq!(links().read_export(&of_export, DateTime::UNIX_EPOCH), Ok(export));
        assert_eq!(links().read_export(&of_export, until), Err(LinkError::Expired));
        assert_eq!(links().read_export(&of_visit, DateTime::UNIX_EPOCH), Err(LinkError::Forged));
        assert_eq!(links().read_visit(&of_dose, DateTime::UNIX_EPOCH), Err(LinkError::Forged));
    }

    #[test]
    fn a_token_of_an_account_follows_from_the_key_and_from_its_row() {
        let (mail, seed) = (AccountMailId(Uuid::from_u128(5)), [3; 32]);
        let token = links().account_token(mail, &seed);
        assert_eq!(Links::account_mail_of(&token), Some(mail));
        assert!(links().is_account_token(&token, mail, &seed));
        assert!(!links().is_account_token(&token, mail, &[4; 32]));
        assert!(!links().is_account_token(&token, AccountMailId(Uuid::from_u128(6)), &seed));
        let other = Links::new(Secret::new(b"another key of at least 32 chars".to_vec()), "https://clinic.example.org");
        assert!(!other.is_account_token(&token, mail, &seed));
        for odd in ["", "x", "ÄÖ", &token[1..], &format!("{token}A")] {
            assert_eq!(Links::account_mail_of(odd), None, "{odd}");
        }
    }

    #[test]
    fn any_changed_bit_is_a_forgery() {
        let token = links().dose_token(link(), DateTime::UNIX_EPOCH + chrono::TimeDelta::days(1));
        let bytes = URL_SAFE_NO_PAD.decode(&token).expect("our own");
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let changed = URL_SAFE_NO_PAD.encode(changed);
            assert_eq!(links().read_dose(&changed, DateTime::UNIX_EPOCH), Err(LinkError::Forged), "bit {bit}");
        }
        let other = Links::new(Secret::new(b"another key of at least 32 chars".to_vec()), "https://clinic.example.org");
        assert_eq!(other.read_dose(&token, DateTime::UNIX_EPOCH), Err(LinkError::Forged));
        for odd in ["", "x", "ÄÖ", "AAAA", &token[1..]] {
            assert_eq!(links().read_dose(odd, DateTime::UNIX_EPOCH), Err(LinkError::Forged));
        }
    }
}
