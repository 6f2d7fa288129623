//! The chain of audit entries: sealing, signed heads, verifying.

pub mod head;
pub mod keep;
pub mod link;
pub mod seal;
pub mod verify;
