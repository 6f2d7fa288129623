//! The bell: tells the API's processes that something was said in a room. It carries ids only, and may be missed: whoever listens
//! reads from Postgres, and looks there from time to time anyway.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use uuid::Uuid;

use super::{Belt, BeltError};
use crate::ids::RoomId;

/// A ring waits no longer than this.
const RING_LIMIT: Duration = Duration::from_millis(250);
/// Beginning to listen waits no longer than this.
const LISTEN_LIMIT: Duration = Duration::from_secs(3);

impl Belt {
    fn bell(&self) -> String {
        format!("{}:chat", self.prefix())
    }

    /// Rings for a room, best effort and bounded in time.
    pub async fn ring(&self, room: RoomId) {
        let ring = async {
            let mut connection = self.connection().await?;
            redis::cmd("PUBLISH")
                .arg(self.bell())
                .arg(&room.0.as_bytes()[..])
                .query_async::<i64>(&mut connection)
                .await?;
            Ok::<(), BeltError>(())
        };
        match tokio::time::timeout(RING_LIMIT, ring).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(%error, "belt.bell: not rung; who listens looks by itself");
                self.forget().await;
            }
            Err(_) => tracing::debug!("belt.bell: Redis did not answer in time; who listens looks by itself"),
        }
    }

    /// Begins to listen. The stream ends when the connection breaks.
    ///
    /// # Errors
    /// Redis is away.
    pub async fn listen(&self) -> Result<impl Stream<Item = RoomId> + Send + use<>, BeltError> {
        let begin = async {
            let mut heard = self.client().get_async_pubsub().await?;
            heard.subscribe(self.bell()).await?;
            Ok::<_, BeltError>(heard.into_on_message())
        };
        let heard = tokio::time::timeout(LISTEN_LIMIT, begin).await.map_err(|_| BeltError::Late(LISTEN_LIMIT))??;
        // What is no id is not ours.
        Ok(heard.filter_map(|said| async move { Uuid::from_slice(said.get_payload_bytes()).ok().map(RoomId) }))
    }
}
