//! Text as XML and spreadsheets can hold it.

use std::fmt::Write;

/// Writes a text into XML. Characters that XML has no form for are written as spreadsheets do it, `_x0001_`; a text that looks
/// like that already gets its `_` written so too.
pub(super) fn push_escaped(xml: &mut String, text: &str) {
    let plain = |byte: u8| byte >= b' ' && !matches!(byte, b'<' | b'>' | b'&' | b'_' | 0xef);
    if text.bytes().all(plain) {
        xml.push_str(text);
        return;
    }
    for (at, letter) in text.char_indices() {
        match letter {
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '&' => xml.push_str("&amp;"),
            '_' if is_escape(&text.as_bytes()[at..]) => xml.push_str("_x005F_"),
            '\t' | '\n' => xml.push(letter),
            '\0'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => {
                let _ok = write!(xml, "_x{:04X}_", u32::from(letter));
            }
            _ => xml.push(letter),
        }
    }
}

fn is_escape(text: &[u8]) -> bool {
    text.len() >= 7 && text[1] == b'x' && text[6] == b'_' && text[2..6].iter().all(u8::is_ascii_hexdigit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_xml_has_no_form_for_is_written_as_spreadsheets_do() {
        for (text, expected) in [
            ("Ann", "Ann"),
            ("<a & b>", "&lt;a &amp; b&gt;"),
            ("a\tb\nc\rd\u{1}", "a\tb\nc_x000D_d_x0001_"),
            ("_x0041_ _x004_ _", "_x005F_x0041_ _x004_ _"),
            ("\u{ffff}\u{feff}＝", "_xFFFF_\u{feff}＝"),
            ("_é0041_", "_é0041_"),
        ] {
            let mut xml = String::new();
            push_escaped(&mut xml, text);
            assert_eq!(xml, expected);
        }
    }
}
