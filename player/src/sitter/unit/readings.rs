//! Readings of logs. A conductor begins them, gives them credit and ends them; the loop reads on,
//! one chunk of each in a turn.
//!
//! Nothing of them is durable. A reading without credit is not read on, and no reading is while the
//! agent has enough to carry. So neither a slow reader nor a slow line delays anything else. The
//! files of a log that is followed are looked at once a second. If no log is followed, nothing
//! wakes the sitter.

use std::collections::BTreeMap;

use orchestra_model::{
    delivery::StoreId,
    service::{
        CHUNK_BYTES, CREDIT_BYTES, LEAST_CREDIT, LogEnd, LogPart, LogStream, READINGS, ReadLog,
        ReadingId,
    },
};
use orchestra_units::{RunId, UnitKey};

use super::place::name_of;
use crate::sitter::{
    Sitter,
    clock::BootMillis,
    logs::{LogDir, Reading, Step},
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
    unit: UnitKey,
    reading: Reading,
    /// How many more bytes may be sent.
    credit: usize,
    /// When to read on, if there is credit.
    due: BootMillis,
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
        let unit = UnitKey { store, service: read.service.clone() };
        let newest = self.newest_run(&unit).ok_or(LogEnd::Gone)?;
        if self.keeping.readings.0.len() >= READINGS {
            return Err(LogEnd::TooMany);
        }
        let stream = match read.query.stream {
            LogStream::Stdout => Stream::Stdout,
            LogStream::Stderr => Stream::Stderr,
        };
        let dir = self
            .spool_dir
            .make_log(&name_of(&unit), self.config.log_budget)
            .map_err(|error| failed(&error))?;
        let reading = Reading::new(LogDir::new(dir, stream), &read.query, newest);
        let reading = reading.map_err(|error| failed(&error))?;
        let credit = (read.credit as usize).min(CREDIT_BYTES);
        let open = Open { unit, reading, credit, due: BootMillis::default() };
        self.keeping.readings.0.insert(read.reading, open);
        Ok(())
    }

    /// Ends all readings, because their session is over.
    pub(in crate::sitter) fn end_readings(&mut self) {
        self.keeping.readings.0.clear();
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
        let unit = self.keeping.readings.0.get(&id)?.unit.clone();
        let Some(newest) = self.newest_run(&unit) else { return Some(LogPart::End(LogEnd::Gone)) };
        let open = self.keeping.readings.0.get_mut(&id)?;
        match open.reading.step(open.credit.min(CHUNK_BYTES), newest) {
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
