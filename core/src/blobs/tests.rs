//! On a real folder, whose path has a space and an umlaut. S3 has its tests where its server is.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;

use super::*;
use crate::clock::Clock;

struct Place {
    folder: PathBuf,
    blobs: Blobs,
}

impl Place {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("pulsecal Blöbe {}", Ids.new_id::<uuid::Uuid>()));
        std::fs::create_dir(&folder).expect("made");
        let blobs = Blobs::open(&BlobPlace::Folder(folder.clone()), Ids).expect("opens");
        Self { folder, blobs }
    }

    fn unfinished(&self) -> usize {
        std::fs::read_dir(self.folder.join(UNFINISHED)).map_or(0, Iterator::count)
    }

    async fn put(&self, name: &str, content: &'static [u8]) -> Result<Written, BlobError> {
        let mut writer = self.blobs.create(&key(name)).await?;
        writer.write(Bytes::from_static(content)).await?;
        writer.finish().await
    }

    async fn listed(&self, folder: &str) -> Vec<String> {
        let mut listed = self.blobs.list(&key(folder)).expect("a store");
        let mut names = Vec::new();
        while let Some(found) = listed.next().await {
            names.push(found.expect("listed").key.to_string());
        }
        names.sort();
        names
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.folder);
    }
}

fn key(text: &str) -> BlobKey {
    text.parse().expect("a key")
}

#[tokio::test]
async fn a_blob_appears_whole_when_it_is_finished_and_is_never_replaced() {
    let place = Place::new();
    let mut writer = place.blobs.create(&key("a/one")).await.expect("begun");
    let mut rival = place.blobs.create(&key("a/one")).await.expect("nobody is first yet");
    writer.write(Bytes::from_static(b"first ")).await.expect("written");
    rival.write(Bytes::from_static(b"second")).await.expect("written");
    assert!(matches!(place.blobs.head(&key("a/one")).await, Err(BlobError::NotFound(_))));
    assert!(place.listed("a").await.is_empty());
    writer.write(Bytes::from_static(b"words")).await.expect("written");
    let written = writer.finish().await.expect("finished");
    assert_eq!(written.bytes, 11);
    assert_eq!(written.sha256, hex(&<sha2::Sha256 as sha2::Digest>::digest(b"first words")));
    assert!(matches!(rival.finish().await, Err(BlobError::Exists(_))), "a race has one winner");
    assert!(matches!(place.put("a/one", b"third").await, Err(BlobError::Exists(_))));
    assert_eq!(place.blobs.read_small(&key("a/one"), 100).await.expect("read"), b"first words");
    assert!(place.blobs.read_small(&key("a/one"), 10).await.is_err());
    assert_eq!(place.unfinished(), 0);
    assert_eq!(place.listed("a").await, ["a/one"]);
    place.blobs.delete(&key("a/one")).await.expect("gone");
    place.blobs.delete(&key("a/one")).await.expect("gone already");
    assert!(place.listed("a").await.is_empty());
    assert!(place.listed("never").await.is_empty());
}

#[tokio::test]
async fn what_is_aborted_or_dropped_leaves_nothing_and_the_sweep_takes_the_rest() {
    let place = Place::new();
    for how in ["abort", "drop", "die"] {
        let mut writer = place.blobs.create(&key("a/b/x")).await.expect("begun");
        writer.write(Bytes::from_static(b"half")).await.expect("written");
        match how {
            "abort" => writer.abort().await,
            "drop" => drop(writer),
            _ => std::mem::forget(writer), // as a process that is killed
        }
    }
    assert_eq!(place.unfinished(), 1);
    let sweep = async |folder: &str, age| {
        place
            .blobs
            .sweep_unfinished(&key(folder), Duration::from_secs(age), Clock::system().now())
            .await
            .expect("swept")
    };
    assert_eq!(
        (sweep("a/b", 60).await, sweep("a/c", 0).await, sweep("b", 0).await),
        (0, 0, 0),
        "too young, or another's"
    );
    assert_eq!((sweep("a/b", 0).await, place.unfinished()), (1, 0));
    assert!(place.listed("a").await.is_empty());
}

#[tokio::test]
async fn a_reader_gives_every_byte_once_from_where_it_is_told_and_sees_a_swap() {
    let place = Place::new();
    let content: Vec<u8> = (0..9_000_001_u32).map(|i| (i % 251) as u8).collect();
    let mut writer = place.blobs.create(&key("big")).await.expect("begun");
    for piece in content.chunks(700_001) {
        writer.write(Bytes::copy_from_slice(piece)).await.expect("written");
    }
    writer.finish().await.expect("finished");
    for start in [0, 1, 8_999_999, 9_000_001] {
        let mut reader = place.blobs.reader(&key("big"), start).await.expect("there");
        assert_eq!(reader.bytes(), 9_000_001);
        let mut whole = Vec::new();
        while let Some(piece) = reader.next().await.expect("read") {
            whole.extend_from_slice(&piece);
        }
        assert!(whole == content[usize::try_from(start).expect("small")..]);
    }
    let mut reader = place.blobs.reader(&key("big"), 0).await.expect("there");
    reader.next().await.expect("read");
    std::fs::remove_file(place.folder.join("big")).expect("removed");
    std::fs::write(place.folder.join("big"), vec![0; 9_000_001]).expect("replaced");
    assert!(matches!(reader.next().await, Err(BlobError::Changed(_))));
}

#[tokio::test]
async fn without_a_store_each_call_says_what_to_set_and_a_missing_folder_is_not_made() {
    let nowhere = Blobs::open(&BlobPlace::Nowhere, Ids).expect("opens");
    for error in [
        nowhere.create(&key("a")).await.err(),
        nowhere.head(&key("a")).await.err(),
        nowhere.reader(&key("a"), 0).await.err(),
        nowhere.list(&key("a")).err(),
        nowhere.delete(&key("a")).await.err(),
        nowhere.sweep_unfinished(&key("a"), Duration::ZERO, Clock::system().now()).await.err(),
    ] {
        assert!(error.expect("an error").to_string().starts_with("BLOB_URL is not set"));
    }
    let away = PathBuf::from("/nonexistent/disk");
    let blobs = Blobs::open(&BlobPlace::Folder(away), Ids).expect("opens");
    assert!(matches!(blobs.create(&key("a")).await, Err(BlobError::Away(why)) if why.contains("/nonexistent/disk")));
}

#[test]
fn a_full_disk_and_a_closed_folder_are_told_as_such() {
    use std::io::{ErrorKind, Write};
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("opens").write(b"x").expect_err("full");
    assert!(matches!(BlobError::of_io(&key("a"), &full), BlobError::Full));
    assert!(matches!(BlobError::of_io(&key("a"), &ErrorKind::PermissionDenied.into()), BlobError::Denied(_)));
    let through = object_store::Error::Generic { store: "LocalFileSystem", source: Box::new(full) };
    assert!(matches!(BlobError::of(&key("a"), through), BlobError::Full));
}
