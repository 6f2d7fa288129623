//! Blobs in an S3 bucket. A large one is uploaded in parts, and whoever completes it asks that nothing be replaced. A mark
//! beside the blobs names each upload under way, so that one which was left can be aborted on every server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpRequest, HttpResponse, HttpService, ReqwestConnector,
};
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, HeaderValue, ObjectStore, ObjectStoreExt, PutMode, PutPayload, RetryConfig,
};
use tokio::task::JoinHandle;

use super::{BlobError, BlobKey, UNFINISHED, path_within};

/// The first thousand parts are so large, the next thousand twice as large, and so on: 10,000 parts make 440 GB.
const PART: usize = 8 << 20;

/// A bucket, and where in it.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    store: Arc<AmazonS3>,
    root: Path,
}

impl Bucket {
    pub(super) fn open(bucket: &str, prefix: &str, settings: &[(&'static str, String)]) -> Result<Self, String> {
        // The one TLS stack of the house. Whoever comes second finds it chosen.
        let _chosen = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let retry =
            RetryConfig { backoff: BackoffConfig::default(), max_retries: 5, retry_timeout: Duration::from_secs(60) };
        let options =
            ClientOptions::new().with_connect_timeout(Duration::from_secs(5)).with_timeout(Duration::from_secs(60));
        let mut builder = AmazonS3Builder::new().with_client_options(options);
        for (name, value) in settings {
            let key: AmazonS3ConfigKey =
                name.to_ascii_lowercase().parse().map_err(|_| format!("{name}: is not understood"))?;
            if *name == "AWS_ENDPOINT_URL" {
                // Who writes http:// means it; what is stored is encrypted all the same.
                builder = builder.with_allow_http(value.starts_with("http://"));
            }
            builder = builder.with_config(key, value);
        }
        let builder = builder.with_bucket_name(bucket).with_retry(retry).with_http_connector(NothingReplaced);
        let store = builder.build().map_err(|error| format!("the AWS_ variables make no S3 client: {error}"))?;
        let root = Path::parse(prefix).map_err(|_| "the prefix after the bucket is no path".to_owned())?;
        Ok(Self { store: Arc::new(store), root })
    }

    pub(super) fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn create(&self, key: &BlobKey, mark: String) -> Upload {
        let mark = self.root.clone().join(UNFINISHED).join(mark);
        let path = path_within(&self.root, key);
        Upload { bucket: self.clone(), key: key.clone(), path, mark, rest: BytesMut::new(), parts: None }
    }

    /// Aborts the upload that this mark names, and removes the mark.
    pub(super) async fn abort_marked(&self, folder: &BlobKey, name: &str) -> Result<(), BlobError> {
        let mark = self.root.clone().join(UNFINISHED).join(name);
        let gone = |error: object_store::Error| match error {
            object_store::Error::NotFound { .. } => Ok(()),
            other => Err(BlobError::of(folder, other)),
        };
        let read = async { self.store.get(&mark).await?.bytes().await };
        let id = match read.await {
            Ok(id) => String::from_utf8_lossy(&id).into_owned(),
            Err(error) => return gone(error),
        };
        // KEY+ID-OF-THE-MARK, with '+' for '/'.
        if let Some(key) = name.rsplit_once('+').and_then(|(key, _)| key.replace('+', "/").parse::<BlobKey>().ok()) {
            self.store.abort_multipart(&path_within(&self.root, &key), &id).await.or_else(gone)?;
        }
        self.store.delete(&mark).await.or_else(gone)
    }
}

/// One blob on its way. At most two parts are in memory: one that is filled, one that is sent.
#[derive(Debug)]
pub(super) struct Upload {
    bucket: Bucket,
    key: BlobKey,
    path: Path,
    mark: Path,
    rest: BytesMut,
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    id: String,
    done: Vec<PartId>,
    sending: Option<JoinHandle<object_store::Result<PartId>>>,
}

impl Upload {
    pub(super) async fn write(&mut self, mut piece: &[u8]) -> Result<(), BlobError> {
        while !piece.is_empty() {
            let sent = self.parts.as_ref().map_or(0, |parts| parts.done.len() + usize::from(parts.sending.is_some()));
            let full = PART * (1 + sent / 1000);
            let (now, later) = piece.split_at(piece.len().min(full - self.rest.len()));
            self.rest.extend_from_slice(now);
            piece = later;
            if self.rest.len() == full {
                let part = self.rest.split().freeze();
                self.send(part).await?;
            }
        }
        Ok(())
    }

    async fn send(&mut self, part: Bytes) -> Result<(), BlobError> {
        if self.parts.is_none() {
            let begun = async {
                let id = self.bucket.store.create_multipart(&self.path).await?;
                self.bucket.store.put(&self.mark, PutPayload::from(id.clone())).await?;
                Ok(id)
            };
            let id = begun.await.map_err(|error| BlobError::of(&self.key, error))?;
            self.parts = Some(Parts { id, done: Vec::new(), sending: None });
        }
        self.sent().await?;
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let (store, path, id, number) =
            (self.bucket.store.clone(), self.path.clone(), parts.id.clone(), parts.done.len());
        parts.sending = Some(tokio::spawn(async move { store.put_part(&path, &id, number, part.into()).await }));
        Ok(())
    }

    /// Waits for the part that is being sent.
    async fn sent(&mut self) -> Result<(), BlobError> {
        let Some(parts) = &mut self.parts else { return Ok(()) };
        if let Some(sending) = &mut parts.sending {
            let sent = sending.await.map_err(|gone| BlobError::Other(gone.to_string()))?;
            parts.sending = None;
            parts.done.push(sent.map_err(|error| BlobError::of(&self.key, error))?);
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<(), BlobError> {
        let finished = self.complete().await;
        if finished.is_err() {
            self.abort().await;
        }
        finished
    }

    async fn complete(&mut self) -> Result<(), BlobError> {
        let rest = self.rest.split().freeze();
        let exists = |error| match BlobError::of(&self.key, error) {
            BlobError::Changed(key) => BlobError::Exists(key),
            other => other,
        };
        if self.parts.is_none() {
            let put = self.bucket.store.put_opts(&self.path, rest.into(), PutMode::Create.into()).await;
            return put.map(|_| ()).map_err(exists);
        }
        if !rest.is_empty() {
            self.send(rest).await?;
        }
        self.sent().await?;
        if let Some(parts) = &mut self.parts {
            let all = std::mem::take(&mut parts.done);
            let done = self.bucket.store.complete_multipart(&self.path, &parts.id, all).await;
            done.map_err(|error| match BlobError::of(&self.key, error) {
                BlobError::Changed(key) => BlobError::Exists(key),
                other => other,
            })?;
            self.parts = None;
            if self.bucket.store.delete(&self.mark).await.is_err() {
                tracing::warn!(
                    "blobs: the mark of an upload that is finished could not be removed; the sweep does it later"
                );
            }
        }
        Ok(())
    }

    pub(super) async fn abort(mut self) {
        let Some(mut parts) = self.parts.take() else { return };
        if let Some(sending) = parts.sending.take() {
            sending.abort();
            let _ended = sending.await;
        }
        let aborted = async {
            self.bucket.store.abort_multipart(&self.path, &parts.id).await?;
            self.bucket.store.delete(&self.mark).await
        };
        if aborted.await.is_err() {
            tracing::warn!("blobs: an unfinished upload could not be aborted; the sweep does it later");
        }
    }
}

/// Asks with each completion of an upload that no blob be replaced: `object_store` has no option for it.
#[derive(Debug)]
struct NothingReplaced;

impl HttpConnector for NothingReplaced {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Conditional(ReqwestConnector::default().connect(options)?)))
    }
}

#[derive(Debug)]
struct Conditional(HttpClient);

#[async_trait]
impl HttpService for Conditional {
    async fn call(&self, mut request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let completes = request.method().as_str() == "POST"
            && request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("uploadId=")));
        if completes {
            request.headers_mut().insert("if-none-match", HeaderValue::from_static("*"));
        }
        self.0.execute(request).await
    }
}
