//! The chain of audit entries and the rollup, with the real programs.

mod bucket;
mod chain;
mod rollup;
mod support;
mod tamper;
