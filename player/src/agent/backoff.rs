//! How long to wait before the next attempt to reach a conductor.
//!
//! Exponential with full jitter: anything from nothing to a ceiling that doubles. A fleet that
//! lost its conductor at one moment comes back spread over time, whatever its size.

use std::time::Duration;

/// The ceiling of the first wait.
pub(super) const BASE: Duration = Duration::from_millis(200);
/// The ceiling never grows beyond this.
pub(super) const CAP: Duration = Duration::from_secs(30);

/// Counts failures in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after one more failure; `chance` is evenly distributed over all of `u64`.
    pub(super) fn after_failure(&mut self, chance: u64) -> Duration {
        let ceiling = self.ceiling();
        self.failures = self.failures.saturating_add(1);
        let nanos = (ceiling.as_nanos() * u128::from(chance)) >> u64::BITS;
        // Below the ceiling, which is far below the 584 years that fit.
        Duration::from_nanos(nanos as u64)
    }

    /// Forgets the failures: a session has lasted.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    fn ceiling(&self) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        BASE.saturating_mul(factor).min(CAP)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<u128> =
            (0..100).map(|_| backoff.after_failure(u64::MAX).as_millis()).collect();
        assert_eq!(waits[..4], [199, 399, 799, 1599]);
        assert!(waits[8..].iter().all(|wait| *wait == 29_999), "{waits:?}");
        backoff.reset();
        assert_eq!(backoff.after_failure(u64::MAX).as_millis(), 199);
    }

    #[test]
    fn waits_are_spread_evenly_below_the_ceiling() {
        // Evenly spaced chances give evenly spaced waits: a quarter of them in each quarter.
        let quarters = (0..1_000_u64).fold([0; 4], |mut quarters, i| {
            let wait = Backoff::default().after_failure(i * (u64::MAX / 1_000));
            quarters[(wait.as_nanos() * 4 / BASE.as_nanos()) as usize] += 1;
            quarters
        });
        assert!(quarters.iter().all(|n| (249..=251).contains(n)), "{quarters:?}");
    }

    proptest! {
        #[test]
        fn no_wait_is_beyond_its_ceiling(failures in 0_u32..200, chance: u64) {
            let mut backoff = Backoff { failures };
            let ceiling = backoff.ceiling();
            let wait = backoff.after_failure(chance);
            prop_assert!(wait < ceiling && ceiling <= CAP && ceiling >= BASE);
        }
    }
}
