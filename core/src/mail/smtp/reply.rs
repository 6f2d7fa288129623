//! Replies of the server, and their words made fit to be kept.

/// Longest reply that is read, all lines together, in octets. Far beyond what any server says.
pub(super) const MAX_REPLY: usize = 64 << 10;
/// Longest text of a reply that is kept, in characters.
const MAX_TEXT_CHARS: usize = 200;

/// One whole reply.
#[derive(Debug)]
pub(super) struct Reply {
    /// 200 to 599.
    pub(super) code: u16,
    /// Its lines without code and line break, joined by `\n`.
    pub(super) lines: String,
}

impl Reply {
    pub(super) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    pub(super) fn is_refusal(&self) -> bool {
        self.code >= 400
    }

    /// The server is about to close the connection (RFC 5321 4.2.1).
    pub(super) fn is_closing(&self) -> bool {
        self.code == 421
    }

    /// The first line, cleaned; see [`cleaned`].
    pub(super) fn first_line(&self, private: &str) -> String {
        cleaned(self.lines.lines().next().unwrap_or_default(), private)
    }

    /// All lines in one, cleaned; see [`cleaned`].
    pub(super) fn text(&self, private: &str) -> String {
        cleaned(&self.lines, private)
    }
}

/// What the bytes received so far amount to.
#[derive(Debug)]
pub(super) enum Parsed {
    /// A whole reply and the number of bytes it took.
    Whole(Reply, usize),
    /// More has to come.
    Partial,
    /// Not SMTP.
    Nonsense,
}

/// Reads the first reply in `bytes`.
pub(super) fn parse(bytes: &[u8]) -> Parsed {
    let mut lines = String::new();
    let mut first_code = None;
    let mut used = 0;
    loop {
        let rest = &bytes[used..];
        let Some(end) = rest.iter().position(|b| *b == b'\n') else {
            return if rest.len() + used > MAX_REPLY { Parsed::Nonsense } else { Parsed::Partial };
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        used += end + 1;
        if used > MAX_REPLY {
            return Parsed::Nonsense;
        }
        let Some(code) = code_of(line) else {
            return Parsed::Nonsense;
        };
        if *first_code.get_or_insert(code) != code {
            return Parsed::Nonsense;
        }
        let (last, text) = match line.get(3) {
            None => (true, &line[3..]),
            Some(b' ') => (true, &line[4..]),
            Some(b'-') => (false, &line[4..]),
            Some(_) => return Parsed::Nonsense,
        };
        if !lines.is_empty() {
            lines.push('\n');
        }
        lines.push_str(&String::from_utf8_lossy(text));
        if last {
            return Parsed::Whole(Reply { code, lines }, used);
        }
    }
}

fn code_of(line: &[u8]) -> Option<u16> {
    match line.get(..3)? {
        [class @ b'2'..=b'5', tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => {
            Some(u16::from(class - b'0') * 100 + u16::from(tens - b'0') * 10 + u16::from(ones - b'0'))
        }
        _ => None,
    }
}

/// `text` as one bounded line that names nobody: each word with an `@` in it, and each that holds
/// `private` (the recipient's local part), becomes `[address]`.
pub(super) fn cleaned(text: &str, private: &str) -> String {
    let private = private.as_bytes();
    // A local part of one or two letters is in half of all words, and tells nothing.
    let names_someone = |word: &str| {
        word.contains('@')
            || (private.len() > 2 && word.as_bytes().windows(private.len()).any(|w| w.eq_ignore_ascii_case(private)))
    };
    let mut line = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(if names_someone(word) { "[address]" } else { word });
    }
    if let Some((cut, _)) = line.char_indices().nth(MAX_TEXT_CHARS) {
        line.truncate(cut);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_read_one_after_the_other() {
        let bytes = b"250-first\r\n250-second\r\n250 last\r\n354 go\r\n25";
        let Parsed::Whole(reply, used) = parse(bytes) else { panic!("whole") };
        assert_eq!((reply.code, reply.lines.as_str()), (250, "first\nsecond\nlast"));
        let Parsed::Whole(reply, more) = parse(&bytes[used..]) else { panic!("whole") };
        assert_eq!((reply.code, reply.lines.as_str()), (354, "go"));
        assert!(matches!(parse(&bytes[used + more..]), Parsed::Partial));
    }

    #[test]
    fn short_and_odd_replies() {
        assert!(matches!(parse(b"250\r\n"), Parsed::Whole(Reply { code: 250, .. }, 5)));
        assert!(matches!(parse(b"250\n"), Parsed::Whole(Reply { code: 250, .. }, 4)));
        for nonsense in
            [&b"HTTP/1.1 400\r\n"[..], b"250-a\r\n251 b\r\n", b"25\r\n", b"250_a\r\n", b"650 a\r\n", b"\r\n"]
        {
            assert!(matches!(parse(nonsense), Parsed::Nonsense), "{nonsense:?}");
        }
        assert!(matches!(parse(&vec![b'2'; MAX_REPLY + 1]), Parsed::Nonsense));
    }

    #[test]
    fn kept_text_is_one_bounded_line_without_addresses() {
        let reply =
            Reply { code: 550, lines: "5.1.1 <jana.probe@example.org>:\nno\u{7} user Jana.Probe, sorry".to_owned() };
        assert_eq!(reply.text("jana.probe"), "5.1.1 [address] no user [address] sorry");
        assert_eq!(reply.first_line("jana.probe"), "5.1.1 [address]");
        assert_eq!(cleaned(&"x ".repeat(500), "").chars().count(), 200);
        assert_eq!(cleaned("a user a", "a"), "a user a");
    }
}
