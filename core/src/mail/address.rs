//! Who a mail goes to and comes from, and its identity.
//!
//! An address is personal data: [`EmailAddress`] has no `Display`, its `Debug` is masked, and
//! whoever needs the real text says so with [`EmailAddress::expose`].

use std::fmt::{self, Debug, Display, Formatter, Write as _};
use std::str::FromStr;

use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Longest address that fits an SMTP path (RFC 5321 4.5.3.1.3, less the angle brackets), in octets.
pub const MAX_ADDRESS_OCTETS: usize = 254;
/// Longest display name, in characters. Longer ones are cut.
const MAX_NAME_CHARS: usize = 80;

/// Why a text is not an e-mail address that mail can be sent to. Never holds the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Longer than 254 octets.
    #[error("the e-mail address is longer than {MAX_ADDRESS_OCTETS} octets")]
    TooLong,
    /// Holds a control character, such as a line break.
    #[error("the e-mail address holds a control character")]
    ControlCharacter,
    /// The part before the `@` needs SMTPUTF8, which most servers do not offer.
    #[error("the part of the e-mail address before the @ may only hold ASCII characters")]
    NotAscii,
    /// Not of the form `user@domain`.
    #[error("the e-mail address is not of the form user@domain")]
    Malformed,
}

/// A checked e-mail address: ASCII, at most 254 octets, safe to put into an SMTP command and a
/// header. A domain written in another script is kept in its `xn--` form.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EmailAddress(lettre::Address);

impl EmailAddress {
    /// Reads an address, without display name or angle brackets. Space around it is ignored.
    ///
    /// # Errors
    /// See [`AddressError`].
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim_matches(' ');
        // Before anything else looks at it: no other parser decides about line breaks.
        if text.chars().any(char::is_control) {
            return Err(AddressError::ControlCharacter);
        }
        if text.len() > MAX_ADDRESS_OCTETS {
            return Err(AddressError::TooLong);
        }
        let (user, domain) = text.rsplit_once('@').ok_or(AddressError::Malformed)?;
        if !user.is_ascii() {
            return Err(AddressError::NotAscii);
        }
        let domain = if domain.is_ascii() {
            domain.to_owned()
        } else {
            match url::Host::parse(domain) {
                Ok(url::Host::Domain(ascii)) => ascii,
                _ => return Err(AddressError::Malformed),
            }
        };
        let address = lettre::Address::new(user, &domain).map_err(|_ignored| AddressError::Malformed)?;
        let text: &str = address.as_ref();
        if text.len() > MAX_ADDRESS_OCTETS {
            return Err(AddressError::TooLong);
        }
        // A quoted local part may hold spaces and brackets; such a mailbox is not worth the risk.
        let unsafe_octet = |b: u8| b <= b' ' || b >= 0x7f || matches!(b, b'<' | b'>' | b'"' | b'\\');
        if text.bytes().any(unsafe_octet) {
            return Err(AddressError::Malformed);
        }
        Ok(Self(address))
    }

    /// The address itself. For the envelope, the headers and the sealed store only.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.as_ref()
    }

    /// The part before the `@`.
    pub(super) fn local_part(&self) -> &str {
        self.0.user()
    }

    /// The part after the `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        self.0.domain()
    }

    /// As lettre's headers want it.
    pub(super) fn for_header(&self) -> lettre::Address {
        self.0.clone()
    }
}

impl Debug for EmailAddress {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        // One letter, as much as a support person needs to tell two of them apart.
        f.write_str(self.local_part().get(..1).unwrap_or_default())?;
        f.write_str("***@")?;
        f.write_str(self.domain())
    }
}

impl FromStr for EmailAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The name beside an address in `From`: one line, at most 80 characters, possibly empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DisplayName(String);

impl DisplayName {
    /// Takes any text: control and direction-override characters go, runs of space become one,
    /// and what is longer than 80 characters is cut.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let mut name = one_line(text);
        if let Some((cut, _)) = name.char_indices().nth(MAX_NAME_CHARS) {
            name.truncate(cut);
            name.truncate(name.trim_end().len());
        }
        Self(name)
    }

    /// The cleaned name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `text` as a single line: control characters and invisible direction marks removed, any white
/// space (line breaks too) turned into single spaces, trimmed.
pub(crate) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut space = false;
    for c in text.chars() {
        if c.is_whitespace() {
            space = true;
        } else if !c.is_control() && !is_direction_mark(c) {
            if space && !line.is_empty() {
                line.push(' ');
            }
            space = false;
            line.push(c);
        }
    }
    line
}

/// Characters that reorder the text around them: a name must not be able to rewrite its header line.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The `Message-ID` of a logical message, the same at every try.
///
/// Derived from the id of the message's row, which is unique per (kind, subject, occurrence,
/// recipient, channel); hashed, so that it tells nothing about any of them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MessageId {
    text: String,
    local: usize,
}

impl MessageId {
    /// The id of the message `message` as sent from `domain` (the domain of the sender's address).
    #[must_use]
    pub fn derive(message: Uuid, domain: &str) -> Self {
        let digest =
            Sha256::new().chain_update(b"pulsecal message id v1\0").chain_update(message.as_bytes()).finalize();
        let mut text = String::with_capacity(34 + domain.len());
        text.push('<');
        for byte in digest.iter().take(16) {
            let _infallible = write!(text, "{byte:02x}");
        }
        let local = text.len();
        text.push('@');
        // Whatever the caller took for a domain, nothing of it can end the header.
        text.extend(domain.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-')));
        text.push('>');
        Self { text, local }
    }

    /// The whole id with its angle brackets.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The 32 hexadecimal digits before the `@`, to recognise a bounce by.
    #[must_use]
    pub fn local_part(&self) -> &str {
        &self.text[1..self.local]
    }
}

impl Display for MessageId {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_is_masked_in_debug_and_whole_when_exposed() {
        let address = EmailAddress::parse(" jana.probe@example.org ").expect("valid");
        assert_eq!(address.expose(), "jana.probe@example.org");
        assert_eq!(address.domain(), "example.org");
        assert_eq!(format!("{address:?}"), "j***@example.org");
    }

    #[test]
    fn address_refuses_what_could_break_a_command() {
        for bad in ["a@example.org\r\nRCPT TO:<b@example.org>", "a\n@example.org", "a\0@example.org", "\ta@example.org"]
        {
            assert_eq!(EmailAddress::parse(bad), Err(AddressError::ControlCharacter), "{bad:?}");
        }
        for bad in [
            "",
            "a",
            "@example.org",
            "a@",
            "a b@example.org",
            "a>@example.org",
            "\"a b\"@example.org",
            "a@exa mple.org",
            "a,b@c@example.org",
        ] {
            assert_eq!(EmailAddress::parse(bad), Err(AddressError::Malformed), "{bad:?}");
        }
        assert_eq!(EmailAddress::parse("jürgen@example.org"), Err(AddressError::NotAscii));
        let long = format!("a@{}.example.org", "b".repeat(260));
        assert_eq!(EmailAddress::parse(&long), Err(AddressError::TooLong));
    }

    #[test]
    fn domain_in_another_script_becomes_ascii() {
        let address = EmailAddress::parse("a@bücher.example.org").expect("valid");
        assert_eq!(address.expose(), "a@xn--bcher-kva.example.org");
    }

    #[test]
    fn display_name_is_one_bounded_line() {
        assert_eq!(DisplayName::new("Dr. Ada\r\nBcc: x@example.org\0").as_str(), "Dr. Ada Bcc: x@example.org");
        assert_eq!(DisplayName::new("\u{202e}evil\u{2069}").as_str(), "evil");
        assert_eq!(DisplayName::new(&"ä".repeat(200)).as_str().chars().count(), 80);
        assert_eq!(DisplayName::new("\r\n").as_str(), "");
    }

    #[test]
    fn message_id_depends_on_the_message_only() {
        let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let id = MessageId::derive(one, "mail.example.org");
        assert_eq!(id, MessageId::derive(one, "mail.example.org"));
        assert_ne!(id, MessageId::derive(two, "mail.example.org"));
        assert_eq!(id.local_part().len(), 32);
        assert!(id.local_part().bytes().all(|b| b.is_ascii_hexdigit()));
        assert_eq!(id.as_str(), format!("<{}@mail.example.org>", id.local_part()));
        assert_eq!(MessageId::derive(one, "a>\r\nX: b").as_str(), format!("<{}@aXb>", id.local_part()));
    }
}
