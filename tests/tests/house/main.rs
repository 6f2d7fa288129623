//! The house rules that a program can check: who may import whom, where SQL stands, what the environment is called, and
//! that the database keeps tenants apart and can be taken back.

mod asvs;
mod contract;
mod fences;
mod history;
mod inventory;
mod migrations;
mod routes;
mod tenancy;
