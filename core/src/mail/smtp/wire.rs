//! The message text as it goes over the wire.

/// A message with dots doubled at line starts and its end mark, ready for one write.
pub(super) struct WireMessage {
    bytes: Vec<u8>,
    is_ascii: bool,
}

/// What ends a message, after the line break of its last line.
const END: &[u8] = b".\r\n";

impl WireMessage {
    /// Prepares `message`: every line ends in CRLF (a lone CR or LF would let text be taken for an
    /// end mark by some servers), a leading dot is doubled (RFC 5321 4.5.2), the end mark follows.
    pub(super) fn new(message: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(message.len() + message.len() / 32 + 16);
        let mut rest = message;
        while !rest.is_empty() {
            let end = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
            let (line, tail) = rest.split_at(end);
            if line.first() == Some(&b'.') {
                bytes.push(b'.');
            }
            bytes.extend_from_slice(line);
            bytes.extend_from_slice(b"\r\n");
            rest = tail.strip_prefix(b"\r\n").unwrap_or_else(|| tail.get(1..).unwrap_or_default());
        }
        let is_ascii = bytes.is_ascii();
        bytes.extend_from_slice(END);
        Self { bytes, is_ascii }
    }

    /// All of it, end mark included.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Whether the server can know the message to be complete once `sent` bytes reached it.
    /// True from the dot on, a little too early rather than too late.
    pub(super) fn end_is_out(&self, sent: usize) -> bool {
        sent > self.bytes.len() - END.len()
    }

    /// Whether it may go to a server that does not offer 8BITMIME.
    pub(super) fn is_ascii(&self) -> bool {
        self.is_ascii
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(message: &[u8]) -> Vec<u8> {
        WireMessage::new(message).bytes().to_vec()
    }

    #[test]
    fn dots_at_line_starts_are_doubled_and_the_end_is_one_dot() {
        assert_eq!(wire(b"a\r\n.\r\n..b\r\nc.\r\n"), b"a\r\n..\r\n...b\r\nc.\r\n.\r\n");
        assert_eq!(wire(b".a"), b"..a\r\n.\r\n");
        assert_eq!(wire(b""), b".\r\n");
    }

    #[test]
    fn lone_line_breaks_cannot_smuggle_an_end_mark() {
        assert_eq!(wire(b"a\n.\nMAIL FROM:<>"), b"a\r\n..\r\nMAIL FROM:<>\r\n.\r\n");
        assert_eq!(wire(b"a\r.\rb"), b"a\r\n..\r\nb\r\n.\r\n");
        assert_eq!(wire(b"a\r\r\n.\r\n"), b"a\r\n\r\n..\r\n.\r\n");
    }

    #[test]
    fn the_end_is_out_from_the_dot_on() {
        let message = WireMessage::new(b"abc\r\n");
        assert!(!message.end_is_out(0));
        assert!(!message.end_is_out(5));
        assert!(message.end_is_out(6));
        assert!(message.end_is_out(8));
    }
}
