//! Fetching a file: it is opened while it is sent, and who may fetch it is asked at each request.

use std::io::{self, Read};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures_util::stream;
use pulsecal_core::blobs::{BlobError, BlobKey, BlobReader};
use pulsecal_core::exports::{Sealing, file_name};
use pulsecal_core::ids::ExportId;
use pulsecal_core::store::exports::Export;
use serde_json::json;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::ask::note;
use super::{Owner, owned};
use crate::app::App;
use crate::problem::Problem;

/// Files that a process sends at a time: each has a thread.
pub(crate) const MOST_AT_ONCE: usize = 16;
/// Opened bytes go out in pieces of this size, of which so many may wait.
const PIECE: usize = 64 * 1024;
const WAITING: usize = 4;

/// The file of an export of theirs, or the part of it that the request names.
pub(crate) async fn file(
    app: &App,
    owner: &Owner,
    id: ExportId,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let mut tx = owner.begin(app).await?;
    let export = owned(&mut tx, owner, id).await?;
    let now = tx.now();
    let ready = (export.state == "succeeded" && export.expires_at.is_some_and(|end| end > now)).then_some(());
    let place = ready.and(export.object.as_deref()).and_then(|text| text.parse::<BlobKey>().ok());
    let Some(key) = place else {
        return Err(Problem::conflict(match export.state.as_str() {
            "queued" | "running" => "The file is not ready yet.",
            "succeeded" | "expired" => "The file's time was over, and it was deleted. Ask for it anew.",
            "cancelled" => "The export was cancelled.",
            _ => "The export failed, so there is no file.",
        }));
    };
    let size = u64::try_from(export.bytes).unwrap_or(0);
    let etag = format!("\"{}\"", export.sha256.as_deref().unwrap_or_default());
    let part = part_of(headers, &etag, size)?;
    if method == Method::HEAD {
        return dressed(&export, &etag, size, part, Body::empty());
    }
    let permit = app.downloads.clone().try_acquire_owned();
    let permit =
        permit.map_err(|_| Problem::unavailable("Too many files are being sent. Please try again in a moment.", 5))?;
    // On record before the first byte is sent.
    let detail = json!({"bytes": part.map_or(size, |(from, to)| to - from), "from": part.map_or(0, |(from, _)| from)});
    note(app, owner, &mut tx, "export.download", id, Some(detail)).await?;
    tx.commit().await?;
    let reader = app.ctx.blobs.reader(&key, 0).await.map_err(away)?;
    let opened = Opening { sealing: app.ctx.export_sealing.clone(), reader, part: part.unwrap_or((0, size)), permit };
    let body = opened.start().await.map_err(|error| {
        tracing::error!(export.id = %id, %error, "exports.file: cannot be opened; was SECRET_KEY changed, or the blob?");
        Problem::unavailable("The file cannot be opened. Ask for the export anew, and tell whoever runs this server.", 60)
    })?;
    dressed(&export, &etag, size, part, body)
}

fn away(error: BlobError) -> Problem {
    tracing::error!(%error, "exports.file: the blob store does not give the file");
    Problem::unavailable("The place where files are kept does not answer. Please try again.", 10)
}

/// The bytes from `from` to before `to` that a request wants; none: all.
fn part_of(headers: &HeaderMap, etag: &str, size: u64) -> Result<Option<(u64, u64)>, Problem> {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if text(header::IF_RANGE).is_some_and(|wanted| wanted != etag) {
        return Ok(None);
    }
    // Several ranges, and what is no range at all, are answered with all of it, as the standard allows.
    let Some((from, to)) = text(header::RANGE)
        .and_then(|range| range.strip_prefix("bytes="))
        .filter(|range| !range.contains(','))
        .and_then(|range| range.trim().split_once('-'))
    else {
        return Ok(None);
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let part = match (number(from), number(to)) {
        (Some(from), None) if to.is_empty() => (from, size),
        (Some(from), Some(to)) if from <= to => (from, to.saturating_add(1).min(size)),
        (None, Some(last)) if from.is_empty() => (size.saturating_sub(last), size),
        _ => return Ok(None),
    };
    if part.0 >= part.1 { Err(Problem::no_such_range(size)) } else { Ok(Some(part)) }
}

fn dressed(export: &Export, etag: &str, size: u64, part: Option<(u64, u64)>, body: Body) -> Result<Response, Problem> {
    let name = file_name(export.format(), export.as_of.unwrap_or(export.created_at), export.id);
    let digest: Option<Vec<u8>> = export.sha256.as_deref().and_then(|hex| {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(hex.get(at..at + 2)?, 16).ok()).collect()
    });
    let digest = STANDARD.encode(digest.unwrap_or_default());
    let length = part.map_or(size, |(from, to)| to - from);
    let status = if part.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
    let mut response = (status, body).into_response();
    let mut pairs = vec![
        (header::CONTENT_TYPE, export.format().media_type().to_owned()),
        (header::CONTENT_LENGTH, length.to_string()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"{name}\"; filename*=UTF-8''{name}")),
        (header::ACCEPT_RANGES, "bytes".to_owned()),
        (header::ETAG, etag.to_owned()),
        (header::CACHE_CONTROL, "private, no-store".to_owned()),
        (HeaderName::from_static("repr-digest"), format!("sha-256=:{digest}:")),
        (HeaderName::from_static("digest"), format!("SHA-256={digest}")),
    ];
    pairs.extend(part.map(|(from, to)| (header::CONTENT_RANGE, format!("bytes {from}-{}/{size}", to - 1))));
    for (name, value) in pairs {
        let value = HeaderValue::from_str(&value).map_err(|error| Problem::internal(&error.to_string()))?;
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}

/// A file that is about to be opened.
struct Opening {
    sealing: Sealing,
    reader: BlobReader,
    part: (u64, u64),
    permit: OwnedSemaphorePermit,
}

impl Opening {
    /// Starts to open it: gives the body once its first piece is there, so that what cannot be opened is said in words.
    async fn start(self) -> io::Result<Body> {
        let (to, mut opened) = mpsc::channel::<io::Result<Bytes>>(WAITING);
        let (sealed_to, sealed) = mpsc::channel::<io::Result<Bytes>>(1);
        let Self { sealing, mut reader, part, permit } = self;
        // Ends when the file does, or when nobody takes its pieces.
        tokio::spawn(async move {
            loop {
                let piece = match reader.next().await {
                    Ok(None) => return,
                    Ok(Some(piece)) => Ok(piece),
                    Err(error) => Err(io::Error::other(error)),
                };
                let broken = piece.is_err();
                if sealed_to.send(piece).await.is_err() || broken {
                    return;
                }
            }
        });
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            if let Err(error) = open(&sealing, sealed, part, &to) {
                // Nobody takes it: they are gone.
                let _gone = to.blocking_send(Err(error));
            }
        });
        let first = opened.recv().await.transpose()?;
        let pieces = stream::unfold((first, opened), |(first, mut opened)| async move {
            let next = match first {
                Some(first) => Some(Ok(first)),
                None => opened.recv().await,
            };
            next.map(|next| (next, (None, opened)))
        });
        Ok(Body::from_stream(pieces))
    }
}

/// Opens the file and hands on the part that is wanted. What comes before it is opened too: only so is it known to be whole.
fn open(
    sealing: &Sealing,
    sealed: mpsc::Receiver<io::Result<Bytes>>,
    (from, to): (u64, u64),
    hand_on: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut opened = sealing.open(Arriving { pieces: sealed, piece: Bytes::new() })?;
    io::copy(&mut (&mut opened).take(from), &mut io::sink())?;
    let mut left = to - from;
    while left > 0 {
        let mut piece = Vec::with_capacity(PIECE);
        (&mut opened).take(left.min(PIECE as u64)).read_to_end(&mut piece)?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        left -= piece.len() as u64;
        if hand_on.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Pieces that arrive, as one stream.
struct Arriving {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    piece: Bytes,
}

impl Read for Arriving {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.piece = piece?,
            }
        }
        let count = into.len().min(self.piece.len());
        into[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_understood_and_others_get_all_of_it() {
        let part = |range: &'static str| {
            let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
            part_of(&headers, "\"x\"", 100).map_err(|problem| problem.status().as_u16())
        };
        for (range, expected) in [
            ("bytes=0-9", Ok(Some((0, 10)))),
            ("bytes=90-", Ok(Some((90, 100)))),
            ("bytes=-5", Ok(Some((95, 100)))),
            ("bytes=-500", Ok(Some((0, 100)))),
            ("bytes=50-500", Ok(Some((50, 100)))),
            ("bytes=100-", Err(416)),
            ("bytes=-0", Err(416)),
            ("bytes=9-0", Ok(None)),
            ("bytes=0-1,5-6", Ok(None)),
            ("bytes=x", Ok(None)),
            ("lines=1-2", Ok(None)),
        ] {
            assert_eq!(part(range), expected, "{range}");
        }
        let headers = HeaderMap::from_iter([
            (header::RANGE, HeaderValue::from_static("bytes=0-9")),
            (header::IF_RANGE, HeaderValue::from_static("\"old\"")),
        ]);
        assert!(matches!(part_of(&headers, "\"x\"", 100), Ok(None)));
    }
}
