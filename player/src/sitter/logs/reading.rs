//! One reader's way through a log.
//!
//! Each step looks at what there is now, and reads at most one chunk of one run from one file. The
//! file is open only for the step, so a slow reader holds nothing, and files may be removed
//! meanwhile.

use std::io;

use orchestra_model::service::{
    CHUNK_BYTES, LogChunk, LogPlace, LogQuery, LogRuns, Placement, RunNumber,
};
use orchestra_units::RunId;

use super::{
    on_disk::{LogDir, Look, settled},
    tail::Search,
};

/// A reading, as far as it has come.
pub(in crate::sitter) struct Reading {
    log: LogDir,
    runs: Runs,
    follow: bool,
    /// The next byte.
    at: LogPlace,
    /// Where it ends; `None` where the log is followed.
    end: Option<LogPlace>,
    /// The search for the beginning of the last lines, while it goes on.
    search: Option<Search>,
    /// Whether something was removed before it was read.
    gap: bool,
    /// Whether the next file did not show where to go on, which is waited for once.
    waited: bool,
    /// Whether a file may have been missed: one that is begun while the directory is read may not
    /// show. So the directory is read twice.
    doubted: bool,
}

/// What came of a step.
#[derive(Debug)]
pub(in crate::sitter) enum Step {
    /// These bytes.
    Chunk(LogChunk),
    /// No bytes yet, and there is more to do.
    More,
    /// There is nothing more for now.
    Idle,
    /// Everything was read.
    All,
    /// The unit is gone.
    Gone,
}

/// The runs whose output is wanted: from `first` to `last`.
#[derive(Clone, Copy, Debug)]
struct Runs {
    first: RunId,
    last: RunId,
}

const NEVER: RunId = RunId { placement: Placement(u64::MAX), number: RunNumber(u64::MAX) };

impl Runs {
    /// Returns the runs that a query means. `newest` is the unit's present or last run.
    fn of(query: &LogQuery, newest: RunId, look: &Look) -> Self {
        let only = |run| Self { first: run, last: run };
        match query.runs {
            LogRuns::All => Self { first: RunId::default(), last: NEVER },
            LogRuns::Newest if query.follow => Self { first: newest, last: NEVER },
            LogRuns::Newest => only(newest),
            LogRuns::Number(number) => only(RunId { number, ..newest }),
            // Numbers may be left out, so the one before is the last that wrote anything.
            LogRuns::Previous => {
                let before = look.marks.iter().map(|mark| mark.run).filter(|run| *run < newest);
                only(before.max().unwrap_or(RunId { number: RunNumber(0), ..newest }))
            }
        }
    }

    /// Returns whether they include the run that wrote at a place.
    fn include(self, look: &Look, place: LogPlace) -> bool {
        let run = look.mark_at(place).map_or(RunId::default(), |mark| mark.run);
        self.first <= run && run <= self.last
    }
}

impl Reading {
    /// Begins to read what a query means.
    pub(in crate::sitter) fn new(
        mut log: LogDir,
        query: &LogQuery,
        newest: RunId,
    ) -> io::Result<Self> {
        let look = log.look()?;
        let runs = Runs::of(query, newest, &look);
        let since = query.since.map_or(look.begin(), |since| look.since(since));
        let at = query.from.unwrap_or(since);
        let search = query.tail.filter(|_| query.from.is_none()).map(|lines| {
            let spans = look.spans(at, |look, place| runs.include(look, place));
            Search::new(lines, spans, at, look.end())
        });
        let end = (!query.follow).then(|| look.end());
        let follow = query.follow;
        Ok(Self { log, runs, follow, at, end, search, gap: false, waited: false, doubted: false })
    }

    /// Reads on by at most `most` bytes. `newest` is the unit's present or last run.
    pub(in crate::sitter) fn step(&mut self, most: usize, newest: RunId) -> io::Result<Step> {
        if self.log.is_gone() {
            return Ok(Step::Gone);
        }
        if let Some(search) = &mut self.search {
            if let Some(at) = search.step(&self.log)? {
                (self.at, self.search) = (at, None);
            }
            return Ok(Step::More);
        }
        let look = self.log.look()?;
        self.at = settled(self.at, &look.files);
        self.end = self.end.map(|end| settled(end, &look.files));
        if self.end.is_some_and(|end| self.at >= end) {
            return Ok(Step::All);
        }
        let Some(found) = look.files.get(&self.at.file) else {
            return Ok(self.after_removal(&look));
        };
        if self.at.offset > found.len {
            if std::mem::replace(&mut self.doubted, true) {
                // It is not the file that was being read.
                (self.at.offset, self.gap) = (0, true);
            }
            return Ok(Step::More);
        }
        if !self.runs.include(&look, self.at) {
            return Ok(self.skip(&look, newest));
        }
        match self.at.offset < found.len {
            true => self.read(&look, found.len, most),
            false => self.after_file(&look, found.len, newest),
        }
    }

    /// Reads on in the present file.
    fn read(&mut self, look: &Look, len: u64, most: usize) -> io::Result<Step> {
        let at = self.at;
        let next = look.mark_after(at).map(|mark| mark.place);
        let stops = [next, self.end].into_iter().flatten().filter(|stop| stop.file == at.file);
        let stop = stops.map(|stop| stop.offset).min().unwrap_or(len).min(len);
        let most = usize::try_from(stop - at.offset).unwrap_or(most).min(most).min(CHUNK_BYTES);
        let bytes = self.log.read(at, most)?.unwrap_or_default();
        if bytes.is_empty() {
            // The file was cut or removed just now, which the next look shows.
            return Ok(Step::More);
        }
        self.at.offset += bytes.len() as u64;
        self.doubted = false;
        let mark = look.mark_at(at);
        let run = mark.map_or(RunId::default(), |mark| mark.run);
        Ok(Step::Chunk(LogChunk {
            run: run.number,
            placement: run.placement,
            at: mark.map(|mark| mark.at),
            bytes,
            gap: std::mem::take(&mut self.gap),
            next: self.at,
        }))
    }

    /// Decides what to do at the end of a file.
    fn after_file(&mut self, look: &Look, len: u64, newest: RunId) -> io::Result<Step> {
        let Some((&next, _)) = look.files.range(self.at.file + 1..).next() else {
            return Ok(self.at_the_end(newest));
        };
        if next > self.at.file + 1 {
            (self.at, self.gap) = (LogPlace { file: next, offset: 0 }, true);
            return Ok(Step::More);
        }
        match self.log.after(self.at.file, len, next)? {
            Some(place) => self.at = place,
            None if self.waited => self.at = LogPlace { file: next, offset: 0 },
            None => {
                self.waited = true;
                return Ok(Step::Idle);
            }
        }
        self.waited = false;
        Ok(Step::More)
    }

    /// Goes on after the present file was removed, or when there was none yet.
    fn after_removal(&mut self, look: &Look) -> Step {
        let later = look.files.range(self.at.file..).next();
        // If no file is later, the log was begun anew.
        let Some((&next, _)) = later.or(look.files.first_key_value()) else {
            return if self.follow { Step::Idle } else { Step::All };
        };
        self.gap |= self.at.file > 0;
        self.at = LogPlace { file: next, offset: 0 };
        Step::More
    }

    /// Goes on to where another run begins.
    fn skip(&mut self, look: &Look, newest: RunId) -> Step {
        match look.mark_after(self.at) {
            Some(mark) => {
                self.at = mark.place;
                Step::More
            }
            None => {
                self.at = look.end();
                self.at_the_end(newest)
            }
        }
    }

    fn at_the_end(&mut self, newest: RunId) -> Step {
        if self.follow && self.runs.last >= newest {
            return Step::Idle;
        }
        match std::mem::replace(&mut self.doubted, true) {
            false => Step::More,
            true => Step::All,
        }
    }
}
