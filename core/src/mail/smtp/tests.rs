//! The transport against a scripted server: every end that a transaction can have.

mod endings;
mod pipelining;
mod pooling;
mod server;
mod sessions;
mod storm;
