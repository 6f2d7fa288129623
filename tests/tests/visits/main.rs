//! Visits with the real programs: booked, moved, confirmed, cancelled, and what the mail server sees of it.

mod booking;
mod mails;
mod support;
