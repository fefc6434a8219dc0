//! Where in an expression something is wrong, as people find it again.

use std::fmt;

/// A place in an expression: the line that it is on, and the character of that line.
///
/// What is quoted is what the character is counted in, so that the two fit; of a long line, what
/// lies around the character.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceInText {
    quoted: String,
    /// From 1; `None` where the expression has one line.
    line: Option<usize>,
    /// From 1.
    character: usize,
}

impl PlaceInText {
    /// The place of byte `at` of `whole`; where that is its end, of what comes last.
    pub(super) fn new(whole: &str, at: usize) -> Self {
        let mut at = at.min(whole.len());
        while !whole.is_char_boundary(at) {
            at -= 1;
        }
        let (before, after) = whole.split_at(at);
        let start = before.rfind('\n').map_or(0, |end| end + 1);
        let end = after.find('\n').map_or(whole.len(), |length| at + length);
        let line = whole[start..end].trim_end();
        let number = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let has_lines = whole.trim_end().contains('\n');
        let character = whole[start..at].chars().count() + 1;
        Self { quoted: around(line, character), line: has_lines.then_some(number), character }
    }
}

/// The part of a line around a character, as long as a message can bear.
fn around(line: &str, character: usize) -> String {
    const SHOWN: usize = 80;
    const BEFORE: usize = 30;
    if line.chars().nth(SHOWN).is_none() {
        return line.to_owned();
    }
    let start = character.saturating_sub(BEFORE + 1);
    let (head, shown) = match start {
        0 => ("", SHOWN),
        _ => ("…", SHOWN),
    };
    let part: String = line.chars().skip(start).take(shown).collect();
    let tail = if line.chars().nth(start + shown).is_some() { "…" } else { "" };
    format!("{head}{part}{tail}")
}

impl fmt::Display for PlaceInText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "host set {:?}, ", self.quoted)?;
        if let Some(line) = self.line {
            write!(f, "line {line}, ")?;
        }
        write!(f, "character {}", self.character)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(whole: &str, at: usize) -> String {
        PlaceInText::new(whole, at).to_string()
    }

    #[test]
    fn what_is_quoted_is_what_is_counted() {
        assert_eq!(told("db1,fe[6-1]", 7), "host set \"db1,fe[6-1]\", character 8");
        assert_eq!(told("é,b", 3), "host set \"é,b\", character 3");
        assert_eq!(told("é,b", 1), "host set \"é,b\", character 1", "within a character");
        assert_eq!(told("a\nb[\n", 3), "host set \"b[\", line 2, character 2");
        assert_eq!(told("a\r\nb\r\n", 0), "host set \"a\", line 1, character 1");
        assert_eq!(told("a\n", 1), "host set \"a\", character 2");
    }

    #[test]
    fn of_a_long_line_what_lies_around_is_quoted() {
        let names: Vec<String> = (1000..1100).map(|n| n.to_string()).collect();
        let line = names.join(",");
        let quoted = told(&line, 250);
        assert!(quoted.starts_with("host set \"…") && quoted.contains("1050,1051"), "{quoted}");
        assert!(quoted.ends_with("…\", character 251"), "{quoted}");
        assert!(told(&line, 0).starts_with("host set \"1000,1001"));
        assert!(told(&line, line.len()).ends_with("1099\", character 500"));
        assert!(told(&"é".repeat(1 << 20), 1 << 20).len() < 300);
    }
}
