//! Signed statements of others: JSON Web Tokens (RFC 7519, 7515) and the public keys that they are checked with (RFC 7517).
//!
//! Which algorithms count, the caller says; a token does not choose (RFC 8725, 3.1). There is no `none`, no shared secret, and nothing is
//! fetched from an address that a token names.

mod keys;
mod signed;

pub use keys::{KeyProblem, KeySet};
pub use signed::{NotSigned, Signed};

/// A way to sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// ECDSA with P-384 and SHA-384.
    Es384,
}

impl Algorithm {
    /// Its name in headers and keys.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
        }
    }
}
