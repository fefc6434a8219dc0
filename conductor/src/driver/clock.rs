//! Time as the engine is told it.

use std::time::{SystemTime, UNIX_EPOCH};

use orchestra_model::Timestamp;
use tokio::time::Instant;

/// A clock that follows wall time at the start and never runs back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    at_origin: Timestamp,
}

impl Clock {
    /// A clock that begins at the present wall time.
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let at_origin = Timestamp(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX));
        Self { origin: Instant::now(), at_origin }
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
