//! Signing in at somebody else's: OpenID Connect, by authorization code with PKCE, for one issuer.
//!
//! What the browser carries in between is one secret; state, nonce and verifier follow from it, so that nothing is stored for who only
//! begins. Whom the answer is about says the issuer's signed statement and nothing else.

mod claims;
mod fetch;
mod issuer;
mod link;

pub use issuer::{Begun, Issuer, NotProven, OidcConfig, Proven};
pub use link::{Arrived, arrive, refuse, unlink_all};
