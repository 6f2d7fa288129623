//! Moving the bytes of one connection.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use super::{Mode, Setting};

const CHUNK: usize = 16 * 1024;
/// Chunks on the way, each way. More than that and the sender feels it, as it would on a network.
const QUEUE: usize = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ToTarget,
    ToClient,
}

/// What is on the way: bytes, or (empty) the end of the stream.
struct Chunk {
    arrived: Instant,
    bytes: Vec<u8>,
}

/// Moves bytes both ways until both sides ended or one was reset.
pub(super) async fn both_ways(mut client: TcpStream, mut server: TcpStream, mode: watch::Receiver<Setting>) {
    let budget = Arc::new(Budget::default());
    // Borrowed halves: owned ones would send an orderly end before a reset.
    let (client_read, client_write) = client.split();
    let (server_read, server_write) = server.split();
    let to_target = one_way(client_read, server_write, Way::ToTarget, mode.clone(), Arc::clone(&budget));
    let to_client = one_way(server_read, client_write, Way::ToClient, mode, budget);
    // The first error ends both; an orderly end of one side leaves the other open.
    let _ = tokio::try_join!(to_target, to_client);
}

/// The connection was reset or is to be.
struct Reset;

impl From<std::io::Error> for Reset {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

async fn one_way(
    from: ReadHalf<'_>,
    to: WriteHalf<'_>,
    way: Way,
    mode: watch::Receiver<Setting>,
    budget: Arc<Budget>,
) -> Result<(), Reset> {
    let (queue, queued) = mpsc::channel(QUEUE);
    let reading = read(from, queue, mode.clone());
    let writing = write(to, queued, way, mode, budget);
    tokio::try_join!(reading, writing).map(|_| ())
}

async fn read(
    mut from: ReadHalf<'_>,
    queue: mpsc::Sender<Chunk>,
    mut mode: watch::Receiver<Setting>,
) -> Result<(), Reset> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = match from.read(&mut buffer).await {
            Ok(length) => length,
            Err(_) => {
                // Not even a reset crosses a partition.
                pass_allowed(&mut mode, |mode| mode != Mode::BlackHole).await?;
                return Err(Reset);
            }
        };
        let chunk = Chunk { arrived: Instant::now(), bytes: buffer[..length].to_vec() };
        if queue.send(chunk).await.is_err() || length == 0 {
            return Ok(());
        }
    }
}

async fn write(
    mut to: WriteHalf<'_>,
    mut queued: mpsc::Receiver<Chunk>,
    way: Way,
    mut mode: watch::Receiver<Setting>,
    budget: Arc<Budget>,
) -> Result<(), Reset> {
    while let Some(chunk) = queued.recv().await {
        let mut rest = chunk.bytes.as_slice();
        if rest.is_empty() {
            wait_turn(&mut mode, way, chunk.arrived).await?;
            // The other side may be gone already, which the other direction will find.
            let _ = to.shutdown().await;
            return Ok(());
        }
        while !rest.is_empty() {
            let now = wait_turn(&mut mode, way, chunk.arrived).await?;
            let (part, pause) = match now.mode {
                Mode::DropAfter { bytes } => (budget.take(now.generation, bytes, rest.len())?, Duration::ZERO),
                Mode::Throttle { bytes_per_second } => slice_of_throttle(bytes_per_second.max(1), rest.len()),
                _ => (rest.len(), Duration::ZERO),
            };
            to.write_all(&rest[..part]).await?;
            rest = &rest[part..];
            if !pause.is_zero() {
                // A change of the mode ends the pause.
                let _ = tokio::time::timeout(pause, mode.changed()).await;
            }
        }
        let now = *mode.borrow();
        if let Mode::DropAfter { bytes } = now.mode {
            // Nothing left: reset now, not at the next byte.
            budget.take(now.generation, bytes, 0)?;
        }
    }
    // The reader ended with an error of its own.
    Ok(())
}

/// Waits until the mode lets this chunk go, and gives that setting.
async fn wait_turn(mode: &mut watch::Receiver<Setting>, way: Way, arrived: Instant) -> Result<Setting, Reset> {
    loop {
        let now =
            pass_allowed(mode, |mode| mode != Mode::BlackHole && (mode != Mode::StallReplies || way == Way::ToTarget))
                .await?;
        let Mode::Delay { to_target, to_client } = now.mode else {
            return Ok(now);
        };
        let delay = if way == Way::ToTarget { to_target } else { to_client };
        tokio::select! {
            // A change first: a chunk whose time came as a partition began stays.
            biased;
            changed = mode.changed() => changed.map_err(|_| Reset)?,
            () = sleep_until(arrived + delay) => return Ok(now),
        }
    }
}

async fn pass_allowed(mode: &mut watch::Receiver<Setting>, allowed: impl Fn(Mode) -> bool) -> Result<Setting, Reset> {
    mode.wait_for(|setting| allowed(setting.mode)).await.map(|setting| *setting).map_err(|_| Reset)
}

/// At most a fiftieth of a second's bytes, and how long they take.
fn slice_of_throttle(bytes_per_second: u64, available: usize) -> (usize, Duration) {
    let part = available.min(usize::try_from(bytes_per_second / 50).unwrap_or(usize::MAX).max(1));
    (part, Duration::from_secs_f64(part as f64 / bytes_per_second as f64))
}

/// Bytes of a connection, both ways together, that [`Mode::DropAfter`] has let through since it was set.
#[derive(Debug, Default)]
struct Budget {
    of_generation: Mutex<(u64, u64)>,
}

impl Budget {
    /// Takes as many of these bytes as may still go. Asking for none tells whether any may; if not, that is a reset.
    fn take(&self, generation: u64, allowed: u64, wanted: usize) -> Result<usize, Reset> {
        let mut used = self.of_generation.lock().unwrap_or_else(PoisonError::into_inner);
        if used.0 != generation {
            *used = (generation, 0);
        }
        let left = usize::try_from(allowed.saturating_sub(used.1)).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(Reset);
        }
        let part = wanted.min(left);
        used.1 += part as u64;
        Ok(part)
    }
}
