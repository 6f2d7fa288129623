//! A mail as bytes: one recipient, text part first, then HTML, 7-bit, CRLF.

use std::fmt;
use std::io::Write as _;
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use lettre::message::header::{
    ContentTransferEncoding, Date, From, Headers, MessageId as MessageIdHeader, ReplyTo, Subject, To,
};
use lettre::message::{Body, Mailbox, Mailboxes};
use memchr::{memchr_iter, memchr2};

use super::address::{DisplayName, EmailAddress, MessageId};
use super::calendar::CalendarPart;
use super::smtp::Envelope;
use super::template::Rendered;

/// Longest line of a message, without its line break (RFC 5322 2.1.1), in octets.
const MAX_LINE: usize = 998;
/// The headers that every mail has alike. Nobody's holiday reply shall answer it (RFC 3834; the
/// second is Exchange's).
const FIXED: &str = "Auto-Submitted: auto-generated\r\nX-Auto-Response-Suppress: All\r\nMIME-Version: 1.0\r\n";

/// A mail ready to be built. No `Debug`: it holds personal data.
#[derive(Clone)]
pub struct OutgoingMail {
    /// The address in `From`.
    pub from: EmailAddress,
    /// The name beside it; may be empty.
    pub from_name: DisplayName,
    /// The one recipient.
    pub to: EmailAddress,
    /// Where answers go, if not to `from`.
    pub reply_to: Option<EmailAddress>,
    /// The same at every try.
    pub message_id: MessageId,
    /// When this try was rendered.
    pub date: DateTime<Utc>,
    /// Subject and both parts.
    pub rendered: Rendered,
    /// The envelope sender, to which bounces go.
    pub return_path: EmailAddress,
}

impl OutgoingMail {
    /// The message as it goes out, headers and body, without dot-stuffing. The same value always
    /// gives the same bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Rendered { text, html, calendar, .. } = &self.rendered;
        // Room for CRLFs and for some quoted-printable; a text in another script takes more.
        let content = text.len() + html.len();
        let mut bytes = Vec::with_capacity(1536 + content + content / 16);
        // A boundary that no line of 7-bit or quoted-printable text can be: "=_" is neither.
        let boundary = format!("=_{}", self.message_id.local_part());
        put(&mut bytes, format_args!("{}{FIXED}", self.headers()));
        // With an invitation: the same alternatives and the calendar among them, then the file that it is as well.
        let outer = format!("=_f{}", self.message_id.local_part());
        if calendar.is_some() {
            put(
                &mut bytes,
                format_args!("Content-Type: multipart/mixed;\r\n boundary=\"{outer}\"\r\n\r\n--{outer}\r\n"),
            );
        }
        put(&mut bytes, format_args!("Content-Type: multipart/alternative;\r\n boundary=\"{boundary}\"\r\n\r\n"));
        put_part(&mut bytes, &boundary, "plain", text);
        put_part(&mut bytes, &boundary, "html", html);
        if let Some(CalendarPart { method, text }) = calendar {
            let method = method.as_str();
            let kind = format!("text/calendar; method={method}; charset=UTF-8;\r\n component=VEVENT");
            put_base64(&mut bytes, &boundary, &kind, "", text);
            put(&mut bytes, format_args!("--{boundary}--\r\n"));
            let file = "Content-Disposition: attachment; filename=\"invite.ics\"\r\n";
            put_base64(&mut bytes, &outer, "application/ics; name=\"invite.ics\"", file, text);
            put(&mut bytes, format_args!("--{outer}--\r\n"));
        } else {
            put(&mut bytes, format_args!("--{boundary}--\r\n"));
        }
        bytes
    }

    /// The headers that differ between mails. They are lettre's, which encodes and folds them: no
    /// name or subject gets out of its header. (Its `Message` would read them again, at the cost
    /// of all the rest.)
    fn headers(&self) -> Headers {
        let mailbox =
            |name: Option<String>, address: &EmailAddress| Mailboxes::from(Mailbox::new(name, address.for_header()));
        let from_name = self.from_name.as_str();
        let from_name = (!from_name.is_empty()).then(|| from_name.to_owned());
        let mut headers = Headers::with_capacity(6);
        headers.set(From::from(mailbox(from_name, &self.from)));
        headers.set(To::from(mailbox(None, &self.to)));
        if let Some(reply_to) = &self.reply_to {
            headers.set(ReplyTo::from(mailbox(None, reply_to)));
        }
        headers.set(Subject::from(self.rendered.subject.clone()));
        headers.set(Date::new(SystemTime::from(self.date)));
        headers.set(MessageIdHeader::from(self.message_id.as_str().to_owned()));
        headers
    }

    /// The envelope: from the return path to the one recipient, bounces tracked by the message id.
    #[must_use]
    pub fn envelope(&self) -> Envelope {
        Envelope::new(self.return_path.clone(), self.to.clone()).tracked_by(&self.message_id)
    }
}

fn put(to: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    to.write_fmt(text).expect("a Vec takes everything");
}

/// ASCII text in lines that are short enough goes as it is; for anything else lettre chooses
/// between quoted-printable and base64.
fn put_part(to: &mut Vec<u8>, boundary: &str, subtype: &str, content: &str) {
    let mut head = |encoding: ContentTransferEncoding| {
        put(
            to,
            format_args!(
                "--{boundary}\r\nContent-Type: text/{subtype}; charset=utf-8\r\n\
                 Content-Transfer-Encoding: {encoding}\r\n\r\n"
            ),
        );
    };
    if is_plain(content.as_bytes()) {
        head(ContentTransferEncoding::SevenBit);
        put_with_crlf(to, content.as_bytes());
    } else {
        let body = Body::new(content.to_owned());
        head(body.encoding());
        to.extend_from_slice(&body.into_vec());
    }
    to.extend_from_slice(b"\r\n");
}

/// Base64 keeps every octet as it is, the line breaks of a calendar among them.
fn put_base64(to: &mut Vec<u8>, boundary: &str, kind: &str, more: &str, content: &str) {
    put(to, format_args!("--{boundary}\r\nContent-Type: {kind}\r\nContent-Transfer-Encoding: base64\r\n{more}\r\n"));
    let encoded = STANDARD.encode(content);
    for line in encoded.as_bytes().chunks(76) {
        to.extend_from_slice(line);
        to.extend_from_slice(b"\r\n");
    }
}

/// Whether it is ASCII in lines that are short enough, each but the last with LF at its end.
fn is_plain(content: &[u8]) -> bool {
    let mut start = 0;
    let mut line_fits = |end: usize| end - std::mem::replace(&mut start, end + 1) <= MAX_LINE;
    content.is_ascii()
        && memchr2(b'\0', b'\r', content).is_none()
        && memchr_iter(b'\n', content).all(&mut line_fits)
        && line_fits(content.len())
}

/// Each LF becomes CRLF.
fn put_with_crlf(to: &mut Vec<u8>, content: &[u8]) {
    let mut start = 0;
    for end in memchr_iter(b'\n', content) {
        to.extend_from_slice(&content[start..end]);
        to.extend_from_slice(b"\r\n");
        start = end + 1;
    }
    to.extend_from_slice(&content[start..]);
}

#[cfg(test)]
mod tests {
    use lettre::message::header::{ContentType, HeaderName, HeaderValue};
    use lettre::message::{Message, MultiPart, SinglePart};
    use mail_parser::{Addr, Message as Parsed, MessageParser, MimeHeaders};
    use uuid::Uuid;

    use super::*;

    fn mail(from_name: &str, subject: &str, text: &str, html: &str) -> OutgoingMail {
        let address = |text: &str| EmailAddress::parse(text).expect("address");
        OutgoingMail {
            from: address("reminders@example.org"),
            from_name: DisplayName::new(from_name),
            to: address("jana.probe@example.org"),
            reply_to: None,
            message_id: MessageId::derive(Uuid::from_u128(7), "example.org"),
            date: "2026-11-23T07:00:00Z".parse().expect("instant"),
            rendered: Rendered {
                subject: subject.to_owned(),
                text: text.to_owned(),
                html: html.to_owned(),
                calendar: None,
            },
            return_path: address("bounce@example.org"),
        }
    }

    fn parsed(bytes: &[u8]) -> Parsed<'_> {
        MessageParser::default().parse(bytes).expect("a message")
    }

    fn assert_fit_for_the_wire(bytes: &[u8]) {
        assert!(bytes.is_ascii());
        let text = String::from_utf8(bytes.to_vec()).expect("ascii");
        assert!(text.ends_with("\r\n"));
        for line in text.split("\r\n") {
            assert!(line.len() <= MAX_LINE, "line of {} octets", line.len());
            assert!(!line.contains(['\r', '\n', '\0']), "{line:?}");
        }
    }

    #[test]
    fn message_has_its_headers_once_and_text_before_html() {
        let mut mail = mail("Example Clinic", "A subject", "The text\n.\nlast", "<p>The page</p>\n");
        mail.reply_to = Some(EmailAddress::parse("desk@example.org").expect("address"));
        let bytes = mail.to_bytes();
        assert_eq!(bytes, mail.to_bytes(), "the same bytes at every try");
        assert_fit_for_the_wire(&bytes);
        let message = parsed(&bytes);
        let only = |name: &str| {
            assert_eq!(message.headers().iter().filter(|h| h.name() == name).count(), 1, "{name}");
            message.header_raw(name).expect("present").trim().to_owned()
        };
        assert_eq!(only("Message-ID"), mail.message_id.as_str());
        assert_eq!(only("Auto-Submitted"), "auto-generated");
        assert_eq!(only("X-Auto-Response-Suppress"), "All");
        assert_eq!(only("Subject"), "A subject");
        assert_eq!(only("To"), "jana.probe@example.org");
        assert_eq!(only("Reply-To"), "desk@example.org");
        assert_eq!(only("MIME-Version"), "1.0");
        assert_eq!(only("Date"), "Mon, 23 Nov 2026 07:00:00 +0000");
        let from = message.from().and_then(|from| from.first()).expect("From");
        assert_eq!(from, &Addr::new(Some("Example Clinic"), "reminders@example.org"));
        assert!(message.cc().is_none() && message.bcc().is_none());
        let kinds: Vec<_> = message.parts[1..]
            .iter()
            .map(|part| part.content_type().expect("typed").subtype().expect("subtype").to_owned())
            .collect();
        assert_eq!(kinds, ["plain", "html"]);
        assert_eq!(message.body_text(0).expect("text").replace("\r\n", "\n").trim_end(), "The text\n.\nlast");
        assert_eq!(message.body_html(0).expect("html").trim_end(), "<p>The page</p>");
    }

    #[test]
    fn names_and_subjects_cannot_add_headers() {
        let attacks = [
            "x\r\nBcc: other@example.org",
            "x\nBcc: other@example.org\n\nbody",
            "x\rBcc: other@example.org",
            "\" <other@example.org>, \"y",
            "=?utf-8?q?x=0D=0ABcc:_other@example.org?=",
            "x\u{85}Bcc: other@example.org\u{2028}y",
        ];
        for attack in attacks {
            // The subject raw: whoever builds a mail without the templates is safe too.
            let bytes = mail(attack, attack, "t", "h").to_bytes();
            assert_fit_for_the_wire(&bytes);
            let message = parsed(&bytes);
            assert!(message.bcc().is_none(), "{attack:?}");
            let to: Vec<_> =
                message.to().expect("To").iter().map(|a| a.address().unwrap_or_default().to_owned()).collect();
            assert_eq!(to, ["jana.probe@example.org"], "{attack:?}");
            let from: Vec<_> =
                message.from().expect("From").iter().map(|a| a.address().unwrap_or_default().to_owned()).collect();
            assert_eq!(from, ["reminders@example.org"], "{attack:?}");
            assert_eq!(message.headers().len(), 9, "{attack:?}");
        }
    }

    #[test]
    fn any_script_and_any_length_survive() {
        let name = "Praxis Dr. Müller 🏥 مرحبا";
        let subject = format!("Erinnerung für {} 🕗", "ä".repeat(150));
        let text = format!("Grüße {}\nEnde", "lang ".repeat(400));
        let html = format!("<p>{}</p>", "x".repeat(3000));
        let short = "Grüße\n";
        let bytes = mail(name, &subject, &text, &html).to_bytes();
        assert_fit_for_the_wire(&bytes);
        let message = parsed(&bytes);
        assert_eq!(message.from().and_then(|f| f.first()).and_then(|a| a.name()), Some(name));
        assert_eq!(message.subject(), Some(subject.as_str()));
        assert_eq!(message.body_text(0).expect("text").replace("\r\n", "\n").trim_end(), text);
        assert_eq!(message.body_html(0).expect("html").trim_end(), html);
        let bytes = mail(name, &subject, short, short).to_bytes();
        assert_fit_for_the_wire(&bytes);
        assert_eq!(parsed(&bytes).body_text(0).expect("text").trim_end(), "Grüße");
    }

    /// The same mail as lettre's own `Message` builds it.
    fn by_lettre(mail: &OutgoingMail) -> Vec<u8> {
        let name = Some(mail.from_name.as_str().to_owned()).filter(|name| !name.is_empty());
        let fixed = |name, value: &str| HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned());
        let part = |kind: ContentType, content: &str| {
            let content = match is_plain(content.as_bytes()) {
                true => Body::dangerous_pre_encoded(
                    content.replace('\n', "\r\n").into_bytes(),
                    ContentTransferEncoding::SevenBit,
                ),
                false => Body::new(content.to_owned()),
            };
            SinglePart::builder().content_type(kind).body(content)
        };
        let mut builder = Message::builder()
            .from(Mailbox::new(name, mail.from.for_header()))
            .to(Mailbox::new(None, mail.to.for_header()));
        if let Some(reply_to) = &mail.reply_to {
            builder = builder.reply_to(Mailbox::new(None, reply_to.for_header()));
        }
        let parts = MultiPart::alternative()
            .boundary(format!("=_{}", mail.message_id.local_part()))
            .singlepart(part(ContentType::TEXT_PLAIN, &mail.rendered.text))
            .singlepart(part(ContentType::TEXT_HTML, &mail.rendered.html));
        builder
            .subject(mail.rendered.subject.as_str())
            .date(SystemTime::from(mail.date))
            .message_id(Some(mail.message_id.as_str().to_owned()))
            .raw_header(fixed("Auto-Submitted", "auto-generated"))
            .raw_header(fixed("X-Auto-Response-Suppress", "All"))
            .multipart(parts)
            .expect("a message")
            .formatted()
    }

    #[test]
    fn bytes_are_those_of_lettre() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ascii");
        let contents = ["", "\n", "a", "a\n.\n\nb\n", "Grüße\n", "a\r\nb", "a\0b", &"x".repeat(999), &"y".repeat(998)];
        for (i, content) in contents.into_iter().enumerate() {
            for (name, subject) in
                [("", "A subject"), ("Example Clinic", ""), ("Praxis \"Müller\" 🏥", "Erinnerung für alle")]
            {
                let mut mail = mail(name, subject, content, contents[contents.len() - 1 - i]);
                assert_eq!(text(mail.to_bytes()), text(by_lettre(&mail)), "{content:?}");
                mail.reply_to = Some(EmailAddress::parse("desk@example.org").expect("address"));
                assert_eq!(text(mail.to_bytes()), text(by_lettre(&mail)), "{content:?}");
            }
        }
    }

    #[test]
    fn plain_is_short_ascii_lines() {
        let line = "x".repeat(998);
        for plain in ["", "\n", "a\n\nb", &line, &format!("{line}\n{line}\n")] {
            assert!(is_plain(plain.as_bytes()), "{plain:?}");
        }
        for other in
            ["ä", "a\0", "a\r\n", "a\rb", &format!("{line}x"), &format!("{line}x\n"), &format!("a\n{line}x\nb")]
        {
            assert!(!is_plain(other.as_bytes()), "{other:?}");
        }
    }

    #[test]
    fn envelope_is_the_return_path_and_the_one_recipient() {
        let mail = mail("", "s", "t", "h");
        let expected = Envelope::new(mail.return_path.clone(), mail.to.clone()).tracked_by(&mail.message_id);
        assert_eq!(mail.envelope(), expected);
        let bytes = mail.to_bytes();
        assert_eq!(parsed(&bytes).header_raw("From").map(str::trim), Some("reminders@example.org"));
    }
}
