//! Standard output for answers, standard error for everything else.
//!
//! A reader that goes away (`getstatus --tasks | head`) is no failure: from then on answers go
//! nowhere, and whoever writes much asks [`Answer::is_closed`] now and then.

use std::io::{self, BufWriter, IsTerminal as _, Write};

use crate::{args::Colour, error::Failure, view::Style};

/// The program's two ways out, and how each looks.
pub struct Console {
    /// Standard output.
    pub out: Answer,
    /// How answers look.
    pub style: Style,
    /// How narration looks.
    pub narration: Style,
    /// Whether a person can be asked: standard input and standard error are a terminal.
    pub interactive: bool,
}

impl Console {
    /// The process's own.
    pub fn of_process(colour: Colour, no_color: bool) -> Self {
        let style = |terminal: bool| Style {
            colour: match colour {
                Colour::Auto => terminal && !no_color,
                Colour::Always => true,
                Colour::Never => false,
            },
            terminal,
        };
        let narrating = io::stderr().is_terminal();
        Self {
            out: Answer::new(Box::new(io::stdout().lock())),
            style: style(io::stdout().is_terminal()),
            narration: style(narrating),
            interactive: narrating && io::stdin().is_terminal(),
        }
    }

    /// Tells a line on standard error.
    pub fn narrate(&self, line: impl std::fmt::Display) {
        narrate(line);
    }

    /// Writes bytes to standard error as they are.
    pub fn narrate_bytes(&self, bytes: &[u8]) {
        let _ = io::stderr().lock().write_all(bytes);
    }
}

/// Tells a line on standard error. That nobody can read it is no reason to fail.
pub fn narrate(line: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// Buffered standard output that outlives its reader.
pub struct Answer {
    out: BufWriter<Box<dyn Write>>,
    closed: bool,
}

impl Answer {
    /// Over this writer.
    pub fn new(out: Box<dyn Write>) -> Self {
        Self { out: BufWriter::with_capacity(64 << 10, out), closed: false }
    }

    /// Whether the reader went away, so that further writing is in vain.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Writes what is buffered.
    pub fn finish(&mut self) -> Result<(), Failure> {
        self.flush().map_err(unwritten)
    }

    fn unless_closed<T>(&mut self, result: io::Result<T>, otherwise: T) -> io::Result<T> {
        match result {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.closed = true;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.closed {
            return Ok(bytes.len());
        }
        let written = self.out.write(bytes);
        self.unless_closed(written, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.closed {
            return Ok(());
        }
        let flushed = self.out.flush();
        self.unless_closed(flushed, ())
    }
}

/// What a write to standard output failed with, where the reader is still there.
pub fn unwritten(error: io::Error) -> Failure {
    Failure::broken("writing the answer to standard output").because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut answer = Answer::new(Box::new(Gone));
        for _ in 0..3 {
            answer.write_all(&[b'x'; 100_000]).unwrap();
        }
        assert!(answer.is_closed());
        assert!(answer.finish().is_ok());
    }
}
