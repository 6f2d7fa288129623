//! The API as its clients meet it: the real binary over HTTP, against a database of its own.

mod accesses;
mod account_links;
mod accounts;
mod audit_page;
mod away;
mod bad_input;
mod bodies;
mod chat;
mod clients;
mod idempotency;
mod joining;
mod limits;
mod links;
mod ops_pages;
mod organization;
mod people;
mod policy;
mod reference;
mod schemathesis;
mod second_factor;
mod sign_in;
mod staff_pages;
mod support;
mod tenants;
mod tokens;
mod writes;
