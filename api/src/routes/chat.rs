//! `/v1/chat-rooms`: talk among staff. Who does not take part in a room does not find it.

use axum::Router;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, http::header};
use chrono::{DateTime, Utc};
use pulsecal_core::ids::{PersonId, RoomId};
use pulsecal_core::store::chat::{self as store, Participant, Room};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{created, versioned};
use crate::access::{Tenant, Writer};
use crate::app::App;
use crate::chat::{self, Said};
use crate::contract::examples::{BEFORE, DOCTOR, ROOM};
use crate::contract::{Body, Kind, Operation, kinds};
use crate::fields::{Fields, JsonBody, check_version, if_match};
use crate::pages::session::from_our_page;
use crate::paging::{self, Cursor, Wanted};
use crate::params::{Id, Params};
use crate::problem::Problem;

/// The longest name of a room, and what is said at once, in characters.
const NAME: usize = 200;
const TEXT: usize = 4000;
/// So many take part in a room at most.
const MOST: usize = 50;
/// The orders of a list of rooms.
const ORDERS: [&str; 2] = ["opened", "-opened"];

/// The routes.
pub(super) fn router() -> Router<App> {
    Router::new()
        .route("/chat-rooms", get(list).post(open))
        .route("/chat-rooms/{id}", get(one).patch(change))
        .route("/chat-rooms/{id}/messages", get(messages).post(say))
        .route("/chat-rooms/{id}/read", post(read))
        .route("/chat-rooms/{id}/live", get(live))
}

/// What the contract says of them.
pub(super) fn contract() -> Vec<Operation> {
    let people = || kinds::list(kinds::id(), 1..=MOST).build();
    let new = Body::new("NewChatRoom", json!({"name": "Ward 2", "participants": [DOCTOR]}))
        .required("name", kinds::text(NAME), "Its name.")
        .required("participants", people(), "Who takes part, besides who makes it: active staff of the organization.");
    let change = Body::new("ChatRoomChange", json!({"closed": true}))
        .set("name", kinds::text(NAME), "Its name.")
        .set("participants", people(), "Who takes part, all of them at once: who is left out is out.")
        .set("closed", kinds::flag(), "Nothing more is said in it.");
    let say = Body::new("NewChatMessage", json!({"text": "Mrs Castellan is in room 2."})).required(
        "text",
        kinds::text(TEXT),
        "What is said. With an `Idempotency-Key`, sent again it is not said again.",
    );
    let seq = || kinds::number(0..=i64::MAX);
    let read = Body::new("ChatRead", json!({"seq": 1})).required("seq", seq(), "The newest message that was read.");
    let closed = || Problem::conflict("The room is closed: nothing more is said in it.");
    vec![
        Operation::new("GET", "/v1/chat-rooms", "Lists the rooms that one takes part in")
            .query("sort", paging::sorts(&ORDERS, "By when they were opened"))
            .lists::<Shown>("A page of rooms.", example()),
        Operation::new("POST", "/v1/chat-rooms", "Opens a room")
            .body(new)
            .creates::<Shown>("The room.", example()),
        Operation::new("GET", "/v1/chat-rooms/{id}", "Shows a room").shows_version::<Shown>("The room.", example()),
        Operation::new("PATCH", "/v1/chat-rooms/{id}", "Changes a room")
            .detail("A field that is left out stays as it is. Whoever takes part may.")
            .if_match()
            .body(change)
            .shows_version::<Shown>("The room as it is now.", example()),
        Operation::new("GET", "/v1/chat-rooms/{id}/messages", "Lists what was said in a room")
            .query("after", seq().about("What was said after this message: what a client missed."))
            .lists::<Said>("A page of messages, in their order.", said()),
        Operation::new("POST", "/v1/chat-rooms/{id}/messages", "Says something in a room")
            .body(say)
            .fails([closed()])
            .answer::<Said>(201, "The message.", Some(said()), &[]),
        Operation::new("POST", "/v1/chat-rooms/{id}/read", "Puts on record how far one has read")
            .detail("Never less far than before.")
            .body(read)
            .shows::<Shown>("The room as it is now.", example()),
        Operation::new("GET", "/v1/chat-rooms/{id}/live", "Listens to a room, as a WebSocket")
            .detail("Each message is a text frame as in `messages`, in their order, each once: first those after `after`, then what is said. \
                     A client that comes again says the `seq` of the last message that it has. The server asks for a sign of life each 10 s, and ends \
                     a connection after 15 minutes (1001): come again. 1008: too slow, no longer a participant, or something was sent.")
            .query("after", seq().about("The newest message that the client has; 0 when nothing is said."))
            .fails([not_a_socket(), Problem::foreign_form(), Problem::too_many("Too many are listening.", 5)])
            .file(101, "The messages.", &[], &[]),
    ]
}

fn not_a_socket() -> Problem {
    Problem::unreadable("This address is for WebSockets. Ask `messages` for what was said.")
}

fn example() -> Value {
    json!({
        "id": ROOM, "name": "Ward 2", "closed": false, "last_seq": 3, "read_seq": 1, "unread": 2,
        "participants": [{"person_id": DOCTOR, "read_seq": 1}], "created_at": BEFORE, "updated_at": BEFORE, "version": 1,
    })
}

fn said() -> Value {
    json!({"room_id": ROOM, "seq": 1, "sender_id": DOCTOR, "text": "Mrs Castellan is in room 2.", "sent_at": BEFORE})
}

/// Somebody who takes part.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatParticipant)]
struct Reader {
    person_id: PersonId,
    /// How far they have read.
    read_seq: i64,
}

/// A room, as it is shown to one who takes part.
#[derive(Serialize, ToSchema)]
#[schema(as = ChatRoom)]
struct Shown {
    id: RoomId,
    name: String,
    /// Nothing more is said in it.
    closed: bool,
    /// The number of its newest message; 0: there is none.
    last_seq: i64,
    /// How far one has read oneself …
    read_seq: i64,
    /// … and how many messages one has not.
    unread: i64,
    /// Who takes part; null in lists.
    participants: Option<Vec<Reader>>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    version: i32,
}

impl Shown {
    fn of(room: Room, participants: Option<Vec<Participant>>) -> Self {
        let reader = |one: Participant| Reader { person_id: one.person, read_seq: one.read_seq };
        Self {
            id: room.id,
            name: room.name,
            closed: room.closed,
            last_seq: room.last_seq,
            read_seq: room.read_seq,
            unread: room.last_seq - room.read_seq,
            participants: participants.map(|all| all.into_iter().map(reader).collect()),
            created_at: room.created_at,
            updated_at: room.updated_at,
            version: room.version,
        }
    }
}

/// A place in a room.
struct Seq(i64);

impl Cursor for Seq {
    fn write(&self) -> String {
        format!("{:x}", self.0)
    }

    fn read(text: &str) -> Option<Self> {
        let seq = i64::from_str_radix(text, 16).ok().filter(|seq| *seq >= 0).map(Self)?;
        (seq.write() == text).then_some(seq)
    }
}

fn missing() -> Problem {
    Problem::not_found("You take part in no such room.")
}

/// The people that are named, each once.
fn people(fields: &mut Fields) -> Option<Vec<PersonId>> {
    let mut all = fields.set::<Vec<PersonId>>("participants")?;
    all.sort_unstable();
    all.dedup();
    if !(1..=MOST).contains(&all.len()) {
        fields.wrong("participants", format!("must be 1 to {MOST}"));
    }
    Some(all)
}

async fn list(tenant: Tenant, State(app): State<App>, mut params: Params) -> Result<Response, Problem> {
    let wanted: Wanted<Uuid> = paging::wanted(&mut params);
    let (_, way) = paging::sort(&mut params, &ORDERS);
    params.finish()?;
    let mut tx = tenant.begin(&app).await?;
    let rows = store::rooms(tx.conn(), tenant.owner().person, way, wanted.after.map(RoomId), wanted.rows).await?;
    Ok(wanted.page(rows, |row| row.id.0, |row| Shown::of(row, None)).into_response())
}

async fn one(tenant: Tenant, State(app): State<App>, Id(id): Id<RoomId>) -> Result<Response, Problem> {
    let mut tx = tenant.begin(&app).await?;
    let room = store::room(tx.conn(), tenant.owner().person, id).await?.ok_or_else(missing)?;
    let participants = store::participants(tx.conn(), id).await?;
    Ok(versioned(room.version, &Shown::of(room, Some(participants))))
}

async fn open(by: Writer, State(app): State<App>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let name = fields.required::<String>("name");
    fields.check_length("name", name.as_deref(), NAME);
    let others = people(&mut fields);
    if others.is_none() && !fields.is_wrong("participants") {
        fields.wrong("participants", "is needed");
    }
    fields.finish()?;
    let (Some(name), Some(mut all)) = (name, others) else {
        return Err(Problem::internal("a required field was missing and not recorded"));
    };
    let me = by.owner().person;
    all.push(me);
    let mut tx = by.begin(&app).await?;
    let (id, now) = (tx.new_id::<RoomId>(), tx.now());
    no_strangers(&mut tx, &by, &all).await?;
    store::insert_room(tx.conn(), (by.org(), me), id, &name, now).await?;
    all.sort_unstable();
    all.dedup();
    store::set_participants(tx.conn(), (by.org(), id), &all, now).await?;
    by.audit(&app, &mut tx, "chat.opened", "chat_room", id.0, json!({"participants": all})).await?;
    let shown = whole(&mut tx, me, id).await?;
    let location = format!("{}/v1/chat-rooms/{id}", app.base_path);
    by.close(tx, created(&location, shown.version, &shown)).await
}

/// Refuses who is no active staff of the organization.
async fn no_strangers(tx: &mut pulsecal_core::store::Tx, by: &Writer, all: &[PersonId]) -> Result<(), Problem> {
    match store::strangers(tx.conn(), by.org(), all).await?.first() {
        None => Ok(()),
        Some(_) => Err(Problem::field("participants", "must all be active staff of the organization")),
    }
}

async fn whole(tx: &mut pulsecal_core::store::Tx, me: PersonId, id: RoomId) -> Result<Shown, Problem> {
    let room = store::room(tx.conn(), me, id).await?.ok_or_else(missing)?;
    let participants = store::participants(tx.conn(), id).await?;
    Ok(Shown::of(room, Some(participants)))
}

async fn change(
    by: Writer,
    State(app): State<App>,
    Id(id): Id<RoomId>,
    headers: HeaderMap,
    body: JsonBody,
) -> Result<Response, Problem> {
    let version = if_match(&headers)?;
    let mut fields = body.fields()?;
    let name = fields.set::<String>("name");
    fields.check_length("name", name.as_deref(), NAME);
    let all = people(&mut fields);
    let closed = fields.set::<bool>("closed");
    fields.finish()?;
    let me = by.owner().person;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let mut room = store::room_to_change(tx.conn(), me, id).await?.ok_or_else(missing)?;
    check_version(version, room.version)?;
    let before = room.clone();
    room.name = name.unwrap_or(room.name);
    room.closed = closed.unwrap_or(room.closed);
    let there: Vec<PersonId> = store::participants(tx.conn(), id).await?.iter().map(|one| one.person).collect();
    let all = all.filter(|all| *all != there);
    if let Some(all) = &all {
        no_strangers(&mut tx, &by, all).await?;
        store::set_participants(tx.conn(), (by.org(), id), all, now).await?;
    }
    if room != before || all.is_some() {
        store::save_room(tx.conn(), &mut room, now).await?;
        let detail = json!({"version": room.version, "closed": room.closed, "participants": all});
        by.audit(&app, &mut tx, "chat.changed", "chat_room", id.0, detail).await?;
    }
    let participants = store::participants(tx.conn(), id).await?;
    let answer = by.close(tx, versioned(room.version, &Shown::of(room, Some(participants)))).await?;
    // Who is out hears nothing more.
    chat::ring(&app, id).await;
    Ok(answer)
}

async fn messages(
    tenant: Tenant,
    State(app): State<App>,
    Id(id): Id<RoomId>,
    mut params: Params,
) -> Result<Response, Problem> {
    let wanted: Wanted<Seq> = paging::wanted(&mut params);
    let after = after(&mut params);
    params.finish()?;
    let me = tenant.owner().person;
    let mut tx = tenant.begin(&app).await?;
    store::room(tx.conn(), me, id).await?.ok_or_else(missing)?;
    let after = wanted.after.as_ref().map_or(after, |seq| seq.0);
    let rows = store::messages(tx.conn(), me, id, after, wanted.rows).await?;
    Ok(wanted.page(rows, |row| Seq(row.seq), Said::from).into_response())
}

fn after(params: &mut Params) -> i64 {
    let after = params.parsed::<i64>("after").unwrap_or(0);
    if after < 0 {
        params.wrong("after", "must be the seq of a message, or 0");
    }
    after
}

async fn say(by: Writer, State(app): State<App>, Id(id): Id<RoomId>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let text = fields.required::<String>("text");
    fields.check_length("text", text.as_deref(), TEXT);
    fields.finish()?;
    let text = text.ok_or_else(|| Problem::internal("a required field was missing and not recorded"))?;
    let me = by.owner().person;
    let mut tx = by.begin(&app).await?;
    let now = tx.now();
    let room = store::room_to_change(tx.conn(), me, id).await?.ok_or_else(missing)?;
    if room.closed {
        return Err(Problem::conflict("The room is closed: nothing more is said in it."));
    }
    let message = store::say(tx.conn(), (by.org(), me), &room, text, now).await?;
    by.audit(&app, &mut tx, "chat.said", "chat_room", id.0, json!({"seq": message.seq})).await?;
    let answer = by.close(tx, (StatusCode::CREATED, Json(Said::from(message))).into_response()).await?;
    chat::ring(&app, id).await;
    Ok(answer)
}

async fn read(by: Writer, State(app): State<App>, Id(id): Id<RoomId>, body: JsonBody) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let seq = fields.required::<i64>("seq");
    if seq.is_some_and(|seq| seq < 0) {
        fields.wrong("seq", "must be the seq of a message, or 0");
    }
    fields.finish()?;
    let me = by.owner().person;
    let mut tx = by.begin(&app).await?;
    let before = store::room(tx.conn(), me, id).await?.ok_or_else(missing)?.read_seq;
    let now = store::read(tx.conn(), me, id, seq.unwrap_or(0)).await?.ok_or_else(missing)?;
    if now > before {
        by.audit(&app, &mut tx, "chat.read", "chat_room", id.0, json!({"seq": now})).await?;
    }
    let shown = whole(&mut tx, me, id).await?;
    by.close(tx, Json(shown).into_response()).await
}

async fn live(
    tenant: Tenant,
    State(app): State<App>,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut params: Params,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let after = after(&mut params);
    params.finish()?;
    let id: RoomId = id.parse().map_err(|_| missing())?;
    // A page of somebody else's must not listen with what a browser has.
    if headers.contains_key(header::ORIGIN) {
        from_our_page(&app, &headers)?;
    }
    let mut tx = tenant.begin(&app).await?;
    store::room(tx.conn(), tenant.owner().person, id).await?.ok_or_else(missing)?;
    drop(tx);
    let upgrade = upgrade.map_err(|_| not_a_socket())?;
    chat::live(&app, tenant, id, after, upgrade)
}
