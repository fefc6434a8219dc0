//! How fast instances are replaced.

use orchestra_model::{Millis, Timestamp};

/// How long a replacement takes of the time in which they may follow each other.
pub(crate) const PER_REPLACEMENT: Millis = Millis::seconds(10);

/// A bucket that fills with each replacement and empties with time. What is in it is on disk, so
/// that a conductor which starts again and again gives nothing for nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Bucket {
    /// What was in it.
    spent: Millis,
    /// When.
    at: Timestamp,
}

impl Bucket {
    /// One that has held so much since this moment.
    pub(crate) fn holding(spent: Millis, at: Timestamp) -> Self {
        Self { spent, at }
    }

    fn spent(self, now: Timestamp) -> Millis {
        Millis(self.spent.0.saturating_sub(now.since(self.at).0))
    }

    /// Returns whether there is room for one more, if there is room for so many at all.
    pub(crate) fn has_room(self, now: Timestamp, burst: u64) -> bool {
        self.next(now, burst) <= now
    }

    /// Returns when there is room for one more.
    pub(crate) fn next(self, now: Timestamp, burst: u64) -> Timestamp {
        let most = PER_REPLACEMENT.0.saturating_mul(burst.saturating_sub(1));
        now.after(Millis(self.spent(now).0.saturating_sub(most)))
    }

    /// Puts one in. Returns what is in it now.
    pub(crate) fn take(&mut self, now: Timestamp) -> Millis {
        *self = Self { spent: self.spent(now) + PER_REPLACEMENT, at: now };
        self.spent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_some_at_once_and_then_one_each_ten_seconds() {
        let mut bucket = Bucket::default();
        let mut given = Vec::new();
        for second in 0..60 {
            let now = Timestamp(1_000_000 + second * 1_000);
            while bucket.has_room(now, 3) {
                bucket.take(now);
                given.push(second);
            }
        }
        assert_eq!(given, [0, 0, 0, 10, 20, 30, 40, 50]);
        // What it held is held after a start, from then on.
        let spent = bucket.take(Timestamp(0));
        let again = Bucket::holding(spent, Timestamp(5));
        assert_eq!(again.next(Timestamp(5), 1), Timestamp(5 + spent.0));
    }
}
