use std::path::PathBuf;

use bytes::Bytes;

use super::*;
use crate::blobs::{BlobKey, BlobPlace, Blobs};
use crate::ids::Ids;

/// Some megabytes that do and do not pack.
fn content() -> Vec<u8> {
    let mut state = 1_u32;
    let noise = std::iter::from_fn(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Some((state >> 24) as u8)
    });
    noise.take(3_000_000).chain(std::iter::repeat_n(b'x', 2_000_000)).collect()
}

struct Place(PathBuf, Blobs);

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("pulsecal-sealing-{}", Ids.new_id::<uuid::Uuid>()));
        std::fs::create_dir(&folder).expect("made");
        let blobs = Blobs::open(&BlobPlace::Folder(folder.clone()), Ids).expect("opens");
        Self(folder, blobs)
    }

    async fn seal(&self, recipients: Recipients, packing: Packing) -> Sealed {
        let mut writer = SealedWriter::start(self.1.create(&key()).await.expect("begun"), recipients, packing);
        for piece in content().chunks(333_333) {
            writer.write(Bytes::copy_from_slice(piece)).await.expect("written");
        }
        writer.finish().await.expect("finished")
    }

    async fn open(&self, identities: Identities, packing: Packing) -> Result<Vec<u8>, SealError> {
        let mut reader = SealedReader::start(self.1.reader(&key(), 0).await.expect("there"), identities, packing);
        let mut whole = Vec::new();
        while let Some(piece) = reader.next().await? {
            whole.extend_from_slice(&piece);
        }
        let read = reader.read().expect("read to its end");
        assert_eq!(read.bytes, std::fs::metadata(self.0.join("sealed")).expect("there").len());
        Ok(whole)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

fn key() -> BlobKey {
    "sealed".parse().expect("a key")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sealed_is_read_by_each_recipient_and_by_nobody_else() {
    let (ops, escrow, stranger) = (Identities::generate(), Identities::generate(), Identities::generate());
    let both: Recipients =
        [ops.recipients().ids(), escrow.recipients().ids()].concat().join(",").parse().expect("two keys");
    for packing in [Packing::Plain, Packing::Zstd] {
        let place = Place::new();
        let sealed = place.seal(both.clone(), packing).await;
        assert_eq!(sealed.plain_bytes, 5_000_000);
        assert_eq!(sealed.packed_bytes < 4_000_000, packing == Packing::Zstd);
        let raw = std::fs::read(place.0.join("sealed")).expect("there");
        assert_eq!(raw.len() as u64, sealed.written.bytes);
        assert!(!raw.windows(16).any(|window| window == [b'x'; 16]), "plain text shows");
        assert!(place.open(ops.clone(), packing).await.expect("opens") == content());
        assert!(place.open(escrow.clone(), packing).await.expect("opens") == content());
        assert!(matches!(place.open(stranger.clone(), packing).await, Err(SealError::WrongKey)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_changed_cut_or_added_is_found_by_the_end() {
    let ops = Identities::generate();
    let place = Place::new();
    place.seal(ops.recipients(), Packing::Zstd).await;
    let file = place.0.join("sealed");
    let good = std::fs::read(&file).expect("there");
    let last = good.len() - 1;
    let mut cases: Vec<Vec<u8>> = [0, 50, 200, 1_000_000, 2_000_000, last]
        .map(|at| {
            let mut bad = good.clone();
            bad[at] ^= 1;
            bad
        })
        .into();
    cases.extend([0, 10, 100, 65_536, last / 2, last].map(|length| good[..length].to_vec()));
    cases.push([&good[..], b"x"].concat());
    cases.push([&good[..], &good[..]].concat());
    cases.push([&good[..300_000], &good[365_552..]].concat());
    for (number, case) in cases.iter().enumerate() {
        std::fs::write(&file, case).expect("changed");
        let opened = place.open(ops.clone(), Packing::Zstd).await;
        assert!(
            matches!(opened, Err(SealError::Damaged(_) | SealError::WrongKey)),
            "case {number}: {:?}",
            opened.map(|all| all.len())
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_is_given_up_leaves_no_blob() {
    let place = Place::new();
    for abort in [true, false] {
        let blob = place.1.create(&key()).await.expect("begun");
        let mut writer = SealedWriter::start(blob, Identities::generate().recipients(), Packing::Zstd);
        writer.write(Bytes::from(vec![7; 2_000_000])).await.expect("written");
        if abort {
            writer.abort().await;
            assert_eq!(std::fs::read_dir(place.0.join(".unfinished")).expect("a folder").count(), 0);
        } else {
            drop(writer);
        }
        assert!(place.1.head(&key()).await.is_err());
    }
}

#[test]
fn a_derived_key_depends_on_secret_and_purpose_only_and_nothing_secret_shows() {
    let ids = |secret: &str, purpose| Identities::derived(secret.as_bytes(), purpose).recipients().ids();
    assert_eq!(ids("a", "exports"), ids("a", "exports"));
    assert_ne!(ids("a", "exports"), ids("a", "other"));
    assert_ne!(ids("a", "exports"), ids("b", "exports"));
    let key = Identities::generate();
    let shown = format!("{key:?}");
    assert!(!shown.contains("SECRET") && shown.contains("age1"), "{shown}");
    let again: Identities = key.to_file_text().parse().expect("a key file");
    assert_eq!(again.recipients(), key.recipients());
    for bad in ["", "# nothing", "AGE-SECRET-KEY-1xyz"] {
        assert!(bad.parse::<Identities>().is_err());
    }
    assert!("age1xyz".parse::<Recipients>().is_err() && "".parse::<Recipients>().is_err());
}
