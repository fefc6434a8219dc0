//! Readings of logs. A conductor begins them, gives them credit and ends them; the loop reads on,
//! one chunk of each in a turn.
//!
//! Nothing of them is durable. A reading without credit is not read on, and no reading is while the
//! agent has enough to carry. So neither a slow reader nor a slow line delays anything else. The
//! files of a log that is followed are looked at once a second, and when the attempt that writes them is over. If no log is followed, nothing
//! wakes the sitter.

use std::collections::BTreeMap;

use orchestra_model::{
    delivery::{AttemptKey, StoreId},
    service::{
        CHUNK_BYTES, CREDIT_BYTES, LEAST_CREDIT, LogEnd, LogPart, LogQuery, LogSource, READINGS,
        ReadLog, ReadingId,
    },
};
use orchestra_spool::shelf::KeptStream;
use orchestra_units::{RunId, UnitKey};

use super::place::name_of;
use crate::sitter::{
    Sitter,
    attempt::Attempt,
    clock::BootMillis,
    logs::{AttemptReading, LogDir, Reading, Step},
    stream::Stream,
};

/// How long after a log was read to its end the next look is, in milliseconds.
const LOOK: u64 = 1_000;

/// What a conductor says of readings.
#[derive(Clone, Debug)]
pub(in crate::sitter) enum OfLog {
    Read(ReadLog),
    /// The reading may send so many more bytes.
    Credit(ReadingId, u32),
    Close(ReadingId),
}

/// The readings of the present session.
#[derive(Default)]
pub(super) struct Readings(BTreeMap<ReadingId, Open>);

struct Open {
    from: From,
    /// How many more bytes may be sent.
    credit: usize,
    /// When to read on, if there is credit.
    due: BootMillis,
}

/// Whose log is read, and how far that has come.
enum From {
    Unit(UnitKey, Reading),
    Attempt(AttemptKey, AttemptReading),
}

impl Readings {
    /// Returns when the next reading is to be read on.
    fn next_deadline(&self) -> Option<BootMillis> {
        self.0.values().filter(|open| open.credit >= LEAST_CREDIT).map(|open| open.due).min()
    }

    fn due(&self, now: BootMillis) -> Vec<ReadingId> {
        let due = self.0.iter().filter(|(_, open)| open.credit >= LEAST_CREDIT && open.due <= now);
        due.map(|(id, _)| *id).collect()
    }
}

impl Sitter {
    /// Takes what a conductor says of a reading.
    pub(in crate::sitter) fn hear_of_log(&mut self, store: StoreId, said: OfLog) {
        match said {
            OfLog::Read(read) => {
                if let Err(end) = self.begin_reading(store, &read) {
                    self.tell_of_log(read.reading, LogPart::End(end));
                }
            }
            OfLog::Credit(id, bytes) => {
                // The reading may be over.
                if let Some(open) = self.keeping.readings.0.get_mut(&id) {
                    open.credit = (open.credit + bytes as usize).min(CREDIT_BYTES);
                }
            }
            OfLog::Close(id) => drop(self.keeping.readings.0.remove(&id)),
        }
    }

    fn begin_reading(&mut self, store: StoreId, read: &ReadLog) -> Result<(), LogEnd> {
        if self.keeping.readings.0.len() >= READINGS {
            return Err(LogEnd::TooMany);
        }
        let stream = Stream::from(read.query.stream);
        let from = match &read.of {
            LogSource::Unit(service) => {
                let unit = UnitKey { store, service: service.clone() };
                let reading = self.begin_unit(&unit, stream, &read.query)?;
                From::Unit(unit, reading)
            }
            LogSource::Attempt(key) => {
                From::Attempt(*key, self.begin_attempt(*key, stream, &read.query)?)
            }
        };
        let credit = (read.credit as usize).min(CREDIT_BYTES);
        let open = Open { from, credit, due: BootMillis::default() };
        self.keeping.readings.0.insert(read.reading, open);
        Ok(())
    }

    fn begin_attempt(
        &mut self,
        key: AttemptKey,
        stream: Stream,
        query: &LogQuery,
    ) -> Result<AttemptReading, LogEnd> {
        let Some(attempt) = self.attempt(key) else {
            let kept = KeptStream { attempt: key, stream: query.stream };
            let file = self.open_kept(kept).map_err(|error| failed(&error))?;
            let file = file.ok_or(LogEnd::Gone)?;
            return Ok(AttemptReading::of_file(file, stream, query));
        };
        let directory = attempt.streams.directory.clone().ok_or(LogEnd::Gone)?;
        Ok(AttemptReading::new(directory, stream, attempt.streams.limit, query))
    }

    fn begin_unit(
        &self,
        unit: &UnitKey,
        stream: Stream,
        query: &LogQuery,
    ) -> Result<Reading, LogEnd> {
        let newest = self.newest_run(unit).ok_or(LogEnd::Gone)?;
        let dir = self
            .spool_dir
            .make_log(&name_of(unit), self.config.log_budget)
            .map_err(|error| failed(&error))?;
        Reading::new(LogDir::new(dir, stream), query, newest).map_err(|error| failed(&error))
    }

    /// Returns an attempt that is not settled.
    fn attempt(&self, key: AttemptKey) -> Option<&Attempt> {
        self.attempts.values().find(|attempt| attempt.key == key)
    }

    /// Ends all readings, because their session is over.
    pub(in crate::sitter) fn end_readings(&mut self) {
        self.keeping.readings.0.clear();
    }

    /// Has readings of an attempt that is over keep its files open, which are about to go. Returns whether
    /// there are any.
    pub(in crate::sitter) fn keep_what_is_read(&mut self, key: AttemptKey) -> bool {
        let mut is_any = false;
        for open in self.keeping.readings.0.values_mut() {
            if let From::Attempt(of, reading) = &mut open.from
                && *of == key
            {
                reading.attempt_is_over();
                (is_any, open.due) = (true, BootMillis::default());
            }
        }
        is_any
    }

    /// Returns when a log is to be read on. While the agent has enough to carry, its socket wakes
    /// us.
    pub(in crate::sitter) fn next_look_at_logs(&self) -> Option<BootMillis> {
        self.keeping.readings.next_deadline().filter(|_| self.agent.has_room())
    }

    /// Reads one chunk for each reading that may have one.
    pub(in crate::sitter) fn read_logs(&mut self, now: BootMillis) {
        if !self.agent.has_room() {
            return;
        }
        for id in self.keeping.readings.due(now) {
            if let Some(part) = self.read_on(id, now) {
                if let LogPart::End(_) = part {
                    self.keeping.readings.0.remove(&id);
                }
                self.tell_of_log(id, part);
            }
        }
    }

    /// Takes the next step of a reading. Returns what is to be sent, if anything.
    fn read_on(&mut self, id: ReadingId, now: BootMillis) -> Option<LogPart> {
        let newest = match &self.keeping.readings.0.get(&id)?.from {
            From::Unit(unit, _) => self.newest_run(unit),
            From::Attempt(..) => None,
        };
        let open = self.keeping.readings.0.get_mut(&id)?;
        let most = open.credit.min(CHUNK_BYTES);
        let step = match (&mut open.from, newest) {
            (From::Unit(_, reading), Some(newest)) => reading.step(most, newest),
            (From::Unit(..), None) => Ok(Step::Gone),
            (From::Attempt(_, reading), _) => reading.step(most),
        };
        match step {
            Ok(Step::Chunk(chunk)) => {
                open.credit = open.credit.saturating_sub(chunk.cost());
                Some(LogPart::Chunk(chunk))
            }
            Ok(Step::More) => None,
            Ok(Step::Idle) => {
                open.due = now.after(LOOK);
                None
            }
            Ok(Step::All) => Some(LogPart::End(LogEnd::All)),
            Ok(Step::Gone) => Some(LogPart::End(LogEnd::Gone)),
            Err(error) => Some(LogPart::End(failed(&error))),
        }
    }

    /// Returns the present run of a unit, or its last one; `None` if there is no such unit.
    fn newest_run(&self, unit: &UnitKey) -> Option<RunId> {
        self.keeping.engine.state().units().get(unit).map(|unit| unit.status.last)
    }

    fn tell_of_log(&mut self, id: ReadingId, part: LogPart) {
        if let Some(session) = self.agent.session() {
            self.agent.report_log(session, id, part);
        }
    }
}

fn failed(error: &std::io::Error) -> LogEnd {
    LogEnd::Failed(error.to_string())
}
