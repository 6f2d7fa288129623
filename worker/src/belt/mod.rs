//! Belts: how ids travel from Redis into apalis workers. Two of them, behind one hand-over.

mod native;
mod room;

pub use native::{NativeBelt, take, take_suspects};
pub use room::HandOver;
