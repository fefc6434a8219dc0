//! Standard output for answers, standard error for everything else.
//!
//! A reader that goes away (`getstatus --tasks | head`) is no failure: from then on answers go
//! nowhere, and code that writes much asks [`Answer::is_closed`] now and then.
//!
//! All output of these programs passes here. No character passes that a terminal obeys or a person
//! cannot see (see [`orchestra_model::foreign`]), even if a view forgot to check foreign text.
//! Exceptions are line ends, tabs, our own colours, and what moves a terminal's cursor and clears it
//! ([`Console::clear`], [`Console::draw`]). What scores wrote goes to files and pipes unchanged ([`Page::foreign`]),
//! because it may be data; a terminal is shown it with these characters spelled out.

mod answer;
mod area;

use std::{
    borrow::Cow,
    env,
    ffi::OsString,
    io::{self, BufWriter, IsTerminal as _, Seek as _, Write},
};

use orchestra_model::foreign;
use tempfile::SpooledTempFile;

pub(crate) use answer::Streamed;
pub(crate) use area::Area;

use crate::{
    error::Failure,
    view::{
        Page, Style, colour_at_start,
        live::{Frame, Glyphs, Row},
    },
};

/// When to colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Standard output and standard error. An answer reaches standard output in the form that `--json`
/// chose, and in no other way.
pub(crate) struct Console {
    screen: Screen,
    /// Whether answers are JSON.
    json: bool,
    /// Whether a person can be asked: standard input and standard error are a terminal.
    interactive: bool,
}

/// Both outputs, for answers that are text.
pub(crate) struct Screen {
    /// Standard output.
    pub(crate) out: Answer,
    /// How answers look.
    pub(crate) style: Style,
    /// How narration looks.
    narration: Style,
}

impl Console {
    /// Returns the console of this process.
    pub(crate) fn of_process(colour: Colour, json: bool) -> Self {
        let unwanted = is_colour_unwanted();
        let style = |terminal: bool| Style {
            colour: match colour {
                Colour::Auto => terminal && !unwanted,
                Colour::Always => true,
                Colour::Never => false,
            },
            terminal,
        };
        let narrating = io::stderr().is_terminal();
        let answering = style(io::stdout().is_terminal());
        let out = Answer::new(Box::new(io::stdout().lock()), answering);
        Self {
            screen: Screen { out, style: answering, narration: style(narrating) },
            json,
            interactive: narrating && io::stdin().is_terminal(),
        }
    }

    /// Whether answers are JSON, so that standard output holds one document and nothing else.
    pub(crate) fn answers_in_json(&self) -> bool {
        self.json
    }

    /// Whether whoever reads answers is gone, so that further ones are in vain.
    pub(crate) fn is_closed(&self) -> bool {
        self.screen.out.is_closed()
    }

    /// Whether answers go to a terminal that can be written anew.
    pub(crate) fn can_refresh(&self) -> bool {
        self.screen.style.terminal && !self.json && !is_dumb()
    }

    /// Clears the terminal, if answers go to one that [can be written anew](Self::can_refresh).
    pub(crate) fn clear(&mut self) -> Result<(), Failure> {
        self.screen.out.clear().map_err(unwritten)
    }

    /// Where narration can be drawn anew: `None` if it does not go to a terminal of known size. The
    /// last row is left to the cursor.
    pub(crate) fn frame(&self) -> Option<Frame> {
        if !self.screen.narration.terminal || is_dumb() {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
        let (width, height) = (usize::from(size.ws_col), usize::from(size.ws_row));
        let height = height.saturating_sub(1);
        let glyphs = if knows_blocks() { Glyphs::Blocks } else { Glyphs::Ascii };
        (width > 0 && height > 0).then_some(Frame { width, height, glyphs })
    }

    /// Draws rows on standard error in place of those that were drawn there last. It is no failure if
    /// nobody can see them.
    pub(crate) fn draw(&self, area: &mut Area, rows: &[Row], width: usize) {
        let style = self.screen.narration;
        let line = |row: &Row| {
            let (line, columns) = row.render(width, style);
            (safe(line.as_bytes(), style).into_owned(), columns)
        };
        let lines: Vec<_> = rows.iter().map(line).collect();
        if let Ok(bytes) = area.redraw(&lines, width) {
            let _ = io::stderr().lock().write_all(&bytes);
        }
    }

    /// Whether a person can be asked.
    pub(crate) fn is_interactive(&self) -> bool {
        self.interactive
    }

    /// How narration looks.
    pub(crate) fn narration(&self) -> Style {
        self.screen.narration
    }

    /// Tells a line on standard error.
    pub(crate) fn narrate(&self, line: impl std::fmt::Display) {
        self.screen.narrate(line);
    }

    /// Tells text on standard error whose line ends are in it.
    pub(crate) fn narrate_text(&self, text: &str) {
        tell(text, self.screen.narration);
    }
}

impl Screen {
    /// Tells a line on standard error.
    pub(crate) fn narrate(&self, line: impl std::fmt::Display) {
        tell(&format!("{line}\n"), self.narration);
    }

    /// Writes what a score wrote to standard error.
    pub(crate) fn narrate_foreign(&self, bytes: &[u8]) {
        let bytes = if self.narration.terminal { foreign::lines(bytes) } else { bytes.into() };
        let _ = io::stderr().lock().write_all(&bytes);
    }
}

/// Whether the terminal cannot be drawn on.
fn is_dumb() -> bool {
    env::var_os("TERM").is_none_or(|term| term.is_empty() || term == "dumb")
}

/// Whether the terminal shows more than ASCII, as the first of the variables says that is set.
fn knows_blocks() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(env::var_os);
    let locale = set.map(|value| value.to_string_lossy().to_uppercase()).find(|it| !it.is_empty());
    locale.is_some_and(|locale| locale.contains("UTF-8") || locale.contains("UTF8"))
}

/// Returns whether the environment asks for no colours. An empty variable counts as unset.
fn is_colour_unwanted() -> bool {
    let var = |name| env::var_os(name).filter(|value| !value.is_empty());
    knows_no_colour(var("NO_COLOR").as_ref(), var("TERM").as_ref())
}

/// Returns whether colours are not wanted, or the terminal would show their codes as text.
fn knows_no_colour(no_color: Option<&OsString>, term: Option<&OsString>) -> bool {
    no_color.is_some() || term.is_some_and(|term| term == "dumb")
}

/// Tells text on standard error. It is no failure if nobody can read it.
pub(crate) fn tell(text: &str, style: Style) {
    let _ = io::stderr().lock().write_all(&safe(text.as_bytes(), style));
}

/// Returns the text without anything that a terminal would obey, except our own colours.
fn safe(text: &[u8], style: Style) -> Cow<'_, [u8]> {
    if !style.colour || !text.contains(&b'\x1b') {
        return foreign::lines(text);
    }
    let mut safe = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(escape) = rest.iter().position(|byte| *byte == b'\x1b') {
        let (before, after) = rest.split_at(escape);
        safe.extend_from_slice(&foreign::lines(before));
        let ours = colour_at_start(after);
        let (here, later) = after.split_at(ours.unwrap_or(1));
        match ours {
            Some(_) => safe.extend_from_slice(here),
            None => safe.extend_from_slice(&foreign::lines(here)),
        }
        rest = later;
    }
    safe.extend_from_slice(&foreign::lines(rest));
    safe.into()
}

/// Tells a line on standard error.
pub(crate) fn narrate(line: impl std::fmt::Display) {
    tell(&format!("{line}\n"), Style::default());
}

/// Prints an answer that is whole, and has one form.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::broken("writing the answer to standard output").because(error))
        }
        _ => Ok(()),
    }
}

/// Buffered standard output that outlives its reader.
pub(crate) struct Answer {
    out: BufWriter<Box<dyn Write>>,
    style: Style,
    form: Form,
    /// Whether something was let out that a program reads as a whole: a document, or a line.
    has_told: bool,
    /// The beginning of a line.
    pending: Vec<u8>,
    closed: bool,
}

/// What an answer is.
enum Form {
    Text,
    /// Lines of JSON, each whole.
    Lines,
    /// A JSON document, which is let out as a whole or not at all: a program that reads half of one
    /// knows neither what was asked for nor why it is not there. It lies in memory while it is small,
    /// then in a file that has no name.
    Document(SpooledTempFile),
}

/// The largest document that lies in memory, in bytes.
const DOCUMENT: usize = 1 << 20;

/// Longest beginning of a line that is kept back until the rest of it comes.
const PENDING: usize = 64 << 10;

impl Answer {
    /// Returns an answer that goes to this writer.
    pub(crate) fn new(out: Box<dyn Write>, style: Style) -> Self {
        Self {
            out: BufWriter::with_capacity(64 << 10, out),
            style,
            form: Form::Text,
            has_told: false,
            pending: Vec::new(),
            closed: false,
        }
    }

    /// Whether the reader went away, so that further writing is in vain.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes what is buffered.
    pub(crate) fn finish(&mut self) -> Result<(), Failure> {
        self.flush().map_err(unwritten)
    }

    /// Writes the first pending bytes in a form that may be seen.
    fn let_out(&mut self, count: usize) -> io::Result<()> {
        let later = self.pending.split_off(count);
        let now = std::mem::replace(&mut self.pending, later);
        let safe = match self.form {
            Form::Text => safe(&now, self.style),
            Form::Lines | Form::Document(_) => foreign::json(&now),
        };
        if let Form::Document(document) = &mut self.form {
            return document.write_all(&safe);
        }
        let written = self.out.write_all(&safe);
        self.unless_closed(written)
    }

    /// Begins a document.
    fn begin_document(&mut self) {
        self.form = Form::Document(SpooledTempFile::new(DOCUMENT));
    }

    /// Lets out the document, which is whole now.
    fn end_document(&mut self) -> io::Result<()> {
        self.let_out(self.pending.len())?;
        let Form::Document(mut document) = std::mem::replace(&mut self.form, Form::Text) else {
            return Ok(());
        };
        document.rewind()?;
        self.has_told = true;
        let copied = io::copy(&mut document, &mut self.out);
        self.unless_closed(copied.map(drop))?;
        self.flush()
    }

    /// Drops the document, which will never be whole.
    fn drop_document(&mut self) {
        self.pending.clear();
        self.form = Form::Text;
    }

    /// From now on lines of JSON are written, as they come.
    pub(crate) fn write_lines(&mut self) {
        self.form = Form::Lines;
        self.has_told = true;
    }

    /// Moves to the upper left and clears everything.
    fn clear(&mut self) -> io::Result<()> {
        self.let_out(self.pending.len())?;
        if self.closed {
            return Ok(());
        }
        let written = self.out.write_all(b"\x1b[H\x1b[J");
        self.unless_closed(written)
    }

    fn unless_closed(&mut self, result: io::Result<()>) -> io::Result<()> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(())
            }
            result => result,
        }
    }
}

/// Returns how many of these bytes can be judged without those that follow: whole lines, or a part
/// of a very long line that ends neither within a character nor within a colour.
fn complete(bytes: &[u8]) -> usize {
    let line = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if bytes.len() - line < PENDING {
        return line;
    }
    let blank = bytes.iter().rposition(|byte| matches!(byte, b' ' | b',' | b'"'));
    blank.map_or(bytes.len(), |at| at + 1).max(line)
}

impl Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        self.pending.extend_from_slice(bytes);
        if bytes.contains(&b'\n') || self.pending.len() >= PENDING {
            self.let_out(complete(&self.pending))?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.let_out(self.pending.len())?;
        if self.closed || matches!(self.form, Form::Document(_)) {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.unless_closed(flushed)
    }
}

impl Page for Answer {
    fn foreign(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.style.terminal {
            return self.write_all(&foreign::lines(bytes));
        }
        self.let_out(self.pending.len())?;
        if self.closed {
            return Ok(());
        }
        let written = self.out.write_all(bytes);
        self.unless_closed(written)
    }
}

/// Returns the failure of a write to standard output whose reader is still there.
pub(crate) fn unwritten(error: io::Error) -> Failure {
    Failure::broken("writing the answer to standard output").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dumb_terminal_gets_no_colours() {
        let [dumb, xterm, one] = ["dumb", "xterm", "1"].map(OsString::from);
        assert!(!knows_no_colour(None, None));
        assert!(!knows_no_colour(None, Some(&xterm)));
        assert!(knows_no_colour(None, Some(&dumb)));
        assert!(knows_no_colour(Some(&one), Some(&xterm)));
    }

    #[test]
    fn a_reader_that_went_away_is_no_failure() {
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut answer = Answer::new(Box::new(Gone), Style::default());
        for _ in 0..3 {
            answer.write_all(&[b'x'; 100_000]).unwrap();
        }
        assert!(answer.is_closed());
        assert!(answer.finish().is_ok());
    }

    /// Returns what comes out of an answer.
    fn written(style: Style, write: impl FnOnce(&mut Answer)) -> Vec<u8> {
        let file = tempfile::NamedTempFile::new().unwrap();
        let mut answer = Answer::new(Box::new(file.reopen().unwrap()), style);
        write(&mut answer);
        answer.finish().unwrap();
        std::fs::read(file.path()).unwrap()
    }

    /// Returns what comes out of an answer that is written byte by byte.
    fn shown(style: Style, json: bool, text: &[u8]) -> String {
        let shown = written(style, |answer| {
            answer.form = if json { Form::Lines } else { Form::Text };
            text.iter().for_each(|byte| answer.write_all(&[*byte]).unwrap());
        });
        String::from_utf8(shown).unwrap()
    }

    #[test]
    fn nothing_that_a_view_writes_reaches_a_reader_unseen() {
        let hostile = "a\u{202e}b\u{9b}2J\x1b]0;x\x07\n\tä\x1b[31mred\x1b[0m".as_bytes();
        let plain = "a\\u{202e}b\\u{9b}2J\\u{1b}]0;x\\u{7}\n\tä";
        for terminal in [false, true] {
            let style = Style { colour: false, terminal };
            let written = format!("{plain}\\u{{1b}}[31mred\\u{{1b}}[0m");
            assert_eq!(shown(style, false, hostile), written);
            let bright = Style { colour: true, terminal };
            assert_eq!(shown(bright, false, hostile), format!("{plain}\x1b[31mred\x1b[0m"));
        }
        assert_eq!(shown(Style::default(), false, b"\x9b"), "\\x9b");
        let json = "{\"a\":\"\u{202e}\u{e0041}\"}";
        assert_eq!(
            shown(Style::default(), true, json.as_bytes()),
            "{\"a\":\"\\u202e\\udb40\\udc41\"}"
        );
    }

    #[test]
    fn a_very_long_line_is_not_kept_back_and_not_torn() {
        let text = format!("{}\u{202e}, ", "ä".repeat(100)).repeat(2_000);
        let shown = shown(Style::default(), false, text.as_bytes());
        assert_eq!(shown, text.replace('\u{202e}', "\\u{202e}"));
    }

    #[test]
    fn what_scores_wrote_is_true_in_a_file_and_harmless_on_a_terminal() {
        for (terminal, wanted) in [(false, &b"x: a\x9bb\n"[..]), (true, b"x: a\\x9bb\n")] {
            let shown = written(Style { colour: true, terminal }, |answer| {
                write!(answer, "x: ").unwrap();
                answer.foreign(b"a\x9bb\n").unwrap();
            });
            assert_eq!(shown, wanted);
        }
    }
}
