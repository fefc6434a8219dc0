//! Paces the removal of what is left of pruned flows.
//!
//! The removal is done in short steps, so that no batch waits long. A step is taken when no batch
//! came for a moment. If batches never cease, a step is taken now and then between two of them. The
//! size of a step follows from how long the last one took.

use std::time::{Duration, Instant};

use orchestra_store::Store;

/// How long no batch must have come before a step.
const PAUSE: Duration = Duration::from_millis(5);
/// The longest time between two steps while batches come. Steps then take a twentieth of the time.
const REST: Duration = Duration::from_millis(100);
/// How long a step should take. A batch may have to wait twice that if the step takes longer.
const STEP: Duration = Duration::from_millis(5);
/// The first and the largest size of a step, in the store's units. Some hundred units are a
/// millisecond of work, to which a commit adds a sync.
const FIRST: usize = 64;
const MOST: usize = 2_000;

/// Decides when to sweep, and how much at a time.
#[derive(Debug)]
pub(super) struct Sweeper {
    limit: usize,
    is_needed: bool,
    has_failed: bool,
    rested_since: Instant,
}

impl Sweeper {
    /// Returns a sweeper that has something to sweep, because the last process may not have
    /// finished.
    pub(super) fn new() -> Self {
        Self { limit: FIRST, is_needed: true, has_failed: false, rested_since: Instant::now() }
    }

    /// Notes that there is something to sweep.
    pub(super) fn wake(&mut self) {
        self.is_needed = true;
    }

    /// Notes that a step that failed may be tried again.
    pub(super) fn retry(&mut self) {
        self.is_needed |= self.has_failed;
    }

    /// Returns how long to wait for a batch before the next step, if there is to be one.
    pub(super) fn pause(&self) -> Option<Duration> {
        self.is_needed.then_some(PAUSE)
    }

    /// Returns whether the next step is due although batches keep coming.
    pub(super) fn is_overdue(&self) -> bool {
        self.is_needed && self.rested_since.elapsed() >= REST
    }

    /// Takes a step. After a failure it waits; a lasting failure will be met by the next batch too.
    pub(super) fn step(&mut self, store: &mut dyn Store) {
        let begun = Instant::now();
        let swept = store.sweep(self.limit);
        self.is_needed = matches!(swept, Ok(false));
        self.has_failed = swept.is_err();
        if let Err(error) = swept {
            let error = orchestra_model::chain(&error);
            tracing::warn!(error, "what is left of pruned flows was not removed");
        }
        self.limit = adapted(self.limit, begun.elapsed());
        self.rested_since = Instant::now();
    }
}

/// Returns the size of the next step, after one of size `limit` took so long.
fn adapted(limit: usize, took: Duration) -> usize {
    let next = match took {
        took if took > STEP => limit / 2,
        took if took < STEP / 2 => limit + limit / 4 + 1,
        _ => limit,
    };
    next.clamp(1, MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_as_large_as_time_allows() {
        // A disk on which each record takes 50 µs, and a sync 1 ms.
        let took = |limit: usize| Duration::from_micros(1_000 + 50 * limit as u64);
        for first in [1, FIRST, MOST] {
            let settled = (0..50).fold(first, |limit, _| adapted(limit, took(limit)));
            assert!((STEP / 2..=STEP).contains(&took(settled)), "{settled} a step");
        }
        let none = (0..50).fold(FIRST, |limit, _| adapted(limit, STEP * 10));
        assert_eq!(none, 1, "it goes on however slow the disk is");
        let all = (0..50).fold(FIRST, |limit, _| adapted(limit, Duration::ZERO));
        assert_eq!(all, MOST);
    }
}
