//! Codes of an app: TOTP (RFC 6238) as every app knows it, with HMAC-SHA-1, six digits and steps of 30 seconds.

use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use subtle::ConstantTimeEq;

use crate::ids::Ids;

/// The length of a step in seconds.
const STEP: i64 = 30;
/// The digits of a code.
pub const DIGITS: usize = 6;
/// The length of a key in bytes, as RFC 4226 recommends.
const BYTES: usize = 20;
/// Whom the app says that the code is for.
const ISSUER: &str = "PulseCal";

/// What the app and the server share. No `Debug`: whoever has it has the codes.
#[derive(Clone)]
pub struct TotpKey([u8; BYTES]);

impl TotpKey {
    /// A new one.
    pub fn new(ids: Ids) -> Self {
        let mut key = [0; BYTES];
        key.copy_from_slice(&ids.secret()[..BYTES]);
        Self(key)
    }

    /// As it was kept.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The step whose code this is: the one at `now`, or the one before or after it, since clocks differ. It must come after the step
    /// `used`, so that no code is taken twice.
    pub fn step_of(&self, code: &str, now: DateTime<Utc>, used: i64) -> Option<i64> {
        let current = now.timestamp().div_euclid(STEP);
        let fits = |step: &i64| bool::from(self.code(*step).as_bytes().ct_eq(code.as_bytes()));
        (current - 1..=current + 1).filter(|step| *step > used).find(fits)
    }

    /// The code of a step (RFC 4226, 5.3).
    fn code(&self, step: i64) -> String {
        let digest = Hmac::<Sha1>::new_from_slice(&self.0).map(|mut mac| {
            mac.update(&step.to_be_bytes());
            mac.finalize().into_bytes()
        });
        // HMAC takes keys of any length.
        let digest = digest.unwrap_or_default();
        let at = usize::from(digest[19] & 15);
        let number = u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]) & 0x7fff_ffff;
        format!("{:0DIGITS$}", number % 1_000_000)
    }

    /// As people type it into an app, in groups of four.
    pub fn text(&self) -> String {
        grouped(&base32(&self.0), " ")
    }

    /// As an app reads it from a QR code.
    pub fn uri(&self, email: &str) -> String {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        let label = format!("{ISSUER}:{}", encode(email));
        format!("otpauth://totp/{label}?secret={}&issuer={ISSUER}", base32(&self.0))
    }
}

/// RFC 4648, without padding. Exact for lengths that five divides.
pub(super) fn base32(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let bits = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let letter = |from: usize| (from..from + 5).fold(0, |value, at| value << 1 | bits(at));
    (0..bytes.len() * 8).step_by(5).map(|from| char::from(LETTERS[usize::from(letter(from))])).collect()
}

/// In groups of four.
pub(super) fn grouped(text: &str, between: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    letters.chunks(4).map(|group| group.iter().collect::<String>()).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).expect("a time")
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        let key = TotpKey(*b"12345678901234567890");
        // RFC 6238, appendix B, for SHA-1, of whose eight digits these are the last six; RFC 4226, appendix D.
        for (seconds, code) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(key.step_of(code, at(seconds), 0), Some(seconds / 30), "{seconds}");
        }
        assert_eq!([0, 1, 9].map(|count| key.code(count)), ["755224", "287082", "520489"]);
    }

    #[test]
    fn a_code_is_good_a_step_early_or_late_and_never_twice() {
        let key = TotpKey(*b"12345678901234567890");
        for (seconds, good) in [(29, true), (30, true), (59, true), (60, true), (89, true), (90, false)] {
            assert_eq!(key.step_of("287082", at(seconds), 0).is_some(), good, "{seconds}");
        }
        assert_eq!(key.step_of("287082", at(59), 1), None, "used");
        assert_eq!(key.step_of("287082", at(59), 2), None, "a newer one was used");
        for wrong in ["", "287083", "28708", "0287082", "２８７０８２"] {
            assert_eq!(key.step_of(wrong, at(59), 0), None, "{wrong}");
        }
    }

    #[test]
    fn the_key_is_written_as_apps_read_it() {
        let key = TotpKey(*b"12345678901234567890");
        assert_eq!(key.text(), "GEZD GNBV GY3T QOJQ GEZD GNBV GY3T QOJQ");
        assert_eq!(
            key.uri("a+b@example.org"),
            "otpauth://totp/PulseCal:a%2Bb%40example%2Eorg?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=PulseCal"
        );
    }
}
