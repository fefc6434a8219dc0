//! The foot of a terminal, where a block of lines is drawn anew again and again.
//!
//! Below the block stands the cursor, at the start of a line. To draw anew it goes up over what was
//! drawn last, and each line replaces one. A terminal that has become narrower since has broken those
//! lines: how many rows they take now follows from their widths. The terminal is asked to show nothing
//! before all of it is there, so that nothing flickers; one that does not know that ignores it.

use std::io;

use crossterm::{
    cursor::{MoveToColumn, MoveUp},
    queue,
    terminal::{BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate},
};

/// What was drawn last.
#[derive(Debug, Default)]
pub(crate) struct Area {
    /// How many columns each line takes.
    drawn: Vec<usize>,
    /// How many columns the terminal had.
    width: usize,
}

impl Area {
    /// Returns what a terminal of this width must be sent to show these lines, each with the number of
    /// its columns, instead of those that it shows. Lines must fit into the width.
    pub(crate) fn redraw(
        &mut self,
        lines: &[(Vec<u8>, usize)],
        width: usize,
    ) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        queue!(bytes, BeginSynchronizedUpdate, MoveToColumn(0))?;
        let rows = self.rows(width);
        if rows > 0 {
            queue!(bytes, MoveUp(rows))?;
        }
        if width != self.width {
            queue!(bytes, Clear(ClearType::FromCursorDown))?;
        }
        for (line, _) in lines {
            // Not afterwards: behind a line that is as wide as the terminal the cursor stands on its
            // last character.
            queue!(bytes, Clear(ClearType::CurrentLine))?;
            bytes.extend_from_slice(line);
            bytes.push(b'\n');
        }
        queue!(bytes, Clear(ClearType::FromCursorDown), EndSynchronizedUpdate)?;
        self.drawn = lines.iter().map(|(_, columns)| *columns).collect();
        self.width = width;
        Ok(bytes)
    }

    /// Whether nothing is drawn.
    pub(crate) fn is_empty(&self) -> bool {
        self.drawn.is_empty()
    }

    /// How many rows of a terminal of this width are taken.
    fn rows(&self, width: usize) -> u16 {
        let rows = self.drawn.iter().map(|columns| columns.div_ceil(width.max(1)).max(1));
        u16::try_from(rows.sum::<usize>()).unwrap_or(u16::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Terminal {
        screen: vt100::Parser,
        area: Area,
    }

    impl Terminal {
        fn new(rows: u16, columns: u16) -> Self {
            Self { screen: vt100::Parser::new(rows, columns, 0), area: Area::default() }
        }

        fn draw(&mut self, lines: &[&str]) {
            let lines: Vec<_> =
                lines.iter().map(|line| (line.as_bytes().to_vec(), line.len())).collect();
            let (_, width) = self.screen.screen().size();
            let bytes = self.area.redraw(&lines, width.into()).unwrap();
            self.print(&bytes);
        }

        /// As the terminal's driver does, it makes a carriage return of each line end.
        fn print(&mut self, bytes: &[u8]) {
            let text = String::from_utf8(bytes.to_vec()).unwrap().replace('\n', "\r\n");
            self.screen.process(text.as_bytes());
        }

        fn shows(&self) -> Vec<String> {
            let contents = self.screen.screen().contents();
            contents.lines().map(|line| line.trim_end().to_owned()).collect()
        }
    }

    #[test]
    fn a_block_replaces_the_one_before_and_leaves_what_is_above() {
        let mut terminal = Terminal::new(6, 20);
        terminal.print(b"$ submitjob\n42\n");
        terminal.draw(&["42 running", "a longer line", "three"]);
        assert_eq!(terminal.shows(), ["$ submitjob", "42", "42 running", "a longer line", "three"]);
        // ^C of the terminal's own driver is cleared too.
        terminal.print(b"^C");
        terminal.draw(&["42 running", "short"]);
        assert_eq!(terminal.shows(), ["$ submitjob", "42", "42 running", "short"]);
        terminal.draw(&[]);
        assert!(terminal.area.is_empty());
        terminal.print(b"42 ok\n");
        assert_eq!(terminal.shows(), ["$ submitjob", "42", "42 ok"]);
    }

    #[test]
    fn a_block_at_the_foot_scrolls_once() {
        let mut terminal = Terminal::new(4, 20);
        terminal.print(b"1\n2\n3\n");
        for _ in 0..5 {
            terminal.draw(&["a", "b", "c"]);
            assert_eq!(terminal.shows(), ["a", "b", "c"]);
        }
    }

    #[test]
    fn lines_that_a_narrower_terminal_has_broken_are_counted() {
        let mut area = Area::default();
        let lines = [(b"0123456789".to_vec(), 10), (b"ab".to_vec(), 2), (Vec::new(), 0)];
        area.redraw(&lines, 10).unwrap();
        assert_eq!(area.rows(10), 3);
        assert_eq!(area.rows(4), 5);
        let bytes = String::from_utf8(area.redraw(&[], 4).unwrap()).unwrap();
        assert!(bytes.contains("\u{1b}[5A\u{1b}[J"), "{bytes:?}");
    }
}
