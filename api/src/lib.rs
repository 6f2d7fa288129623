//! The API process: what people and other systems do enters here, in one transaction with the work that follows from it.

mod access;
mod app;
mod chat;
pub mod contract;
mod exports;
mod fields;
mod health;
mod idempotency;
mod json;
mod layers;
mod limits;
mod oauth;
mod pages;
mod paging;
mod params;
pub mod policy;
mod problem;
mod process;
mod records;
mod routes;

pub use process::run;
