//! The search for the beginning of the last lines of a log: backwards, a piece at a time.

use std::io;

use orchestra_model::service::{CHUNK_BYTES, LogPlace};

use super::on_disk::{LogDir, Look};

/// A part of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) file: u64,
    pub(super) start: u64,
    pub(super) end: u64,
}

/// A search for the beginning of the last lines.
#[derive(Debug)]
pub(super) struct Search {
    /// How many line ends are still to be found.
    left: u64,
    /// The parts that were not searched yet, the oldest first.
    spans: Vec<Span>,
    /// Where the lines begin if there are no more than the wanted ones.
    first: LogPlace,
    /// Whether nothing was searched yet: a line end at the very end belongs to the last line.
    fresh: bool,
}

impl Search {
    /// Returns a search for so many lines of these spans; `end` is where the spans end.
    pub(super) fn new(lines: u64, spans: Vec<Span>, begin: LogPlace, end: LogPlace) -> Self {
        let (first, spans) = if lines == 0 { (end, Vec::new()) } else { (begin, spans) };
        Self { left: lines, spans, first, fresh: true }
    }

    /// Searches one more piece. Returns where the lines begin, once that is found.
    pub(super) fn step(&mut self, log: &LogDir) -> io::Result<Option<LogPlace>> {
        let Some(span) = self.spans.last_mut() else { return Ok(Some(self.first)) };
        let from = span.end.saturating_sub(CHUNK_BYTES as u64).max(span.start);
        let (place, most) =
            (LogPlace { file: span.file, offset: from }, (span.end - from) as usize);
        // A file that was removed meanwhile has no lines.
        let bytes = log.read(place, most)?.unwrap_or_default();
        let mut rest = &bytes[..];
        if std::mem::take(&mut self.fresh) {
            rest = rest.strip_suffix(b"\n").unwrap_or(rest);
        }
        while let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') {
            self.left -= 1;
            if self.left == 0 {
                return Ok(Some(LogPlace { offset: from + end as u64 + 1, ..place }));
            }
            rest = &rest[..end];
        }
        span.end = from;
        if span.end == span.start {
            self.spans.pop();
        }
        Ok(None)
    }
}

impl Look {
    /// Returns the parts of files from a place on whose runs are wanted, the oldest first; none is
    /// empty.
    pub(super) fn spans(
        &self,
        from: LogPlace,
        wanted: impl Fn(&Look, LogPlace) -> bool,
    ) -> Vec<Span> {
        let mut spans = Vec::new();
        for (&file, found) in self.files.range(from.file..) {
            let mut at = LogPlace { file, offset: if file == from.file { from.offset } else { 0 } };
            while at.offset < found.len {
                let next = self.mark_after(at).map(|mark| mark.place).filter(|at| at.file == file);
                let end = next.map_or(found.len, |next| next.offset.min(found.len));
                if wanted(self, at) {
                    spans.push(Span { file, start: at.offset, end });
                }
                at.offset = end;
            }
        }
        spans
    }
}
