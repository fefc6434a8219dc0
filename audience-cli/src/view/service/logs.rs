//! What an instance of a service wrote, as it comes.

use std::io::Write as _;

use orchestra_model::{
    service::{LogChunk, Placement, RunNumber},
    time::Timestamp,
};
use serde::Serialize;

use crate::{
    console::{Answer, Screen, unwritten},
    error::Failure,
    view::{Page as _, json::SCHEMA, when},
};

/// Longest line of JSON, in bytes of the log; a longer line is cut into several.
const LINE_BYTES: usize = 64 << 10;

/// The log for a person: the bytes go to standard output; their run, and what is missing, to
/// standard error.
#[derive(Debug)]
pub(crate) struct LogText {
    run: Option<(Placement, RunNumber)>,
    since: Option<Timestamp>,
    /// The beginning of a character whose rest is still to come.
    rest: Vec<u8>,
    /// Whether each line has the time before it from which on it was written.
    times: bool,
    /// Whether a line has begun and not ended.
    within_line: bool,
}

impl LogText {
    pub(crate) fn new(since: Option<Timestamp>, times: bool) -> Self {
        Self { run: None, since, rest: Vec::new(), times, within_line: false }
    }

    pub(crate) fn take(&mut self, chunk: &LogChunk, screen: &mut Screen) -> Result<(), Failure> {
        let run = (chunk.placement, chunk.run);
        if self.run != Some(run) {
            self.end(screen)?;
            screen.narrate(heading(chunk, self.since.take()));
            self.run = Some(run);
        }
        if chunk.gap {
            self.end(screen)?;
            screen.narrate("[some of it was removed before it was read]");
        }
        self.rest.extend_from_slice(&chunk.bytes);
        let whole = whole_characters(&self.rest);
        let rest = self.rest.split_off(whole);
        let bytes = std::mem::replace(&mut self.rest, rest);
        let bytes = if self.times { self.timed(&bytes, chunk.at) } else { bytes };
        screen.out.foreign(&bytes).map_err(unwritten)?;
        screen.out.finish()
    }

    /// Returns these bytes with the time of the last mark before each line that begins here.
    fn timed(&mut self, bytes: &[u8], at: Option<Timestamp>) -> Vec<u8> {
        let at = at.map_or_else(|| "-".to_owned(), when);
        let mut timed = Vec::with_capacity(bytes.len());
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.within_line {
                timed.extend(format!("{at} ").into_bytes());
            }
            self.within_line = !piece.ends_with(b"\n");
            timed.extend_from_slice(piece);
        }
        timed
    }

    /// Writes what was kept back.
    pub(crate) fn end(&mut self, screen: &mut Screen) -> Result<(), Failure> {
        screen.out.foreign(&std::mem::take(&mut self.rest)).map_err(unwritten)?;
        screen.out.finish()
    }
}

/// `run 3, written since 2026-11-21T08:00:00Z`.
fn heading(chunk: &LogChunk, since: Option<Timestamp>) -> String {
    let run = match chunk.run {
        RunNumber(0) => "an earlier run".to_owned(),
        run => format!("run {run}"),
    };
    let at = chunk.at.map_or_else(String::new, |at| format!(", written since {}", when(at)));
    let why = match since {
        Some(_) => " (lines have no times of their own)",
        None => "",
    };
    format!("{run}{at}{why}")
}

/// Returns how many of these bytes are whole characters.
pub(crate) fn whole_characters(bytes: &[u8]) -> usize {
    let late = bytes.len().saturating_sub(3);
    match std::str::from_utf8(&bytes[late..]) {
        Ok(_) => bytes.len(),
        // The last lead byte tells where the last character begins.
        Err(_) => {
            let lead = bytes[late..].iter().rposition(|byte| byte & 0xc0 == 0xc0);
            let length = |lead: u8| match lead.leading_ones() {
                ones @ 2..=4 => ones as usize,
                _ => 1,
            };
            match lead.map(|at| late + at) {
                Some(at) if at + length(bytes[at]) > bytes.len() => at,
                _ => bytes.len(),
            }
        }
    }
}

/// The log for a program: a line of JSON for each line.
#[derive(Debug, Default)]
pub(crate) struct LogLines {
    /// The line that has not ended, and what is known of it.
    open: Vec<u8>,
    of: Option<(Placement, RunNumber, Option<Timestamp>)>,
    gap: bool,
}

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    run: u64,
    placement: u64,
    not_before: Option<String>,
    line: &'a str,
    whole: bool,
    gap: bool,
}

impl LogLines {
    pub(crate) fn take(&mut self, chunk: &LogChunk, out: &mut Answer) -> Result<(), Failure> {
        let run = (chunk.placement, chunk.run);
        let is_other = self.of.is_some_and(|(placement, number, _)| (placement, number) != run);
        if is_other || chunk.gap {
            self.end(out)?;
        }
        self.gap |= chunk.gap;
        for piece in chunk.bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.open.is_empty() {
                self.of = Some((chunk.placement, chunk.run, chunk.at));
            }
            self.open.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.open.len() >= LINE_BYTES {
                self.end(out)?;
            }
        }
        out.finish()
    }

    /// Writes the line that has not ended.
    pub(crate) fn end(&mut self, out: &mut Answer) -> Result<(), Failure> {
        let Some((placement, run, at)) = self.of.take() else { return Ok(()) };
        let bytes = std::mem::take(&mut self.open);
        let text = bytes.strip_suffix(b"\n");
        let line = Line {
            schema: SCHEMA,
            run: run.0,
            placement: placement.0,
            not_before: at.map(when),
            line: &String::from_utf8_lossy(text.unwrap_or(&bytes)),
            whole: text.is_some(),
            gap: std::mem::take(&mut self.gap),
        };
        let line = serde_json::to_string(&line).map_err(|error| unwritten(error.into()))?;
        writeln!(out, "{line}").map_err(unwritten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_torn() {
        for (bytes, whole) in [
            ("aä".as_bytes(), 3),
            (&"aä".as_bytes()[..2], 1),
            (&"a€".as_bytes()[..3], 1),
            (&"😀".as_bytes()[..3], 0),
            (b"abc", 3),
            (b"", 0),
            (b"a\xff\xff", 3),
            (b"\x80\x80\x80\x80", 4),
        ] {
            assert_eq!(whole_characters(bytes), whole, "{bytes:?}");
        }
    }
}
