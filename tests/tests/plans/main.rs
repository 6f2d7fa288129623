//! Promise P4, the right local minute: zones, cron expressions and dose plans, held to every change of clocks of every
//! zone from 2000 to 2040.
//!
//! What is right is worked out a second time by other means: `oracle` reads zones from UTC to local time only, and
//! walks plans from their first dose.

mod cron;
mod doses_at_changes;
mod doses_journey;
mod doses_named;
mod doses_random;
mod local;
mod misfire;
mod oracle;
mod validation;
