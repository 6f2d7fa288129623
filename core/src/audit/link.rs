//! What the hash of a link covers, byte by byte. Whoever verifies an export by other means follows this.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::store::audit::chain::EntryRow;

/// The hash of a link.
pub type LinkHash = [u8; 32];
/// What stands for the hash before the first link.
pub const GENESIS: LinkHash = [0; 32];

const TAG: &[u8] = b"pulsecal audit entry";
const VERSION: i64 = 1;
/// Stands where a length would, for what is not there.
const ABSENT: [u8; 4] = [0xff; 4];

/// The hash of link `seq` in the chain of `org`, after the link with the hash `before`: SHA-256 over tag, version, chain,
/// number, hash before, and every field of the entry in the order of [`EntryRow`]. Each is led by its length in bytes (four
/// bytes, the highest first); absent ones have the length ffffffff. Numbers are eight bytes, the highest first; times are
/// microseconds since 1970; ids are their 16 bytes; texts are UTF-8.
pub fn hash(org: Uuid, seq: i64, before: &LinkHash, entry: &EntryRow) -> LinkHash {
    let mut bytes = Vec::with_capacity(512);
    put(&mut bytes, Some(TAG));
    put(&mut bytes, Some(&VERSION.to_be_bytes()));
    put(&mut bytes, Some(org.as_bytes()));
    put(&mut bytes, Some(&seq.to_be_bytes()));
    put(&mut bytes, Some(before));
    put(&mut bytes, Some(entry.id.as_bytes()));
    put(&mut bytes, Some(&entry.xid.to_be_bytes()));
    put(&mut bytes, entry.org_id.as_ref().map(|id| id.as_bytes().as_slice()));
    put(&mut bytes, Some(&entry.at.timestamp_micros().to_be_bytes()));
    put(&mut bytes, Some(entry.actor_kind.as_bytes()));
    put(&mut bytes, entry.actor_id.as_ref().map(|id| id.as_bytes().as_slice()));
    put(&mut bytes, entry.role.as_deref().map(str::as_bytes));
    put(&mut bytes, Some(entry.action.as_bytes()));
    put(&mut bytes, Some(entry.subject_type.as_bytes()));
    put(&mut bytes, Some(entry.subject_id.as_bytes()));
    put(&mut bytes, Some(entry.outcome.as_bytes()));
    put(&mut bytes, entry.request_id.as_ref().map(|id| id.as_bytes().as_slice()));
    put(&mut bytes, entry.detail.as_deref().map(str::as_bytes));
    Sha256::digest(&bytes).into()
}

fn put(bytes: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        // No field comes near four gigabytes: Postgres keeps at most one.
        Some(field) => {
            bytes.extend_from_slice(&u32::try_from(field.len()).unwrap_or(u32::MAX - 1).to_be_bytes());
            bytes.extend_from_slice(field);
        }
        None => bytes.extend_from_slice(&ABSENT),
    }
}

/// Bytes in hex, as people and files see them.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use chrono::DateTime;
    use proptest::prelude::*;

    pub(crate) fn entry() -> EntryRow {
        EntryRow {
            id: Uuid::from_u128(1),
            xid: 7,
            org_id: Some(Uuid::from_u128(2)),
            at: DateTime::UNIX_EPOCH,
            actor_kind: "person".into(),
            actor_id: Some(Uuid::from_u128(3)),
            role: Some("nurse".into()),
            action: "dose.taken".into(),
            subject_type: "dose".into(),
            subject_id: Uuid::from_u128(4),
            outcome: "success".into(),
            request_id: Some(Uuid::from_u128(5)),
            detail: Some("{\"a\": 1}".into()),
        }
    }

    #[test]
    fn every_field_is_covered() {
        let plain = entry();
        let mut seen = vec![hash(Uuid::nil(), 1, &GENESIS, &plain)];
        let changes: [fn(&mut EntryRow); 16] = [
            |e| e.id = Uuid::nil(),
            |e| e.xid += 1,
            |e| e.org_id = None,
            |e| e.org_id = Some(Uuid::nil()),
            |e| e.at += chrono::TimeDelta::microseconds(1),
            |e| e.actor_kind.push('x'),
            |e| e.actor_id = None,
            |e| e.role = None,
            |e| e.role = Some(String::new()),
            |e| e.action.push('x'),
            |e| e.subject_type.push('x'),
            |e| e.subject_id = Uuid::nil(),
            |e| e.outcome.push('x'),
            |e| e.request_id = None,
            |e| e.detail = None,
            |e| e.detail = Some("{\"a\": 2}".into()),
        ];
        for change in changes {
            let mut other = plain.clone();
            change(&mut other);
            seen.push(hash(Uuid::nil(), 1, &GENESIS, &other));
        }
        seen.push(hash(Uuid::from_u128(9), 1, &GENESIS, &plain));
        seen.push(hash(Uuid::nil(), 2, &GENESIS, &plain));
        seen.push(hash(Uuid::nil(), 1, &[1; 32], &plain));
        let count = seen.len();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), count, "two different links have one hash");
    }

    proptest! {
        /// What stands at the end of one field cannot be taken for the start of the next.
        #[test]
        fn a_text_that_moves_into_the_next_field_is_seen(whole in "[a-z.]{2,20}", first in 0..20_usize, second in 0..20_usize) {
            let (first, second) = (first % whole.len(), second % whole.len());
            prop_assume!(first != second);
            let split = |at: usize| {
                let mut e = entry();
                e.action = whole[..at].to_owned();
                e.subject_type = whole[at..].to_owned();
                hash(Uuid::nil(), 1, &GENESIS, &e)
            };
            prop_assert_ne!(split(first), split(second));
        }
    }
}
