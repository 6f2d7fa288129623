//! Visits with the real programs: booked, moved, confirmed, cancelled, and what the mail server sees of it.

mod booking;
mod calendar;
mod imports;
mod mails;
mod online;
mod pages;
mod races;
mod rules;
mod steps;
mod support;
