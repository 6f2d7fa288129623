//! Ids: one type for each thing that has one, and the one place where they are made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }

        impl From<$name> for Uuid {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )+};
}

id! {
    /// An organization: the tenant that owns data.
    OrgId,
    /// A person of an organization: patient or staff.
    PersonId,
    /// A prescription.
    PrescriptionId,
    /// A medication reminder: the dose plan of one prescription.
    ReminderId,
    /// One dose of a plan.
    OccurrenceId,
    /// A visit.
    AppointmentId,
    /// A job of the ledger.
    JobId,
    /// A run of the backup, and the backup that came of it.
    BackupId,
    /// A mail to an operator about an alarm.
    AlarmMailId,
    /// A running process: worker, scheduler or API. New at each start, so that a restart is a stranger.
    ProcessId,
    /// A row of the message log.
    MessageRowId,
    /// A report export.
    ExportId,
    /// An API token (the row, not the secret).
    TokenId,
    /// What made something happen: an HTTP request, a run of the command line, a round of a scheduler's loop.
    RequestId,
    /// Somebody signed in at the pages (the row, not the cookie).
    SessionId,
    /// An account: who signs in with an address and a password.
    AccountId,
    /// A mail to the owner of an account, and the link in it.
    AccountMailId,
    /// A doctor's request to join an organization.
    JoinRequestId,
    /// A room in which staff talk.
    RoomId,
    /// A medical record.
    RecordId,
    /// A file that belongs to a medical record.
    AttachmentId,
    /// A broken glass: somebody reads, for a while, the records of a patient whom they do not treat.
    GlassId,
    /// A program that gets tokens by its keys.
    ClientId,
    /// Whom to call when something happens to a patient.
    ContactId,
    /// A patient's insurance policy.
    InsuranceId,
    /// A payment.
    PaymentId,
    /// A refund of a payment, or of a part of it.
    RefundId,
}

/// Makes ids. Version 7 (RFC 9562 §5.7): they sort by the time they were made.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ids;

impl Ids {
    /// A new id of any type.
    pub fn new_id<T: From<Uuid>>(&self) -> T {
        #[expect(clippy::disallowed_methods, reason = "the one place where ids are made")]
        T::from(Uuid::now_v7())
    }

    /// 32 bytes from the operating system's generator, for tokens and keys.
    pub fn secret(&self) -> [u8; 32] {
        let mut bytes = [0; 32];
        for half in bytes.chunks_mut(8) {
            // Eight random bytes of each v4 id: the six fixed bits lie outside bytes 8.. and 6..
            #[expect(clippy::disallowed_methods, reason = "the one place where secrets are made")]
            let random = Uuid::new_v4();
            let random = random.as_bytes();
            half[..6].copy_from_slice(&random[..6]);
            half[6..].copy_from_slice(&random[9..11]);
        }
        bytes
    }

    /// A number in 0.0..1.0, for jitter.
    pub fn fraction(&self) -> f64 {
        let bytes = self.secret();
        let number = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        f64::from(number) / f64::from(u32::MAX)
    }
}
