//! Waiting for a condition.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longest that any condition is waited for, where a test does not say. None is expected to come
/// near it.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// Waits until `look` finds something. Fails, naming what was waited for, after a minute.
pub(crate) fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits until `look` finds something. Fails, naming what was waited for, after `patience`.
pub(crate) fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        // Asked after the look: what is true at the deadline counts.
        let late = Instant::now() >= deadline;
        if let Some(found) = look() {
            return found;
        }
        assert!(!late, "waited {patience:?} in vain for: {what}");
        thread::sleep(LOOK);
    }
}
