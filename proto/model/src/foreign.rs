//! Text that somebody else wrote, made fit to be read.
//!
//! What scores write, and the reasons, descriptions and names that others give, may hold characters
//! that a person cannot see and that a terminal obeys: they clear the screen, change its title, turn
//! what follows around, or hide it. Such characters are written out, `\u{9b}`; bytes that are no
//! UTF-8 as `\x9b`. All that shows foreign text, on a terminal or in a log, does it through this
//! module, so there is one answer to what is safe.
//!
//! What is stored, sent, and given to programs stays as it was written.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

/// What is written out, beyond the control characters: from, to, in order.
///
/// All of Unicode's category Cf (format), Zl and Zp (separators of lines and paragraphs), and what
/// is invisible by definition (Default_Ignorable_Code_Point) with the whole block of tags; and what is
/// no character at all. The two
/// selectors that choose between a sign and its picture (U+FE0E, U+FE0F) can hide nothing, and many
/// tools write them.
const UNSEEN: [(u32, u32); 27] = [
    (0xad, 0xad),
    (0x34f, 0x34f),
    (0x600, 0x605),
    (0x61c, 0x61c),
    (0x6dd, 0x6dd),
    (0x70f, 0x70f),
    (0x890, 0x891),
    (0x8e2, 0x8e2),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x2028, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfdd0, 0xfdef),
    (0xfe00, 0xfe0d),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0xfffe, 0xffff),
    (0x110bd, 0x110bd),
    (0x110cd, 0x110cd),
    (0x13430, 0x1343f),
    (0x1bca0, 0x1bca3),
    (0x1d173, 0x1d17a),
    (0xe0000, 0xe0fff),
];

/// Whether a character is what it looks like: neither a control character nor one that cannot be
/// seen.
pub fn is_plain(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    let code = u32::from(c);
    !c.is_control() && !UNSEEN.iter().any(|(from, to)| (*from..=*to).contains(&code))
}

/// Shows text as one line: line ends are written out too, and a tab is a blank.
#[derive(Clone, Copy, Debug)]
pub struct OneLine<'a>(pub &'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\t' => f.write_char(' '),
            c if is_plain(c) => f.write_char(c),
            c => c.escape_default().try_for_each(|c| f.write_char(c)),
        })
    }
}

/// Shows bytes as lines: line ends and tabs stay.
pub fn lines(bytes: &[u8]) -> Cow<'_, [u8]> {
    written_out(bytes, &escaped)
}

/// Shows a JSON text: what is written out is so as JSON does it, so that it reads as before.
pub fn json(bytes: &[u8]) -> Cow<'_, [u8]> {
    let escape = |c: char, shown: &mut String| {
        for unit in c.encode_utf16(&mut [0; 2]) {
            let _ = write!(shown, "\\u{unit:04x}");
        }
    };
    written_out(bytes, &escape)
}

fn escaped(c: char, shown: &mut String) {
    shown.extend(c.escape_default());
}

fn written_out<'a>(bytes: &'a [u8], escape: &dyn Fn(char, &mut String)) -> Cow<'a, [u8]> {
    let stays = |c: char| matches!(c, '\n' | '\t') || is_plain(c);
    let is_fine = match std::str::from_utf8(bytes) {
        // Most text is ASCII, and quickly seen to be harmless.
        Ok(text) if text.is_ascii() => text.bytes().all(|byte| stays(char::from(byte))),
        Ok(text) => text.chars().all(stays),
        Err(_) => false,
    };
    if is_fine {
        return Cow::Borrowed(bytes);
    }
    let mut shown = String::with_capacity(bytes.len() + 16);
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match stays(c) {
                true => shown.push(c),
                false => escape(c, &mut shown),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    Cow::Owned(shown.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Unicode 16, DerivedGeneralCategory: Cf.
    const FORMAT: [(u32, u32); 21] = [
        (0xad, 0xad),
        (0x600, 0x605),
        (0x61c, 0x61c),
        (0x6dd, 0x6dd),
        (0x70f, 0x70f),
        (0x890, 0x891),
        (0x8e2, 0x8e2),
        (0x180e, 0x180e),
        (0x200b, 0x200f),
        (0x202a, 0x202e),
        (0x2060, 0x2064),
        (0x2066, 0x206f),
        (0xfeff, 0xfeff),
        (0xfff9, 0xfffb),
        (0x110bd, 0x110bd),
        (0x110cd, 0x110cd),
        (0x13430, 0x1343f),
        (0x1bca0, 0x1bca3),
        (0x1d173, 0x1d17a),
        (0xe0001, 0xe0001),
        (0xe0020, 0xe007f),
    ];

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8(lines(bytes).into_owned()).unwrap()
    }

    #[test]
    fn no_control_or_format_character_passes() {
        let format = FORMAT.iter().flat_map(|(from, to)| *from..=*to);
        let control = (0..0x20).chain(0x7f..0xa0);
        let separators = [0x2028, 0x2029];
        for code in control.chain(format).chain(separators) {
            let c = char::from_u32(code).unwrap();
            let text = format!("a{c}b");
            let written = format!("a{}b", c.escape_default());
            if c != '\n' && c != '\t' {
                assert!(!is_plain(c), "{code:x}");
                assert_eq!(shown(text.as_bytes()), written);
            }
            let line = OneLine(&text).to_string();
            assert_eq!(line, if c == '\t' { "a b".to_owned() } else { written });
            assert!(shown_json(&text).chars().all(|c| is_plain(c) || matches!(c, '\n' | '\t')));
        }
    }

    fn shown_json(text: &str) -> String {
        String::from_utf8(json(text.as_bytes()).into_owned()).unwrap()
    }

    #[test]
    fn every_control_character_that_rust_knows_is_written_out() {
        for c in (0..=0x10_ffff).filter_map(char::from_u32).filter(|c| c.is_control()) {
            assert!(!is_plain(c), "{:x}", u32::from(c));
        }
    }

    #[test]
    fn bytes_that_are_no_utf_8_are_written_out() {
        for byte in 0x80..=0xff_u8 {
            assert_eq!(shown(&[b'a', byte, b'b']), format!("a\\x{byte:02x}b"));
        }
        assert_eq!(shown("ä\u{9b}".as_bytes()), "ä\\u{9b}");
        assert_eq!(shown(b"\xe2\x80"), "\\xe2\\x80");
    }

    #[test]
    fn honest_text_is_not_touched() {
        let honest = "plain, ä, 中文, עברית, עִבְרִית, 👍🏽, ⚠\u{fe0f}, ▁▂▃, \u{e0b0}\n\tindented\n";
        assert!(matches!(lines(honest.as_bytes()), Cow::Borrowed(_)));
        assert!(matches!(json(honest.as_bytes()), Cow::Borrowed(_)));
    }

    #[test]
    fn what_is_invisible_is_seen() {
        for c in ['\u{3164}', '\u{34f}', '\u{e0100}', '\u{e0041}', '\u{fe00}', '\u{ffff}'] {
            assert!(!is_plain(c), "{:x}", u32::from(c));
        }
        assert!(UNSEEN.is_sorted_by(|(_, to), (from, _)| to < from));
    }

    #[test]
    fn json_reads_as_before() {
        assert_eq!(shown_json("\"a\u{202e}b\""), "\"a\\u202eb\"");
        assert_eq!(shown_json("\"\u{e0041}\u{7f}\u{9b}\""), "\"\\udb40\\udc41\\u007f\\u009b\"");
    }
}
