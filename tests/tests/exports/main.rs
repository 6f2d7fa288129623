//! Report exports, with the real programs: what is in the files, who gets them, and what is left when things go wrong.

mod faults;
mod files;
mod journey;
mod page;
mod s3;
mod support;
