//! What examples are about: invented things.

pub(crate) const PATIENT: &str = "0197a000-0000-7000-8000-000000000001";
pub(crate) const DOCTOR: &str = "0197a000-0000-7000-8000-000000000002";
pub(crate) const PRESCRIPTION: &str = "0197a000-0000-7000-8000-000000000003";
pub(crate) const REMINDER: &str = "0197a000-0000-7000-8000-000000000004";
pub(crate) const APPOINTMENT: &str = "0197a000-0000-7000-8000-000000000005";
pub(crate) const EXPORT: &str = "0197a000-0000-7000-8000-000000000006";
pub(crate) const MESSAGE: &str = "0197a000-0000-7000-8000-000000000007";
pub(crate) const JOB: &str = "0197a000-0000-7000-8000-000000000008";
pub(crate) const DOSE: &str = "0197a000-0000-7000-8000-000000000009";
pub(crate) const ORGANIZATION: &str = "0197a000-0000-7000-8000-000000000010";
pub(crate) const JOIN_REQUEST: &str = "0197a000-0000-7000-8000-000000000011";
pub(crate) const ROOM: &str = "0197a000-0000-7000-8000-000000000012";
pub(crate) const CONTACT: &str = "0197a000-0000-7000-8000-000000000035";
pub(crate) const RECORD: &str = "0197a000-0000-7000-8000-000000000013";
pub(crate) const GLASS: &str = "0197a000-0000-7000-8000-000000000014";
pub(crate) const MEMBER: &str = "0197a000-0000-7000-8000-000000000059";
pub(crate) const BEFORE: &str = "2026-11-20T10:15:30.123456Z";
