//! How much is sent in a second, by all children together.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use orchestra_model::ByteSize;
use tokio::time::Instant;

/// A rate that all children share. Whoever sends reserves the time that its bytes take, one after the
/// other.
#[derive(Debug)]
pub(crate) struct Rate {
    /// In bytes; `None`: no bound.
    per_second: Option<u64>,
    /// When everything that was reserved is sent.
    free_from: Mutex<Option<Instant>>,
}

impl Rate {
    pub(crate) fn new(per_second: Option<ByteSize>) -> Self {
        Self { per_second: per_second.map(|size| size.0.max(1)), free_from: Mutex::new(None) }
    }

    /// Returns from when on so many bytes may be sent.
    pub(crate) fn reserve(&self, bytes: usize, now: Instant) -> Instant {
        let Some(per_second) = self.per_second else { return now };
        let mut free_from = self.free_from.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = free_from.map_or(now, |free| free.max(now));
        let takes = Duration::from_secs_f64(bytes as f64 / per_second as f64);
        *free_from = Some(begin + takes);
        begin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_each_other_at_the_rate() {
        let rate = Rate::new(Some(ByteSize(1_000)));
        let now = Instant::now();
        assert_eq!(rate.reserve(500, now), now);
        assert_eq!(rate.reserve(2_000, now), now + Duration::from_millis(500));
        assert_eq!(rate.reserve(1, now), now + Duration::from_millis(2_500));
        // Nothing is saved up while nobody sends.
        let later = now + Duration::from_secs(60);
        assert_eq!(rate.reserve(1_000, later), later);
        assert_eq!(rate.reserve(1, later), later + Duration::from_secs(1));
        let unbound = Rate::new(None);
        assert_eq!((unbound.reserve(1 << 30, now), unbound.reserve(1, now)), (now, now));
    }
}
