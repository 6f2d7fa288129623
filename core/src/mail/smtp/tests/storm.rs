//! Many messages against a server that fails in every way it can: what is told is what happened.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::{Delivery, SmtpConfig};
use super::server::{envelope_to, transport};

const MESSAGES: usize = 200;

/// What the server does when it is asked for something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Well,
    /// A refusal by this code; 421 closes.
    Refuses(u16),
    Closes,
    Hangs,
    /// Only at the end of a message: takes it, and then closes without a word, hangs, or closes
    /// after the reply.
    TakesAndCloses,
    TakesAndHangs,
    RepliesAndCloses,
}

/// The same sequence for the same seed.
struct Chance(u64);

impl Chance {
    /// From 0 up to `bound`.
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    fn mood(&mut self, at_the_end: bool) -> Mood {
        match self.below(if at_the_end { 30 } else { 60 }) {
            0 => Mood::Refuses(451),
            1 => Mood::Refuses(550),
            2 => Mood::Refuses(421),
            3 => Mood::Closes,
            4 if self.below(8) == 0 => Mood::Hangs,
            5 | 6 if at_the_end => Mood::TakesAndCloses,
            7 if at_the_end && self.below(4) == 0 => Mood::TakesAndHangs,
            8 | 9 if at_the_end => Mood::RepliesAndCloses,
            _ => Mood::Well,
        }
    }
}

/// What the server saw.
#[derive(Default)]
struct Seen {
    /// How often it took a message for each recipient.
    taken: Mutex<HashMap<String, usize>>,
    connections: AtomicUsize,
    /// Messages whose reply was still to come when the next one's commands were there.
    followed: AtomicUsize,
}

/// Serves any number of connections until the test ends.
async fn serve(listener: TcpListener, seed: u64, greeting: &'static str, calm: bool, seen: Arc<Seen>) {
    loop {
        let (stream, _) = listener.accept().await.expect("accept");
        let number = seen.connections.fetch_add(1, Ordering::Relaxed);
        stream.set_nodelay(true).expect("nodelay");
        let mut session = Session {
            stream: BufReader::new(stream),
            chance: Chance(seed.wrapping_mul(1_000_003).wrapping_add(number as u64)),
            calm,
            seen: Arc::clone(&seen),
        };
        // However it ends, the sender's view of that is what is tested.
        tokio::spawn(async move { session.run(greeting).await });
    }
}

struct Session {
    stream: BufReader<TcpStream>,
    chance: Chance,
    calm: bool,
    seen: Arc<Seen>,
}

impl Session {
    async fn run(&mut self, greeting: &str) -> io::Result<()> {
        self.say("220 test").await?;
        let (mut sender, mut recipient) = (false, None);
        loop {
            let line = self.line().await?;
            let word = line.split([' ', ':']).next().unwrap_or_default();
            match word {
                "EHLO" => self.say(greeting).await?,
                "RSET" => {
                    (sender, recipient) = (false, None);
                    self.say("250 Ok").await?;
                }
                "MAIL" if !sender => sender = self.decide("250 Ok").await?,
                "RCPT" if sender => {
                    let to = line.trim_start_matches("RCPT TO:<").trim_end_matches('>').to_owned();
                    recipient = self.decide("250 Ok").await?.then_some(to);
                }
                // Some let a message without recipients begin.
                "DATA" if sender && (recipient.is_some() || self.chance.below(2) == 0) => {
                    if self.decide("354 Go ahead").await? {
                        self.text(recipient.take()).await?;
                        sender = false;
                    }
                }
                "QUIT" => return self.say("221 Bye").await,
                _ => self.say("503 Not now").await?,
            }
        }
    }

    fn mood(&mut self, at_the_end: bool) -> Mood {
        if self.calm { Mood::Well } else { self.chance.mood(at_the_end) }
    }

    /// Answers to a command; whether well.
    async fn decide(&mut self, well: &str) -> io::Result<bool> {
        match self.mood(false) {
            Mood::Refuses(code) => self.refuse(code).await.map(|()| false),
            Mood::Closes => Err(io::ErrorKind::ConnectionAborted.into()),
            Mood::Hangs => self.hang().await,
            _ => self.say(well).await.map(|()| true),
        }
    }

    /// The text of a message to `recipient`, or to nobody.
    async fn text(&mut self, recipient: Option<String>) -> io::Result<()> {
        let mood = self.mood(true);
        if mood == Mood::Closes && self.chance.below(2) == 0 {
            self.line().await?;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        while self.line().await? != "." {}
        if !self.stream.buffer().is_empty() {
            self.seen.followed.fetch_add(1, Ordering::Relaxed);
        }
        let Some(recipient) = recipient else {
            return self.say("554 No recipients").await;
        };
        match mood {
            Mood::Refuses(code) => return self.refuse(code).await,
            Mood::Closes => return Err(io::ErrorKind::ConnectionAborted.into()),
            Mood::Hangs => return self.hang().await,
            Mood::Well | Mood::TakesAndCloses | Mood::TakesAndHangs | Mood::RepliesAndCloses => {}
        }
        *self.seen.taken.lock().expect("lock").entry(recipient).or_default() += 1;
        match mood {
            Mood::TakesAndCloses => Err(io::ErrorKind::ConnectionAborted.into()),
            Mood::TakesAndHangs => self.hang().await,
            Mood::RepliesAndCloses => {
                self.say("250 Ok").await?;
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            _ => self.say("250 Ok").await,
        }
    }

    async fn refuse(&mut self, code: u16) -> io::Result<()> {
        self.say(&format!("{code} No")).await?;
        if code == 421 { Err(io::ErrorKind::ConnectionAborted.into()) } else { Ok(()) }
    }

    async fn hang<T>(&mut self) -> io::Result<T> {
        self.stream.read_to_end(&mut Vec::new()).await?;
        Err(io::ErrorKind::ConnectionAborted.into())
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        match self.stream.read_line(&mut line).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(line.trim_end().to_owned()),
        }
    }

    async fn say(&mut self, line: &str) -> io::Result<()> {
        self.stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.stream.flush().await
    }
}

/// Sends all messages over four connections, each once; how each ended, and what the server saw.
async fn sent(seed: u64, greeting: &'static str, calm: bool) -> (Vec<(String, Delivery)>, Arc<Seen>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    let seen = Arc::new(Seen::default());
    let server = tokio::spawn(serve(listener, seed, greeting, calm, Arc::clone(&seen)));
    let url = format!("smtp://127.0.0.1:{port}?starttls=never&max_connections=4");
    let mut config = SmtpConfig::parse(&url).expect("config");
    config.timeouts.command = Duration::from_millis(400);
    config.timeouts.message_end = Duration::from_millis(400);
    let transport = transport(config);
    let sends: Vec<_> = (0..MESSAGES)
        .map(|number| {
            let transport = transport.clone();
            tokio::spawn(async move {
                let to = format!("p{number}@example.org");
                let message = format!("Subject: {number}\r\n\r\n{}", ".text\r\n".repeat(number));
                let delivery = transport.send(&envelope_to(&to), message.as_bytes()).await;
                assert!(transport.open_connections() <= 4);
                (to, delivery)
            })
        })
        .collect();
    let mut told = Vec::new();
    for send in sends {
        told.push(send.await.expect("sent"));
    }
    server.abort();
    (told, seen)
}

const WITH_PIPELINING: &str = "250-test\r\n250 PIPELINING";

#[tokio::test]
async fn what_is_told_of_each_message_is_what_happened() {
    let (mut followed, mut ends) = (0, HashMap::<&str, usize>::new());
    let greeting = |seed| if seed % 4 == 3 { "250 test" } else { WITH_PIPELINING };
    // At the same time, for much of it is waiting for a server that hangs.
    let storms = join_all((0..12).map(|seed| sent(seed, greeting(seed), false))).await;
    for (seed, (told, seen)) in storms.into_iter().enumerate() {
        let taken = seen.taken.lock().expect("lock");
        for (to, delivery) in told {
            let times = taken.get(&to).copied().unwrap_or_default();
            let (end, is_true) = match &delivery {
                Delivery::Accepted { .. } => ("accepted", times == 1),
                Delivery::Uncertain { .. } => ("uncertain", times <= 1),
                Delivery::Refused { .. } => ("refused", times == 0),
                Delivery::NotSent { .. } => ("not sent", times == 0),
            };
            assert!(is_true, "seed {seed}: {to} was taken {times} times, and told: {delivery:?}");
            *ends.entry(end).or_default() += 1;
        }
        let followed_here = seen.followed.load(Ordering::Relaxed);
        assert_eq!(followed_here > 0, greeting(seed as u64) == WITH_PIPELINING, "seed {seed}");
        followed += followed_here;
    }
    // The storm was one.
    assert!(ends.len() == 4 && ends.values().all(|count| *count > 20), "{ends:?}");
    assert!(followed > 500, "{followed}");
}

#[tokio::test]
async fn messages_spread_over_the_connections_before_they_follow_each_other() {
    let (told, seen) = sent(1, WITH_PIPELINING, true).await;
    assert!(told.iter().all(|(_, delivery)| matches!(delivery, Delivery::Accepted { .. })));
    assert_eq!(seen.connections.load(Ordering::Relaxed), 4);
    assert_eq!(seen.taken.lock().expect("lock").len(), MESSAGES);
    // All but those at the end of the four: nothing else was left to wait.
    assert_eq!(seen.followed.load(Ordering::Relaxed), MESSAGES - 4);
}
