//! Time as the engine is told it.

use std::time::{SystemTime, UNIX_EPOCH};

use orchestra_model::{Millis, Timestamp};
use tokio::time::Instant;

/// Most that a player's clock may differ from ours without a word: clocks that are kept right differ by
/// less than a second.
const CLOCKS_DIFFER: Millis = Millis::minutes(1);

/// Returns how far a moment of a player's clock is from what can be true of something that happened
/// between two moments of ours, in words; `None` where that is no more than clocks may differ.
pub(crate) fn clock_error(told: Timestamp, from: Timestamp, until: Timestamp) -> Option<String> {
    let in_words = |by: Millis, way| {
        // To the second: nobody needs more.
        let by = Millis::seconds(by.0 / 1_000);
        (by > CLOCKS_DIFFER).then(|| format!("{by} {way}"))
    };
    in_words(told.since(until), "ahead").or_else(|| in_words(from.since(told), "behind"))
}

/// A clock that follows wall time at the start and never runs back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    at_origin: Timestamp,
}

impl Clock {
    /// A clock that begins at the present wall time.
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now(), at_origin: Self::wall() }
    }

    /// What the clock of this machine says. It may be set at any time, so it is for what other machines
    /// judge by theirs, and for nothing else.
    pub(crate) fn wall() -> Timestamp {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX))
    }

    /// The moment now.
    pub(crate) fn now(self) -> Timestamp {
        let since = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Timestamp(self.at_origin.0.saturating_add(since))
    }

    /// Converts a moment to the runtime's time.
    pub(super) fn instant(self, at: Timestamp) -> Instant {
        self.origin + at.since(self.at_origin).to_std()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_is_told_and_by_how_much() {
        let at = |seconds: u64| Timestamp(seconds * 1_000);
        let (from, until) = (at(10_000), at(20_000));
        for (told, words) in [
            (at(15_000), None),
            (at(20_060), None),
            (at(20_061), Some("1m1s ahead")),
            (Timestamp(u64::MAX), Some("213503982334d8h52m31s ahead")),
            (at(9_940), None),
            (at(9_000), Some("16m40s behind")),
            (at(0), Some("2h46m40s behind")),
        ] {
            assert_eq!(clock_error(told, from, until).as_deref(), words, "{told:?}");
        }
    }
}
