//! What emulated attempts write, and whoever reads it while they run: as much as they give credit for.

use std::time::{Duration, Instant};

use bytes::Bytes;
use orchestra_model::{
    Timestamp,
    delivery::{AttemptKey, Output},
};
use orchestra_proto::v1::{self, log_end::Reason, log_part::Part};

/// How often a player looks at what an attempt has written since.
pub(crate) const LOOKS_EVERY: Duration = Duration::from_millis(100);
/// Bytes of a line, with its end.
const LINE: u64 = 100;
/// Bytes of a text that many write.
const TEXT: usize = 4 << 10;
/// What an end keeps of an output, as a player does it.
const HEAD: u64 = 16 << 10;
const TAIL: u64 = 48 << 10;
/// As much of a reading's credit a chunk takes at least.
const LEAST_COST: u64 = 1 << 10;
/// Bytes of a chunk at most.
const CHUNK: u64 = 64 << 10;

/// What attempts write to their standard output.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Says {
    #[default]
    Nothing,
    /// One of so many texts, by the player's number.
    OneOf(u64),
    /// So many lines a second: when each was written, in milliseconds since 1970, and its number from 0 on.
    Lines(u64),
}

impl Says {
    /// Returns all that an attempt wrote which lasted so long.
    pub(crate) fn output(self, player: u64, since: Timestamp, lasted: Duration) -> Output {
        match self {
            Says::Nothing => Output::default(),
            Says::OneOf(texts) => {
                let text = format!("{:x<TEXT$}\n", player % texts);
                Output { bytes: text.len() as u64, head: text.into(), ..Output::default() }
            }
            Says::Lines(_) => {
                let bytes = self.written(lasted);
                let truncated = bytes > HEAD + TAIL;
                let (head, tail) = if truncated { (HEAD, TAIL) } else { (bytes, 0) };
                Output {
                    head: self.text(since, 0..head),
                    tail: self.text(since, bytes - tail..bytes),
                    bytes,
                    truncated,
                }
            }
        }
    }

    /// How many bytes an attempt that runs has written after so long.
    fn written(self, after: Duration) -> u64 {
        match self {
            Says::Lines(a_second) => after.as_millis() as u64 * a_second / 1_000 * LINE,
            Says::Nothing | Says::OneOf(_) => 0,
        }
    }

    fn text(self, since: Timestamp, range: std::ops::Range<u64>) -> Vec<u8> {
        let Says::Lines(a_second) = self else { return Vec::new() };
        let first = range.start / LINE;
        let mut text = String::new();
        for line in first..range.end.div_ceil(LINE) {
            let at = since.0 + (line + 1) * 1_000 / a_second;
            let start = text.len();
            text += &format!("{at} {line} ");
            text += &"x".repeat((start + LINE as usize - 1).saturating_sub(text.len()));
            text.push('\n');
        }
        let skipped = (range.start - first * LINE) as usize;
        text.into_bytes()[skipped..skipped + (range.end - range.start) as usize].to_vec()
    }
}

/// Somebody reads one stream of an attempt.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) number: u64,
    pub(crate) key: AttemptKey,
    since: Instant,
    since_wall: Timestamp,
    says: Says,
    /// How long the attempt lasted, once it is over.
    lasted: Option<Duration>,
    credit: u64,
    told: u64,
}

impl Reading {
    /// Begins it; `None` if the request is not of an attempt.
    pub(crate) fn begin(
        asked: &v1::ReadLog,
        key: AttemptKey,
        since: (Instant, Timestamp),
        says: Says,
    ) -> Self {
        let is_output =
            asked.query.is_none_or(|query| query.stream() == v1::log_query::Stream::Stdout);
        Self {
            number: asked.reading,
            key,
            since: since.0,
            since_wall: since.1,
            says: if is_output { says } else { Says::Nothing },
            lasted: None,
            credit: asked.credit.into(),
            told: 0,
        }
    }

    pub(crate) fn pay(&mut self, bytes: u32) {
        self.credit += u64::from(bytes);
    }

    /// Its attempt is over.
    pub(crate) fn end(&mut self, now: Instant) {
        self.lasted.get_or_insert(now - self.since);
    }

    /// Returns what may be told now, if anything, and whether it is the last.
    pub(crate) fn next(&mut self, now: Instant) -> Option<(v1::LogPart, bool)> {
        let written = self.says.written(self.lasted.unwrap_or(now - self.since));
        if self.told == written {
            self.lasted?;
            return Some((over(self.number, Reason::All), true));
        }
        let bytes = (written - self.told).min(self.credit).min(CHUNK);
        let cost = bytes.max(LEAST_COST);
        if self.credit < cost {
            return None;
        }
        self.credit -= cost;
        let text = self.says.text(self.since_wall, self.told..self.told + bytes);
        self.told += bytes;
        let chunk = v1::LogChunk {
            run: 1,
            bytes: Bytes::from(text),
            next: Some(v1::LogPlace { file: 1, offset: self.told }),
            ..Default::default()
        };
        Some((v1::LogPart { reading: self.number, part: Some(Part::Chunk(chunk)) }, false))
    }
}

/// The last part of a reading.
pub(crate) fn over(reading: u64, reason: Reason) -> v1::LogPart {
    let end = v1::LogEnd { reason: reason.into(), detail: String::new() };
    v1::LogPart { reading, part: Some(Part::End(end)) }
}
