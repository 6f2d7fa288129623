//! Live progress: server-sent events. One loop of the process reads all exports that somebody listens to, in one statement, for
//! as long as somebody does.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::Stream;
use futures_util::stream;
use pulsecal_core::ids::ExportId;
use pulsecal_core::store::exports::{self, Export};
use pulsecal_core::store::{DbError, Scope};
use tokio::sync::watch;
use tokio::time::sleep;

use super::{Owner, one, view};
use crate::app::App;
use crate::problem::Problem;

/// How often the loop reads.
const EVERY: Duration = Duration::from_millis(400);
/// A connection on which nothing happens gets a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Listeners of the process, and of one export.
const MOST: usize = 256;
const MOST_OF_ONE: usize = 8;

/// Who listens to what.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<Listened>);

#[derive(Debug, Default)]
struct Listened {
    exports: HashMap<ExportId, watch::Sender<Arc<Export>>>,
    reads: bool,
}

impl Live {
    /// Begins to listen. None: too many do.
    fn listen(app: &App, export: Export) -> Option<watch::Receiver<Arc<Export>>> {
        let mut listened = app.live.0.lock().unwrap_or_else(|broken| broken.into_inner());
        let all: usize = listened.exports.values().map(watch::Sender::receiver_count).sum();
        let of_this = listened.exports.get(&export.id).map_or(0, watch::Sender::receiver_count);
        if all >= MOST || of_this >= MOST_OF_ONE {
            return None;
        }
        let id = export.id;
        let sender = listened.exports.entry(id).or_insert_with(|| watch::channel(Arc::new(export)).0);
        let receiver = sender.subscribe();
        if !listened.reads {
            listened.reads = true;
            tokio::spawn(read_on(app.clone()));
        }
        Some(receiver)
    }

    /// What is listened to; none: nothing, and the loop is over.
    fn wanted(&self) -> Option<Vec<ExportId>> {
        let mut listened = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        listened.exports.retain(|_, sender| sender.receiver_count() > 0);
        listened.reads = !listened.exports.is_empty();
        listened.reads.then(|| listened.exports.keys().copied().collect())
    }

    fn tell(&self, export: Export) {
        let listened = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some(sender) = listened.exports.get(&export.id) {
            sender.send_if_modified(|known| {
                let same = (known.rows_done, &known.state, &known.phase, known.bytes, &known.problem)
                    == (export.rows_done, &export.state, &export.phase, export.bytes, &export.problem);
                if !same {
                    *known = Arc::new(export);
                }
                !same
            });
        }
    }
}

async fn read_on(app: App) {
    let mut warned = false;
    while let Some(ids) = app.live.wanted() {
        let read = async {
            let mut tx = app.ctx.begin(Scope::Platform).await?;
            let found = exports::read(tx.conn(), &ids).await?;
            tx.commit().await?;
            Ok::<_, DbError>(found)
        };
        match read.await {
            Ok(found) => {
                warned = false;
                found.into_iter().for_each(|export| app.live.tell(export));
            }
            Err(error) => {
                if !warned {
                    tracing::warn!(%error, "exports.live: Postgres is away; listeners wait");
                }
                warned = true;
            }
        }
        sleep(EVERY).await;
    }
}

/// The events of an export: `progress` with the export at each change, and `end` with it when it is over. Then the stream ends.
pub(crate) async fn events(app: App, owner: Owner, id: ExportId) -> Result<Response, Problem> {
    let export = one(&app, &owner, id).await?;
    let Some(listening) = Live::listen(&app, export) else {
        return Err(Problem::too_many("Too many are listening. Ask for the export itself from time to time.", 5));
    };
    let alive = KeepAlive::new().interval(SIGN_OF_LIFE).text("still here");
    Ok(Sse::new(told(app, listening)).keep_alive(alive).into_response())
}

fn told(app: App, listening: watch::Receiver<Arc<Export>>) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((app, Some(listening), true), |(app, listening, first)| async move {
        let mut listening = listening?;
        if !first {
            tokio::select! {
                () = app.stop.cancelled() => return None,
                changed = listening.changed() => changed.ok()?,
            }
        }
        let export = Export::clone(&listening.borrow_and_update());
        let over = export.is_over();
        let event = Event::default().event(if over { "end" } else { "progress" });
        // What cannot be written as JSON does not occur; if it did, the listener would ask anew.
        let event = event.json_data(view(&app, export)).ok()?;
        Some((Ok(event), (app, (!over).then_some(listening), false)))
    })
}
