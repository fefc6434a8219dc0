//! Paces the work that moves the write-ahead log into the database.
//!
//! It is done in quiet moments, once a minute. After parameters were erased it is done within
//! seconds, if need be between two batches, because until then they are still in the log. It waits
//! for readers of an older state, and logs them after a minute.
//!
//! It checks the store's files too, once a minute even if nothing was written, so that a database
//! that was moved away is missed before the next record.

use std::time::{Duration, Instant};

use orchestra_store::CommitError;

/// How often a quiet store is tidied.
const QUIET: Duration = Duration::from_secs(60);
/// How long erased parameters may stay in the log, unless a reader needs it.
const ERASED: Duration = Duration::from_secs(5);
/// How long to wait before the next attempt if a reader needs the log.
const HELD: Duration = Duration::from_secs(1);

/// Decides when the store is to be tidied.
#[derive(Debug)]
pub(super) struct Tidier {
    due: Instant,
    /// Since when erased parameters may be in the log.
    erased_since: Option<Instant>,
    has_told: bool,
}

impl Tidier {
    pub(super) fn new(now: Instant) -> Self {
        Self { due: now + QUIET, erased_since: None, has_told: false }
    }

    /// Notes that parameters were erased.
    pub(super) fn erased(&mut self, now: Instant) {
        self.erased_since.get_or_insert(now);
        self.due = self.due.min(now + ERASED);
    }

    /// Returns how long to wait for a batch before the store is to be tidied.
    pub(super) fn pause(&self, now: Instant) -> Duration {
        self.due.saturating_duration_since(now)
    }

    /// Returns whether the store is to be tidied although batches keep coming.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        self.erased_since.is_some() && self.due <= now
    }

    /// Takes how tidying went. Fails if the writer has to end.
    pub(super) fn tidied(
        &mut self,
        outcome: Result<bool, CommitError>,
        now: Instant,
    ) -> Result<(), CommitError> {
        self.due = now + QUIET;
        match outcome {
            Ok(true) => {
                self.erased_since = None;
                self.has_told = false;
            }
            Ok(false) => self.wait_for_reader(now),
            Err(error) if error.is_retryable() => {
                let error = orchestra_model::chain(&error);
                tracing::warn!(error, "the store was not tidied");
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn wait_for_reader(&mut self, now: Instant) {
        let Some(since) = self.erased_since else { return };
        self.due = now + HELD;
        let waited = now.saturating_duration_since(since);
        if waited >= QUIET && !self.has_told {
            self.has_told = true;
            tracing::warn!(
                since_s = waited.as_secs(),
                "somebody reads the store and does not let go: parameters of flows that have ended \
                 stay in its log until then"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_erased_leaves_the_log_soon_and_however_busy_it_is() {
        let begin = Instant::now();
        let mut tidier = Tidier::new(begin);
        let at = |seconds| begin + Duration::from_secs(seconds);
        assert_eq!(tidier.pause(begin), QUIET);
        assert!(!tidier.is_overdue(at(100)), "nothing presses, so batches go first");
        tidier.erased(at(1));
        tidier.erased(at(4));
        assert_eq!(tidier.pause(at(1)), ERASED);
        assert!(!tidier.is_overdue(at(5)) && tidier.is_overdue(at(6)));
        for second in [6, 7] {
            tidier.tidied(Ok(false), at(second)).unwrap();
            assert!(tidier.is_overdue(at(second + 1)), "it is tried until the reader lets go");
        }
        tidier.tidied(Ok(true), at(8)).unwrap();
        assert!(!tidier.is_overdue(at(60)));
        assert_eq!(tidier.pause(at(8)), QUIET);
    }
}
