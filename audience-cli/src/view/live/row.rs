//! A row of the block: pieces of text, each with a tone, cut to the width of the terminal.

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use crate::view::style::{Style, Tone};

/// Stands in the last column of a row that was cut.
const CUT: char = '…';

/// A row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Row {
    pieces: Vec<(String, Tone)>,
}

impl Row {
    /// A row of plain text.
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self::default().say(text)
    }

    /// Goes on in plain text.
    pub(super) fn say(self, text: impl Into<String>) -> Self {
        self.tell(text, Tone::Plain)
    }

    /// Goes on in a tone.
    pub(super) fn tell(mut self, text: impl Into<String>, tone: impl Into<Tone>) -> Self {
        self.pieces.push((text.into(), tone.into()));
        self
    }

    /// Goes on with another row.
    pub(super) fn then(mut self, other: Row) -> Self {
        self.pieces.extend(other.pieces);
        self
    }

    /// Goes on with text at the right edge, if there is room for it and two blanks.
    pub(super) fn at_right(self, text: &str, width: usize) -> Self {
        let taken = self.width() + text.width();
        if taken + 2 > width { self } else { self.say(" ".repeat(width - taken)).say(text) }
    }

    /// How many columns it takes.
    pub(super) fn width(&self) -> usize {
        self.pieces.iter().map(|(text, _)| text.width()).sum()
    }

    /// Returns the row, cut to the width, with the colours of the style; and how many columns it
    /// takes.
    pub(crate) fn render(&self, width: usize, style: Style) -> (String, usize) {
        let is_cut = self.width() > width;
        let room = if is_cut { width.saturating_sub(1) } else { width };
        let (mut line, mut taken) = (String::new(), 0);
        for (text, tone) in &self.pieces {
            let mut kept = String::new();
            for character in text.chars() {
                let columns = character.width().unwrap_or(0);
                if taken + columns > room {
                    break;
                }
                taken += columns;
                kept.push(character);
            }
            let is_whole = kept.len() == text.len();
            line.push_str(&style.tone(&kept, *tone).to_string());
            if !is_whole {
                break;
            }
        }
        if is_cut && width > 0 {
            line.push(CUT);
            taken += 1;
        }
        (line, taken)
    }
}

/// Breaks text between words into lines of at most `width` columns, `most` of them; the last one
/// holds the rest.
pub(super) fn wrapped(text: &str, width: usize, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = vec![String::new()];
    for word in text.split(' ') {
        let count = lines.len();
        let Some(line) = lines.last_mut() else { break };
        let blank = usize::from(!line.is_empty());
        if count == most || line.is_empty() || line.width() + blank + word.width() <= width {
            if blank == 1 {
                line.push(' ');
            }
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_cut_by_columns_and_not_by_bytes() {
        let row = Row::plain("ab").tell("日本", Tone::Bad).say("c");
        let cut = |width| row.render(width, Style::default());
        assert_eq!(cut(7), ("ab日本c".to_owned(), 7));
        assert_eq!(cut(6), ("ab日…".to_owned(), 5));
        assert_eq!(cut(4), ("ab…".to_owned(), 3));
        assert_eq!(cut(1), ("…".to_owned(), 1));
        let bright = Style { colour: true, terminal: true };
        assert_eq!(row.render(6, bright).0, "ab\u{1b}[31m日\u{1b}[0m…");
    }

    #[test]
    fn text_breaks_between_words() {
        assert_eq!(wrapped("a bb ccc dddd", 4, 9), ["a bb", "ccc", "dddd"]);
        assert_eq!(wrapped("a bb ccc dddd", 4, 2), ["a bb", "ccc dddd"]);
        assert_eq!(wrapped("", 4, 2), [""]);
    }
}
