//! Remembers which job parts a stream has carried lately.

use std::collections::VecDeque;

use bytes::Bytes;

/// How many job parts both ends of a stream remember: see `player.proto`.
pub(super) const REMEMBERED: usize = 64;

/// The job parts that the other end of a stream remembers, by their digests, oldest first.
#[derive(Debug, Default)]
pub(super) struct CarriedJobs(VecDeque<Bytes>);

impl CarriedJobs {
    /// Returns whether a job part has to be sent, and remembers it.
    pub(super) fn is_news(&mut self, digest: &Bytes) -> bool {
        if self.0.contains(digest) {
            return false;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(digest.clone());
        true
    }

    #[cfg(test)]
    pub(super) fn forget_all(&mut self) {
        self.0.clear();
    }
}
