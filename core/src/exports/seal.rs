//! Files at rest are sealed with age, for a key that is derived from `SECRET_KEY`. Whoever has the blob store alone has nothing;
//! with another `SECRET_KEY` the files that are there cannot be opened any more.

use std::io::{self, Read, Write};

use age::x25519;
use bech32::{Bech32, Hrp};
use hkdf::Hkdf;
use sha2::Sha256;

use crate::config::Secret;

/// What tells this key from others that are derived from the same secret.
const PURPOSE: &[u8] = b"pulsecal export files v1";

/// Seals files, and opens them. Cheap to clone.
#[derive(Clone)]
pub struct Sealing {
    identity: x25519::Identity,
}

impl std::fmt::Debug for Sealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealing")
    }
}

/// A file that is opened while it is read. What comes before an error is whole and in order, but not all there is.
pub type Opened<R> = age::stream::StreamReader<R>;

impl Sealing {
    /// For the key that `secret` gives.
    ///
    /// # Errors
    /// None with any secret; said in words all the same.
    pub fn new(secret: &Secret<Vec<u8>>) -> Result<Self, &'static str> {
        let mut key = [0; 32];
        Hkdf::<Sha256>::new(None, secret.expose()).expand(PURPOSE, &mut key).map_err(|_| "no key can be derived")?;
        // The library takes keys in their written form only.
        let prefix = Hrp::parse("AGE-SECRET-KEY-").map_err(|_| "no key can be written")?;
        let written = bech32::encode_upper::<Bech32>(prefix, &key).map_err(|_| "no key can be written")?;
        Ok(Self { identity: written.parse()? })
    }

    /// What is written to it ends up sealed in `out`, once it is finished.
    ///
    /// # Errors
    /// The output.
    pub fn seal<W: Write>(&self, out: W) -> io::Result<age::stream::StreamWriter<W>> {
        let recipient = self.identity.to_public();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
        encryptor.map_err(io::Error::other)?.wrap_output(out)
    }

    /// Opens a sealed file.
    ///
    /// # Errors
    /// The input, or a file that was sealed for another key.
    pub fn open<R: Read>(&self, sealed: R) -> io::Result<Opened<R>> {
        let decryptor = age::Decryptor::new(sealed).map_err(io::Error::other)?;
        decryptor.decrypt(std::iter::once(&self.identity as &dyn age::Identity)).map_err(io::Error::other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(secret: &str) -> Sealing {
        Sealing::new(&Secret::new(secret.as_bytes().to_vec())).expect("a key")
    }

    fn sealed(by: &Sealing, text: &[u8]) -> Vec<u8> {
        let mut out = by.seal(Vec::new()).expect("begun");
        out.write_all(text).expect("written");
        out.finish().expect("ended")
    }

    #[test]
    fn only_the_same_secret_opens_and_a_changed_or_cut_file_is_an_error() {
        let text = b"starts_at,patient_name\r\n".repeat(10_000);
        let (ours, theirs) = (sealing("0123456789abcdef0123456789abcdef"), sealing("another key of at least 32 chars"));
        let file = sealed(&ours, &text);
        assert!(!file.windows(9).any(|part| part == b"starts_at"));
        let open = |by: &Sealing, file: &[u8]| {
            let mut text = Vec::new();
            by.open(file)?.read_to_end(&mut text)?;
            io::Result::Ok(text)
        };
        assert_eq!(open(&ours, &file).expect("opens"), text);
        assert!(open(&theirs, &file).is_err());
        assert!(open(&ours, &file[..file.len() - 1]).is_err());
        for at in [30, file.len() / 2, file.len() - 1] {
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(open(&ours, &changed).is_err(), "byte {at}");
        }
    }
}
