//! Bounds what the log says of failures that repeat: each is logged at once, then at most once a
//! minute.

use std::time::Duration;

use tokio::time::Instant;

/// The least time between two log lines of the same failure.
const AGAIN: Duration = Duration::from_secs(60);
/// Most different failures that are remembered. Beyond it the oldest is forgotten, and may be
/// logged again too early.
const KINDS: usize = 16;

/// Failures that were logged, and when.
#[derive(Debug, Default)]
pub(super) struct Complaints(Vec<Complaint>);

#[derive(Debug)]
struct Complaint {
    text: String,
    told: Instant,
    withheld: u64,
}

impl Complaints {
    /// Returns, if `text` is to be logged now, how often it was withheld since it was logged last.
    pub(super) fn worth_telling(&mut self, text: &str, now: Instant) -> Option<u64> {
        if let Some(known) = self.0.iter_mut().find(|known| known.text == text) {
            if now.duration_since(known.told) < AGAIN {
                known.withheld += 1;
                return None;
            }
            known.told = now;
            return Some(std::mem::take(&mut known.withheld));
        }
        if self.0.len() == KINDS {
            self.0.remove(0);
        }
        self.0.push(Complaint { text: text.to_owned(), told: now, withheld: 0 });
        Some(0)
    }

    /// Forgets all failures after a success, so that the next failure is news.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_failure_is_told_once_a_minute() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut complaints = Complaints::default();
        assert_eq!(complaints.worth_telling("a", at(0)), Some(0));
        assert_eq!(complaints.worth_telling("a", at(1)), None);
        assert_eq!(complaints.worth_telling("b", at(2)), Some(0));
        assert_eq!(complaints.worth_telling("a", at(59)), None);
        assert_eq!(complaints.worth_telling("a", at(60)), Some(2));
        assert_eq!(complaints.worth_telling("a", at(119)), None);
        complaints.forget();
        assert_eq!(complaints.worth_telling("a", at(119)), Some(0));
    }

    #[test]
    fn what_is_kept_in_mind_is_bounded() {
        let now = Instant::now();
        let mut complaints = Complaints::default();
        for n in 0..1_000 {
            assert_eq!(complaints.worth_telling(&n.to_string(), now), Some(0));
        }
        assert_eq!(complaints.0.len(), KINDS);
    }
}
