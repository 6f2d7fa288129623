//! The message text as it goes over the wire.

use std::borrow::Cow;

use memchr::{memchr_iter, memchr2};

/// A message with dots doubled at line starts, and its end mark.
pub(super) struct WireMessage<'a> {
    text: Cow<'a, [u8]>,
    is_ascii: bool,
}

/// What ends a message, after the line break of its last line.
const END: &[u8] = b".\r\n";

impl<'a> WireMessage<'a> {
    /// Prepares `message`: every line ends in CRLF (a lone CR or LF would let text be taken for an
    /// end mark by some servers), a leading dot is doubled (RFC 5321 4.5.2), the end mark follows.
    pub(super) fn new(message: &'a [u8]) -> Self {
        // Almost every message is fit as it is, and then nothing is copied.
        let text = if is_fit(message) { Cow::Borrowed(message) } else { Cow::Owned(made_fit(message)) };
        Self { text, is_ascii: message.is_ascii() }
    }

    /// The two pieces of it: the text, and the end mark that has to follow at once.
    pub(super) fn pieces(&self) -> [&[u8]; 2] {
        [&self.text, END]
    }

    /// Whether the server can know the message to be complete once `sent` bytes reached it.
    /// True from the dot on, a little too early rather than too late.
    pub(super) fn end_is_out(&self, sent: usize) -> bool {
        sent > self.text.len()
    }

    /// Whether all of it is among the first `sent` bytes.
    pub(super) fn is_out(&self, sent: usize) -> bool {
        sent >= self.text.len() + END.len()
    }

    /// Whether it may go to a server that does not offer 8BITMIME.
    pub(super) fn is_ascii(&self) -> bool {
        self.is_ascii
    }
}

/// Whether each line ends in CRLF, the last one too, no CR is elsewhere, and no line begins with a dot.
fn is_fit(message: &[u8]) -> bool {
    let mut breaks = 0;
    for at in memchr_iter(b'\n', message) {
        if at == 0 || message[at - 1] != b'\r' || message.get(at + 1) == Some(&b'.') {
            return false;
        }
        breaks += 1;
    }
    // Each LF has its CR, so with as many CRs as LFs there is no other one.
    let no_lone_cr = memchr_iter(b'\r', message).count() == breaks;
    no_lone_cr && message.first() != Some(&b'.') && (message.is_empty() || message.ends_with(b"\n"))
}

fn made_fit(message: &[u8]) -> Vec<u8> {
    let mut text = Vec::with_capacity(message.len() + message.len() / 32 + 16);
    let mut rest = message;
    while !rest.is_empty() {
        let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let (line, tail) = rest.split_at(end);
        if line.first() == Some(&b'.') {
            text.push(b'.');
        }
        text.extend_from_slice(line);
        text.extend_from_slice(b"\r\n");
        rest = tail.strip_prefix(b"\r\n").unwrap_or_else(|| tail.get(1..).unwrap_or_default());
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    use super::*;

    fn wire(message: &[u8]) -> Vec<u8> {
        WireMessage::new(message).pieces().concat()
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
        assert!(!message.is_out(7));
        assert!(message.is_out(8) && message.is_out(9));
    }

    #[test]
    fn only_what_is_not_fit_is_copied() {
        for fit in [&b""[..], b"a\r\n", b"\r\n\r\n", b"a.\r\nb\r\n"] {
            assert!(matches!(WireMessage::new(fit).text, Cow::Borrowed(text) if text == fit), "{fit:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_to_be_fit_is_what_making_it_fit_leaves_alone(bytes in vec(select(&b"a.\r\n\xe4"[..]), 0..24)) {
            prop_assert_eq!(is_fit(&bytes), made_fit(&bytes) == bytes);
            let wire = wire(&bytes);
            let text = wire.strip_suffix(END).expect("the end mark");
            // The end mark is found where it is and nowhere before.
            let found = [b"\r\n", &wire[..]].concat().windows(5).position(|w| w == b"\r\n.\r\n");
            prop_assert_eq!(found, Some(text.len()));
        }
    }
}
