//! A client that says exactly what the test says.

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use crate::SILENCE;

pub(crate) struct Client {
    input: BufReader<OwnedReadHalf>,
    output: OwnedWriteHalf,
}

/// What came instead of, or as, an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Code(u16),
    Nothing,
    End,
}

use Heard::{Code, End, Nothing};

impl Client {
    pub(crate) async fn connect(address: std::net::SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.expect("the server listens");
        stream.set_nodelay(true).expect("set");
        let (input, output) = stream.into_split();
        Self { input: BufReader::new(input), output }
    }

    /// Connected, greeted, and EHLO answered.
    pub(crate) async fn ready(address: std::net::SocketAddr) -> Self {
        let mut client = Self::connect(address).await;
        assert_eq!(client.hear().await, Code(220));
        assert_eq!(client.say("EHLO sender.example.org").await, Code(250));
        client
    }

    pub(crate) async fn send(&mut self, text: &str) {
        // The server may have closed already; the next answer tells.
        let _ = self.output.write_all(text.as_bytes()).await;
    }

    pub(crate) async fn say(&mut self, line: &str) -> Heard {
        self.send(&format!("{line}\r\n")).await;
        self.hear().await
    }

    pub(crate) async fn hear(&mut self) -> Heard {
        self.hear_lines().await.0
    }

    pub(crate) async fn hear_lines(&mut self) -> (Heard, Vec<String>) {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            match timeout(SILENCE, self.input.read_line(&mut line)).await {
                Err(_) => return (Nothing, lines),
                Ok(Err(_) | Ok(0)) => return (End, lines),
                Ok(Ok(_)) => {}
            }
            let code = line[..3].parse().expect("a code");
            let is_last = line.as_bytes()[3] == b' ';
            lines.push(line);
            if is_last {
                return (Code(code), lines);
            }
        }
    }

    /// Sends one message and gives what was heard at each stage: MAIL, RCPT, DATA, dot; less if it came to an end before.
    pub(crate) async fn message(&mut self, to: &str, id: &str) -> Vec<Heard> {
        let mut heard = Vec::new();
        for line in ["MAIL FROM:<clinic@example.org>", &format!("RCPT TO:<{to}>"), "DATA"] {
            heard.push(self.say(line).await);
            match heard.last() {
                Some(Code(200..400)) => {}
                _ => return heard,
            }
        }
        heard.push(self.body(id).await);
        heard
    }

    pub(crate) async fn body(&mut self, id: &str) -> Heard {
        self.say(&format!("Subject: x\r\nMessage-ID: {id}\r\n\r\nA line.\r\n..A dot.\r\n.")).await
    }
}
