//! One connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::Shared;
use super::body::{Body, line_length, unstuffed};
use super::faults::{Fault, Stage};
use super::record::{Accepted, Fate};

const MAX_COMMAND: usize = 4_096;
const CLOSING: u16 = 421;

/// Accepts connections for ever.
pub(super) async fn serve(listener: std::net::TcpListener, shared: Arc<Shared>) {
    let listener = TcpListener::from_std(listener).expect("a non-blocking listener can be registered");
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors: those in use will come free.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let number = {
                let counts = &mut shared.lock().counts;
                counts.connections += 1;
                counts.open_connections += 1;
                counts.most_open_connections = counts.most_open_connections.max(counts.open_connections);
                counts.connections
            };
            let mut session = Session::new(stream, number, &shared);
            // Whatever ends a connection is the end of it: the client's side is what tests look at.
            let _ = session.run().await;
            drop(session);
            shared.lock().counts.open_connections -= 1;
        });
    }
}

/// The connection is over.
struct Closed;

impl From<std::io::Error> for Closed {
    fn from(_: std::io::Error) -> Self {
        Self
    }
}

struct Session<'a> {
    stream: TcpStream,
    number: u64,
    shared: &'a Shared,
    input: Vec<u8>,
    output: Vec<u8>,
    from: Option<String>,
    to: Vec<String>,
    fault: Option<Fault>,
}

impl<'a> Session<'a> {
    fn new(stream: TcpStream, number: u64, shared: &'a Shared) -> Self {
        let (input, output) = (Vec::with_capacity(16 * 1024), Vec::new());
        Self { stream, number, shared, input, output, from: None, to: Vec::new(), fault: None }
    }

    async fn run(&mut self) -> Result<(), Closed> {
        self.stream.set_nodelay(true)?;
        self.answer_early(Stage::Greeting, "220 test.example.org ESMTP").await?;
        loop {
            let mut used = 0;
            while let Some(length) = line_length(&self.input[used..]) {
                let line = String::from_utf8_lossy(&self.input[used..used + length]).trim_end().to_owned();
                used += length;
                if verb_of(&line) == "DATA" {
                    self.input.drain(..used);
                    used = 0;
                    self.data().await?;
                } else {
                    self.command(&line).await?;
                }
            }
            self.input.drain(..used);
            if self.input.len() > MAX_COMMAND {
                self.say("500 5.5.2 line too long");
                self.flush().await?;
                return Err(Closed);
            }
            self.flush().await?;
            self.read_more().await?;
        }
    }

    async fn command(&mut self, line: &str) -> Result<(), Closed> {
        match verb_of(line).as_str() {
            "EHLO" => {
                self.reset();
                let pipelining = if self.shared.options.pipelining { "250-PIPELINING\r\n" } else { "" };
                let size = self.shared.options.size_limit;
                let reply = format!(
                    "250-test.example.org\r\n{pipelining}250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE {size}"
                );
                self.answer_early(Stage::Hello, &reply).await
            }
            "HELO" => {
                self.reset();
                self.answer_early(Stage::Hello, "250 test.example.org").await
            }
            "MAIL" => self.mail(line).await,
            "RCPT" => self.rcpt(line).await,
            "RSET" => {
                self.reset();
                self.say("250 2.0.0 reset");
                Ok(())
            }
            "NOOP" => {
                self.say("250 2.0.0 here");
                Ok(())
            }
            "VRFY" => {
                self.say("252 2.1.5 not verified");
                Ok(())
            }
            "QUIT" => {
                self.say("221 2.0.0 bye");
                self.flush().await?;
                Err(Closed)
            }
            _ => {
                self.say("500 5.5.1 not known");
                Ok(())
            }
        }
    }

    async fn mail(&mut self, line: &str) -> Result<(), Closed> {
        self.shared.lock().counts.mail += 1;
        let Some(from) = path_of(line, "FROM:") else {
            self.say("501 5.5.4 MAIL FROM:<address>");
            return Ok(());
        };
        if self.from.is_some() {
            self.say("503 5.5.1 a transaction is open");
            return Ok(());
        }
        let fault = self.shared.lock().faults.at(Stage::Mail);
        self.meet(fault.as_ref(), Stage::Mail, "250 2.1.0 sender ok").await?;
        if !refuses(fault.as_ref(), Stage::Mail) {
            self.from = Some(from);
        }
        Ok(())
    }

    async fn rcpt(&mut self, line: &str) -> Result<(), Closed> {
        self.shared.lock().counts.rcpt += 1;
        let Some(to) = path_of(line, "TO:").filter(|to| !to.is_empty()) else {
            self.say("501 5.5.4 RCPT TO:<address>");
            return Ok(());
        };
        if self.from.is_none() {
            self.say("503 5.5.1 MAIL first");
            return Ok(());
        }
        let fault = self.shared.lock().faults.of_recipient(&to);
        self.meet(fault.as_ref(), Stage::Rcpt, "250 2.1.5 recipient ok").await?;
        if refuses(fault.as_ref(), Stage::Rcpt) {
            return Ok(());
        }
        self.to.push(to);
        if self.fault.is_none() {
            self.fault = fault;
        }
        Ok(())
    }

    async fn data(&mut self) -> Result<(), Closed> {
        self.shared.lock().counts.data += 1;
        if self.from.is_none() {
            self.say("503 5.5.1 MAIL first");
            return Ok(());
        }
        if self.to.is_empty() {
            self.say("554 5.5.1 no valid recipients");
            return Ok(());
        }
        let fault = self.fault.clone();
        self.meet(fault.as_ref(), Stage::Data, "354 go on").await?;
        if refuses(fault.as_ref(), Stage::Data) {
            self.reset();
            return Ok(());
        }
        self.flush().await?;
        let mut body = Body::default();
        // The buffer holds the message from its first byte, so that nothing is copied on the way.
        while !body.advance(&self.input) {
            if !self.input.is_empty() && fault == Some(Fault::DropMidBody) {
                return self.drop_connection();
            }
            self.read_more().await?;
        }
        if fault == Some(Fault::DropMidBody) {
            return self.drop_connection();
        }
        let rest = self.input.split_off(body.read);
        let bytes = std::mem::replace(&mut self.input, rest);
        let message = self.message(&bytes[..body.read - 3], body.message_id);
        self.reset();
        self.end_of_message(message, fault).await
    }

    /// The final dot was read: what becomes of the message, and what is answered.
    async fn end_of_message(&mut self, mut message: Accepted, fault: Option<Fault>) -> Result<(), Closed> {
        let fate = match &fault {
            Some(Fault::Refuse { stage: Stage::Dot, code, .. }) => Some(Fate::Refused(*code)),
            Some(Fault::Drop(Stage::Dot)) => Some(Fate::Dropped),
            Some(Fault::Hang(Stage::Dot)) => Some(Fate::Hung),
            _ if message.size > self.shared.options.size_limit => Some(Fate::Refused(552)),
            _ => None,
        };
        message.reply_lost = matches!(fault, Some(Fault::AcceptThenDrop | Fault::AcceptThenHang));
        self.shared.lock().record(message, fate);
        match fault {
            Some(Fault::AcceptThenDrop) => self.drop_connection(),
            Some(Fault::AcceptThenHang) => self.hang().await,
            Some(Fault::DropAfterReply) => {
                self.say("250 2.0.0 taken");
                self.flush().await?;
                self.drop_connection()
            }
            None if fate.is_some() => {
                self.say("552 5.3.4 too large");
                Ok(())
            }
            fault => self.meet(fault.as_ref(), Stage::Dot, "250 2.0.0 taken").await,
        }
    }

    fn message(&mut self, bytes: &[u8], message_id: Option<String>) -> Accepted {
        let options = &self.shared.options;
        let keep = options.keep_raw_bytes > 0 && self.shared.lock().accepted.len() < options.keep_raw_messages;
        let (raw, size) = if keep {
            let mut whole = unstuffed(bytes);
            let size = whole.len();
            whole.truncate(options.keep_raw_bytes);
            (Some(whole), size)
        } else {
            (None, bytes.len())
        };
        Accepted {
            connection: self.number,
            from: self.from.take().unwrap_or_default(),
            to: std::mem::take(&mut self.to),
            message_id,
            size,
            raw,
            at: Instant::now(),
            reply_lost: false,
        }
    }

    async fn answer_early(&mut self, stage: Stage, good: &str) -> Result<(), Closed> {
        let fault = self.shared.lock().faults.at(stage);
        self.meet(fault.as_ref(), stage, good).await?;
        self.flush().await
    }

    /// Answers at this stage: with the fault if it is one of this stage, else with the good answer.
    async fn meet(&mut self, fault: Option<&Fault>, stage: Stage, good: &str) -> Result<(), Closed> {
        match fault {
            Some(Fault::Refuse { stage: at, code, text }) if *at == stage => {
                self.shared.lock().counts.refused += 1;
                self.say(&format!("{code} {text}"));
                if *code == CLOSING {
                    self.flush().await?;
                    return Err(Closed);
                }
            }
            Some(Fault::Hang(at)) if *at == stage => return self.hang().await,
            Some(Fault::Drop(at)) if *at == stage => {
                self.flush().await?;
                return self.drop_connection();
            }
            Some(Fault::Slow(at, time)) if *at == stage => {
                self.flush().await?;
                tokio::time::sleep(*time).await;
                self.say(good);
            }
            _ => self.say(good),
        }
        Ok(())
    }

    /// Answers what was owed before, then nothing; what the client still sends is read and dropped.
    async fn hang(&mut self) -> Result<(), Closed> {
        self.shared.lock().counts.hung += 1;
        self.flush().await?;
        loop {
            self.input.clear();
            self.read_more().await?;
        }
    }

    fn drop_connection(&mut self) -> Result<(), Closed> {
        self.shared.lock().counts.dropped += 1;
        Err(Closed)
    }

    fn reset(&mut self) {
        self.from = None;
        self.to.clear();
        self.fault = None;
    }

    fn say(&mut self, reply: &str) {
        self.output.extend_from_slice(reply.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    async fn flush(&mut self) -> Result<(), Closed> {
        if !self.output.is_empty() {
            self.stream.write_all(&self.output).await?;
            self.output.clear();
        }
        Ok(())
    }

    async fn read_more(&mut self) -> Result<(), Closed> {
        self.input.reserve(16 * 1024);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(Closed);
        }
        Ok(())
    }
}

fn refuses(fault: Option<&Fault>, at: Stage) -> bool {
    matches!(fault, Some(Fault::Refuse { stage, .. }) if *stage == at)
}

fn verb_of(line: &str) -> String {
    line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase()
}

/// The address between `MAIL FROM:<` (or `RCPT TO:<`) and `>`.
fn path_of(line: &str, after: &str) -> Option<String> {
    let argument = line.get(5..)?.trim_start();
    let (name, path) = argument.split_at_checked(after.len())?;
    if !name.eq_ignore_ascii_case(after) {
        return None;
    }
    let (address, _) = path.trim_start().strip_prefix('<')?.split_once('>')?;
    Some(address.to_owned())
}
