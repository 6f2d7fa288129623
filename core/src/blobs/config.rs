//! Where blobs lie, as the environment says it.

use std::path::PathBuf;

use crate::config::Secret;

/// What `BLOB_URL` names.
#[derive(Clone, Debug)]
pub enum BlobPlace {
    /// Not set.
    Nowhere,
    /// `file:///absolute/folder`.
    Folder(PathBuf),
    /// `s3://bucket/prefix`.
    Bucket {
        /// The bucket.
        bucket: String,
        /// What every key begins with; may be empty.
        prefix: String,
        /// The AWS_ variables that are set, by name.
        settings: Secret<Vec<(&'static str, String)>>,
    },
}

/// The AWS_ variables that are read for an `s3://` URL.
pub const AWS_VARIABLES: &[&str] =
    &["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_ENDPOINT_URL"];

impl BlobPlace {
    /// Reads `BLOB_URL`, and the AWS_ variables through `aws`.
    ///
    /// # Errors
    /// What is wrong with the URL.
    pub fn read(url: &str, aws: impl Fn(&'static str) -> Option<String>) -> Result<Self, String> {
        const WRONG: &str = "must be file:///absolute/folder or s3://bucket/prefix";
        if url.is_empty() {
            return Ok(Self::Nowhere);
        }
        let url = url::Url::parse(url).map_err(|_| WRONG.to_owned())?;
        match url.scheme() {
            "file" => {
                let folder = url.to_file_path().map_err(|()| WRONG.to_owned())?;
                if folder.parent().is_none() {
                    return Err("must name a folder of its own, not the root of all".to_owned());
                }
                Ok(Self::Folder(folder))
            }
            "s3" => {
                let bucket = url.host_str().filter(|host| !host.is_empty()).ok_or(WRONG)?.to_owned();
                let prefix = url.path().trim_matches('/').to_owned();
                let settings = AWS_VARIABLES.iter().filter_map(|name| Some((*name, aws(name)?))).collect();
                Ok(Self::Bucket { bucket, prefix, settings: Secret::new(settings) })
            }
            _ => Err(WRONG.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_may_have_spaces_and_umlauts() {
        let read = |url: &str| BlobPlace::read(url, |_| None);
        assert!(
            matches!(read("file:///srv/Bl%C3%B6be%20hier"), Ok(BlobPlace::Folder(path)) if path.as_os_str() == "/srv/Blöbe hier")
        );
        assert!(
            matches!(read("file:///srv/Blöbe hier"), Ok(BlobPlace::Folder(path)) if path.as_os_str() == "/srv/Blöbe hier")
        );
        assert!(matches!(read(""), Ok(BlobPlace::Nowhere)));
        assert!(
            matches!(read("s3://bucket/some/prefix/"), Ok(BlobPlace::Bucket { bucket, prefix, .. }) if bucket == "bucket" && prefix == "some/prefix")
        );
        for wrong in ["file:///", "file://host/x", "/srv/x", "http://x/y", "s3:///x"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_do_not_show_in_debug() {
        let place = BlobPlace::read("s3://bucket", |_| Some("hunter2".to_owned())).expect("a place");
        assert!(!format!("{place:?}").contains("hunter2"));
    }
}
