//! What becomes of a line: it is written, or it is counted as lost.
//!
//! A log that cannot be written (no space, no reader, a limit on files) is tried again with every
//! line. The first line that can be written again comes after one that says how many were lost.

use std::{fmt::Display, io, time::SystemTime};

use tracing_subscriber::fmt::{
    format::Writer,
    time::{FormatTime as _, SystemTime as Clock},
};

/// Where lines go.
pub(crate) trait Sink: Send + 'static {
    /// Writes some of these bytes, as write(2) does.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Waits until it may take bytes, where it said that it would block.
    fn wait(&mut self) -> io::Result<()>;
}

/// A sink, and what was lost on the way to it.
#[derive(Debug)]
pub(crate) struct Output<S> {
    sink: S,
    /// Whether lines begin with the time.
    with_time: bool,
    /// The last line was cut short.
    torn: bool,
    lost: Option<Lost>,
}

/// Lines that nobody has been told of.
#[derive(Debug)]
struct Lost {
    lines: u64,
    /// When the first of them was lost.
    since: String,
    /// Why the last of them was lost.
    reason: String,
}

impl<S: Sink> Output<S> {
    pub(crate) fn new(sink: S, with_time: bool) -> Self {
        Self { sink, with_time, torn: false, lost: None }
    }

    /// Writes a line, which ends with a newline, after the one that tells what was lost before it.
    pub(crate) fn line(&mut self, line: &[u8]) {
        if let Err(error) = self.tell_lost().and_then(|()| self.write(line)) {
            self.lost(1, error);
        }
    }

    /// Lines before the next one were lost elsewhere.
    pub(crate) fn lost(&mut self, lines: u64, reason: impl Display) {
        let lost =
            self.lost.get_or_insert_with(|| Lost { lines: 0, since: now(), reason: String::new() });
        lost.lines += lines;
        lost.reason = reason.to_string();
    }

    /// Says how many lines were lost, if there are any of which nobody knows.
    pub(crate) fn tell_lost(&mut self) -> io::Result<()> {
        let Some(Lost { lines, since, reason }) = &self.lost else {
            return Ok(());
        };
        let time = if self.with_time { format!("{} ", now()) } else { String::new() };
        let notice = format!(
            "{time} WARN lines of this log were lost lines={lines} since={since} reason={reason:?}\n"
        );
        self.write(notice.as_bytes())?;
        self.lost = None;
        Ok(())
    }

    /// Writes all of it, on a line of its own.
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.torn {
            self.write_all(b"\n")?;
        }
        self.write_all(line)
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.sink.write(bytes) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    bytes = bytes.get(written..).unwrap_or_default();
                    self.torn = !bytes.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.sink.wait()?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The present moment, as the log has it.
fn now() -> String {
    let mut text = String::new();
    match Clock.format_time(&mut Writer::new(&mut text)) {
        Ok(()) => text,
        // A clock that cannot be written as a date is told as it is.
        Err(_) => format!("{:?}", SystemTime::now()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        sync::{Arc, Mutex},
    };

    use super::*;

    /// What a sink says to one write: takes so many bytes at most, or fails so.
    type Step = Result<usize, io::ErrorKind>;

    /// Takes everything once its steps are over.
    #[derive(Debug)]
    struct Scripted {
        steps: VecDeque<Step>,
        waits: u32,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Sink for Scripted {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = self.steps.pop_front().unwrap_or(Ok(usize::MAX))?.min(bytes.len());
            self.written.lock().unwrap().extend(&bytes[..taken]);
            Ok(taken)
        }

        fn wait(&mut self) -> io::Result<()> {
            self.waits += 1;
            Ok(())
        }
    }

    fn scripted(steps: &[Step]) -> Output<Scripted> {
        let steps = steps.iter().copied().collect();
        Output::new(Scripted { steps, waits: 0, written: Arc::default() }, true)
    }

    /// What was written, line by line; of a line that tells of a loss its number alone.
    fn written(output: &Output<Scripted>) -> Vec<String> {
        let written = String::from_utf8(output.sink.written.lock().unwrap().clone()).unwrap();
        let short = |line: &str| match line.split_once(" WARN lines of this log were lost lines=") {
            Some((_, rest)) => format!("lost {}", rest.split(' ').next().unwrap()),
            None => line.to_owned(),
        };
        written.lines().map(short).collect()
    }

    const FULL: Step = Err(io::ErrorKind::StorageFull);

    #[test]
    fn what_cannot_be_written_is_counted_and_told_before_the_next_line() {
        let mut output = scripted(&[Ok(2), FULL, FULL, FULL]);
        for line in ["a\n", "b\n", "c\n", "d\n", "e\n", "f\n"] {
            output.line(line.as_bytes());
        }
        assert_eq!(written(&output), ["a", "lost 3", "e", "f"]);
    }

    #[test]
    fn the_notice_says_since_when_and_why() {
        let mut output = scripted(&[FULL]);
        output.line(b"a\n");
        output.line(b"b\n");
        let text = String::from_utf8(output.sink.written.lock().unwrap().clone()).unwrap();
        let (notice, rest) = text.split_once('\n').unwrap();
        assert!(notice.ends_with("reason=\"no storage space\""), "{notice}");
        let words: Vec<&str> = notice.split_whitespace().collect();
        assert!(words[0].starts_with("20") && words[0].ends_with('Z'), "{notice}");
        assert!(words.iter().any(|word| word.starts_with("since=20")), "{notice}");
        assert_eq!(rest, "b\n");
    }

    #[test]
    fn a_torn_line_does_not_run_into_the_next() {
        let mut output = scripted(&[Ok(3), FULL, FULL]);
        for line in ["first\n", "second\n", "third\n"] {
            output.line(line.as_bytes());
        }
        assert_eq!(written(&output), ["fir", "lost 2", "third"]);
        // The notice itself may be what is torn: it is told again.
        let mut output = scripted(&[FULL, Ok(4), FULL]);
        for line in ["first\n", "second\n", "third\n"] {
            output.line(line.as_bytes());
        }
        assert_eq!(written(&output)[1..], ["lost 2", "third"]);
    }

    #[test]
    fn short_writes_interruptions_and_a_sink_that_does_not_block_lose_nothing() {
        let again = Err(io::ErrorKind::WouldBlock);
        let mut output = scripted(&[Ok(1), again, again, Err(io::ErrorKind::Interrupted), Ok(2)]);
        output.line(b"abcdef\n");
        assert_eq!(written(&output), ["abcdef"]);
        assert_eq!(output.sink.waits, 2);
    }
}
