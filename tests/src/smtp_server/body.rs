//! The bytes of a message: its lines, its end, its Message-ID.

use std::io::BufRead;

/// How far a message was read, and what of its header is wanted.
#[derive(Default)]
pub(super) struct Body {
    /// Bytes read, the final dot's line included.
    pub(super) read: usize,
    past_headers: bool,
    in_message_id: bool,
    /// The value of the Message-ID header, if it was read.
    pub(super) message_id: Option<String>,
}

impl Body {
    /// Reads whole lines of the input after those read before; true when the final dot was read.
    pub(super) fn advance(&mut self, input: &[u8]) -> bool {
        while let Some(length) = line_length(&input[self.read..]) {
            let line = &input[self.read..self.read + length];
            self.read += length;
            if line == b".\r\n" {
                return true;
            }
            if !self.past_headers {
                self.header_line(line);
            }
        }
        false
    }

    fn header_line(&mut self, line: &[u8]) {
        const NAME: &[u8] = b"message-id:";
        if line == b"\r\n" {
            self.past_headers = true;
        } else if self.message_id.is_none() && line.len() > NAME.len() && line[..NAME.len()].eq_ignore_ascii_case(NAME)
        {
            self.in_message_id = true;
            self.take_message_id(&line[NAME.len()..]);
        } else if self.in_message_id && matches!(line[0], b' ' | b'\t') {
            self.take_message_id(line);
        } else {
            self.in_message_id = false;
        }
    }

    /// The value may stand on the line after the header's name.
    fn take_message_id(&mut self, value: &[u8]) {
        let value = String::from_utf8_lossy(value).trim().to_owned();
        if !value.is_empty() && self.message_id.is_none() {
            self.message_id = Some(value);
        }
    }
}

/// The length of the first line with its end, if it is whole. The search for it is the standard library's compiled one,
/// which is quick in unoptimised tests too.
pub(super) fn line_length(mut input: &[u8]) -> Option<usize> {
    let whole = input;
    let length = input.skip_until(b'\n').unwrap_or(0);
    (length > 0 && whole[length - 1] == b'\n').then_some(length)
}

/// Without the dots that the transfer adds to lines that start with one.
pub(super) fn unstuffed(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(line_length(rest).unwrap_or(rest.len()));
        plain.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        rest = after;
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_read_the_same_in_pieces_of_any_size() {
        let text = b"Subject: x\r\nMESSAGE-ID: <1@example.org>\r\n\r\n..\r\n.x\r\n\n.\r\r\n.\r\nQUIT\r\n";
        let whole = text.len() - b"QUIT\r\n".len();
        for piece in 1..text.len() {
            let mut body = Body::default();
            let end = (1..=text.len())
                .filter(|end| end % piece == 0 || *end == text.len())
                .find(|end| body.advance(&text[..*end]));
            assert!(end.is_some(), "pieces of {piece}");
            assert_eq!(body.read, whole, "pieces of {piece}");
            assert_eq!(body.message_id.as_deref(), Some("<1@example.org>"));
        }
    }

    #[test]
    fn only_the_added_dots_are_taken_away() {
        assert_eq!(unstuffed(b"..a\r\nb.\r\n...\r\nc"), b".a\r\nb.\r\n..\r\nc");
    }
}
