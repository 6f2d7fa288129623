//! Live talk: a WebSocket of one person in one room. What is said comes in its order, each message once, from Postgres; the bell
//! ([`pulsecal_core::belt`]) only says that there is something to read. When Redis is away the rooms are looked at every two seconds.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use futures_util::StreamExt;
use pulsecal_core::ids::{PersonId, RoomId};
use pulsecal_core::store::chat::{self, ChatMessage};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::access::Tenant;
use crate::app::App;
use crate::problem::Problem;

/// Listeners of one person, and of the process.
const MOST_OF_ONE: usize = 8;
const MOST: usize = 1000;
/// A listener is asked for a sign of life so often, and cut off when the last one is twice as old. What was said is looked for
/// then too, for a bell may be missed.
const SIGN_OF_LIFE: Duration = Duration::from_secs(10);
/// Who does not take what was sent to them for so long is cut off.
const SLOW: Duration = Duration::from_secs(10);
/// After so long a listener comes again, with a token that is still good.
const LIFE: Duration = Duration::from_secs(15 * 60);
/// Messages read at once.
const BATCH: i64 = 100;
/// What one who only listens may send at once, and what is held of what is sent to them, in bytes.
const LONGEST_FRAME: usize = 4096;
const BUFFER: usize = 256 * 1024;
/// While Redis is away rooms are looked at so often.
const WITHOUT_BELL: Duration = Duration::from_secs(2);

/// Who listens to what, in this process.
#[derive(Debug, Default)]
pub(crate) struct Chat(Mutex<Listened>);

#[derive(Debug, Default)]
struct Listened {
    rooms: HashMap<RoomId, watch::Sender<()>>,
    people: HashMap<PersonId, usize>,
    hears: bool,
}

/// A listener. Dropped, it makes room for another one.
struct Listener {
    app: App,
    person: PersonId,
    room: RoomId,
    rung: watch::Receiver<()>,
}

impl Drop for Listener {
    fn drop(&mut self) {
        let mut listened = self.app.chat.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some(count) = listened.people.get_mut(&self.person) {
            *count -= 1;
        }
        listened.people.retain(|_, count| *count > 0);
        // This one's receiver is still there.
        if listened.rooms.get(&self.room).is_some_and(|sender| sender.receiver_count() <= 1) {
            listened.rooms.remove(&self.room);
        }
    }
}

impl Chat {
    fn listen(app: &App, person: PersonId, room: RoomId) -> Option<Listener> {
        let mut listened = app.chat.0.lock().unwrap_or_else(|broken| broken.into_inner());
        let all: usize = listened.people.values().sum();
        let own = listened.people.entry(person).or_default();
        if *own >= MOST_OF_ONE || all >= MOST {
            return None;
        }
        *own += 1;
        let rung = listened.rooms.entry(room).or_insert_with(|| watch::channel(()).0).subscribe();
        if !listened.hears {
            listened.hears = true;
            tokio::spawn(hear(app.clone()));
        }
        Some(Listener { app: app.clone(), person, room, rung })
    }

    /// Something was said in a room, or perhaps in any.
    fn wake(&self, room: Option<RoomId>) {
        let listened = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        match room {
            Some(room) => listened.rooms.get(&room).into_iter().for_each(|sender| sender.send_replace(())),
            None => listened.rooms.values().for_each(|sender| sender.send_replace(())),
        }
    }

    /// Whether nobody listens; then the loop that hears for all is over.
    fn is_over(&self) -> bool {
        let mut listened = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        listened.hears = !listened.rooms.is_empty();
        !listened.hears
    }
}

/// Tells all processes that something was said. Those who listen here are told without Redis.
pub(crate) async fn ring(app: &App, room: RoomId) {
    app.chat.wake(Some(room));
    app.ctx.db.belt().ring(room).await;
}

/// Hears the bell for all who listen in this process, for as long as somebody does.
async fn hear(app: App) {
    let mut warned = false;
    while !app.chat.is_over() && !app.stop.is_cancelled() {
        match app.ctx.db.belt().listen().await {
            Ok(heard) => {
                if warned {
                    tracing::info!("chat.bell: Redis is back");
                }
                warned = false;
                // What was rung before this one listened.
                app.chat.wake(None);
                let mut heard = std::pin::pin!(heard);
                let mut look = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
                loop {
                    tokio::select! {
                        () = app.stop.cancelled() => return,
                        _ = look.tick() => if app.chat.is_over() { return },
                        room = heard.next() => match room {
                            Some(room) => app.chat.wake(Some(room)),
                            None => break,
                        },
                    }
                }
            }
            Err(error) => {
                if !warned {
                    tracing::warn!(%error, "chat.bell: Redis is away; rooms are looked at instead");
                }
                warned = true;
            }
        }
        app.chat.wake(None);
        sleep(WITHOUT_BELL).await;
    }
}

/// What somebody said, as it is shown.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ChatMessage)]
pub(crate) struct Said {
    room_id: RoomId,
    /// Its number in the room: from 1, in the order of what was said, without gaps.
    seq: i64,
    sender_id: PersonId,
    text: String,
    sent_at: chrono::DateTime<chrono::Utc>,
}

impl From<ChatMessage> for Said {
    fn from(row: ChatMessage) -> Self {
        Self { room_id: row.room, seq: row.seq, sender_id: row.sender, text: row.body, sent_at: row.sent_at }
    }
}

/// Sends what was said after a message, and then what is said, for as long as both sides want.
pub(crate) fn live(
    app: &App,
    tenant: Tenant,
    room: RoomId,
    after: i64,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let Some(listener) = Chat::listen(app, tenant.owner().person, room) else {
        return Err(Problem::too_many("Too many are listening. Ask for the messages from time to time instead.", 5));
    };
    let upgrade = upgrade
        .max_message_size(LONGEST_FRAME)
        .max_frame_size(LONGEST_FRAME)
        .write_buffer_size(0)
        .max_write_buffer_size(BUFFER);
    Ok(upgrade.on_upgrade(move |socket| talk(socket, listener, tenant, after)))
}

/// Why a connection ends: its code and word.
type End = (u16, &'static str);

async fn talk(mut socket: WebSocket, mut listener: Listener, tenant: Tenant, mut after: i64) {
    let (code, why) = tell(&mut socket, &mut listener, &tenant, &mut after).await;
    tracing::debug!(code, why, "chat.live: over");
    let frame = Message::Close(Some(CloseFrame { code, reason: why.into() }));
    // Who is gone does not hear it.
    let _gone = timeout(Duration::from_secs(1), socket.send(frame)).await;
}

async fn tell(socket: &mut WebSocket, listener: &mut Listener, tenant: &Tenant, after: &mut i64) -> End {
    let stop = listener.app.stop.clone();
    let ends = Instant::now() + LIFE;
    let mut alive = Instant::now();
    let mut look = interval_at(Instant::now() + SIGN_OF_LIFE, SIGN_OF_LIFE);
    listener.rung.mark_changed();
    loop {
        tokio::select! {
            () = stop.cancelled() => return (close_code::RESTART, "the server stops; come again"),
            () = tokio::time::sleep_until(ends) => return (close_code::AWAY, "come again"),
            _ = look.tick() => {
                if alive.elapsed() > SIGN_OF_LIFE * 2 {
                    return (close_code::POLICY, "no sign of life");
                }
                if let Err(end) = send(socket, Message::Ping(Vec::new().into())).await {
                    return end;
                }
                listener.rung.mark_changed();
            }
            heard = socket.recv() => match heard {
                None | Some(Err(_) | Ok(Message::Close(_))) => return (close_code::NORMAL, "bye"),
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => alive = Instant::now(),
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    return (close_code::POLICY, "here one listens; what is to be said is sent to /messages");
                }
            },
            _ = listener.rung.changed() => {
                if let Err(end) = catch_up(socket, listener, tenant, after).await {
                    return end;
                }
            }
        }
    }
}

/// Sends all that was said after the last message that was sent.
async fn catch_up(socket: &mut WebSocket, listener: &Listener, tenant: &Tenant, after: &mut i64) -> Result<(), End> {
    loop {
        let read = async {
            let mut tx = tenant.begin(&listener.app).await?;
            let there = chat::room(tx.conn(), listener.person, listener.room).await?.is_some();
            let said = chat::messages(tx.conn(), listener.person, listener.room, *after, BATCH).await?;
            Ok::<_, Problem>((there, said))
        };
        // Postgres is away: the next look finds what was said.
        let Ok((there, said)) = read.await else { return Ok(()) };
        if !there {
            return Err((close_code::POLICY, "you do not take part in this room any more"));
        }
        let more = i64::try_from(said.len()).unwrap_or(0) == BATCH;
        for message in said {
            let seq = message.seq;
            let text = serde_json::to_value(Said::from(message)).map_or(String::new(), |said: Value| said.to_string());
            send(socket, Message::Text(text.into())).await?;
            *after = seq;
        }
        if !more {
            return Ok(());
        }
    }
}

/// Sends, to who takes it in time.
async fn send(socket: &mut WebSocket, message: Message) -> Result<(), End> {
    match timeout(SLOW, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err((close_code::NORMAL, "gone")),
        Err(_) => Err((close_code::POLICY, "too slow")),
    }
}
