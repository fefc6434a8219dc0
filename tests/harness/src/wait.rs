//! Waiting for a condition: a test looks again and again, and does not sleep for a fixed time.

use std::{
    fmt, thread,
    time::{Duration, Instant},
};

/// Longest that a condition is waited for where a test does not say. None is expected to come near
/// it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How often a condition is looked at.
pub(crate) const LOOK: Duration = Duration::from_millis(10);

/// Waits until `look` finds something. Fails after [`PATIENCE`], naming what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, what, look)
}

/// Waits until `look` finds something. Fails after `patience`, naming what was waited for.
#[track_caller]
pub fn within<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    until(patience, what, || look().ok_or(""))
}

/// Waits until `look` finds something. Fails after `patience`, naming what was waited for and what
/// was seen instead when it was looked at last.
#[track_caller]
pub fn until<T, S: fmt::Display>(
    patience: Duration,
    what: &str,
    mut look: impl FnMut() -> Result<T, S>,
) -> T {
    let deadline = Instant::now() + patience;
    loop {
        // The clock is read before the look: what is true at the deadline counts.
        let is_late = Instant::now() >= deadline;
        let seen = match look() {
            Ok(found) => return found,
            Err(seen) => seen,
        };
        assert!(!is_late, "waited {patience:?} in vain for: {what}\n{seen}");
        thread::sleep(LOOK);
    }
}
