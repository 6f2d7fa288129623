//! Reading FHIR R4 files: what comes out, what is reported, and that nothing is half done.

mod bounds;
mod files;
mod generated;
mod huge;
mod instructions;
mod orders;
mod people;
mod references;
mod roundtrip;
mod support;
mod timing;
