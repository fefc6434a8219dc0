//! How long to wait before the next attempt to reach a conductor.
//!
//! A wait is drawn evenly between nothing and a ceiling (full jitter). The ceiling grows with the
//! time for which there has been no session, not with the number of failures. So an early attempt
//! costs nothing, and a wait is at most as long as the outage has lasted, or as the conductor asked
//! for. A conductor asks its players to come back within a time that grows with their number, so
//! that it can take a whole fleet that lost it at one moment.

use std::time::Duration;

use tokio::time::Instant;

use super::session::Accepted;

/// The ceiling never falls below this, unless the conductor asked for less.
pub(super) const BASE: Duration = Duration::from_millis(200);
/// The ceiling never grows beyond this, even if a conductor asks for more.
pub(super) const CAP: Duration = Duration::from_secs(30);
/// A session that lasted so long ended the outage before it.
const LASTED: Duration = Duration::from_secs(5);

/// Knows since when there has been no session.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// When the last session was lost, or the first attempt failed.
    out_since: Option<Instant>,
    /// What the last conductor asked for, within the cap.
    come_back_within: Option<Duration>,
}

impl Backoff {
    /// Notes a session that the conductor accepted.
    pub(super) fn had_session(&mut self, session: Accepted) {
        self.come_back_within = session.come_back_within.map(|within| within.min(CAP));
        if session.lasted >= LASTED {
            self.out_since = None;
        }
    }

    /// Returns the wait after a session was lost, or an attempt failed; `chance` is evenly
    /// distributed over all of `u64`.
    pub(super) fn after_failure(&mut self, now: Instant, chance: u64) -> Duration {
        jitter(self.ceiling(now), chance)
    }

    fn ceiling(&mut self, now: Instant) -> Duration {
        match (self.out_since, self.come_back_within) {
            (None, within) => {
                self.out_since = Some(now);
                within.unwrap_or(BASE)
            }
            (Some(since), within) => {
                let grown = BASE.saturating_add(now.saturating_duration_since(since)).min(CAP);
                grown.max(within.unwrap_or_default())
            }
        }
    }
}

/// Returns a wait that does not grow, for what is no failure of a conductor.
pub(super) fn pause(chance: u64) -> Duration {
    jitter(BASE, chance)
}

/// Returns a wait between nothing and the ceiling, evenly distributed.
fn jitter(ceiling: Duration, chance: u64) -> Duration {
    let nanos = (ceiling.as_nanos() * u128::from(chance)) >> u64::BITS;
    // The wait is below the ceiling, which is far below the 584 years that fit.
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_secs(60);

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn session(lasted: Duration, come_back_within: Option<Duration>) -> Accepted {
        Accepted { lasted, come_back_within }
    }

    #[test]
    fn the_ceiling_grows_with_the_outage_and_not_with_the_failures() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert_eq!(backoff.ceiling(start), BASE);
        }
        assert_eq!(backoff.ceiling(start + SECOND), BASE + SECOND);
        assert_eq!(backoff.ceiling(start + 20 * SECOND), BASE + 20 * SECOND);
        assert_eq!(backoff.ceiling(start + MINUTE), CAP);
        backoff.had_session(session(LASTED, None));
        assert_eq!(backoff.ceiling(start + 2 * MINUTE), BASE);
        assert_eq!(backoff.ceiling(start + 2 * MINUTE + SECOND), BASE + SECOND);
    }

    #[test]
    fn a_lost_session_is_followed_by_what_its_conductor_asked_for() {
        let start = Instant::now();
        // A small fleet: the first wait is short, and later ones grow as usual.
        let mut backoff = Backoff::default();
        backoff.had_session(session(MINUTE, Some(ms(2))));
        assert_eq!(backoff.ceiling(start), ms(2));
        assert_eq!(backoff.ceiling(start + ms(2)), BASE + ms(2));
        // A large fleet: players that came too early are spread as the others are.
        backoff.had_session(session(MINUTE, Some(9 * SECOND)));
        assert_eq!(backoff.ceiling(start), 9 * SECOND);
        assert_eq!(backoff.ceiling(start + SECOND), 9 * SECOND);
        assert_eq!(backoff.ceiling(start + 12 * SECOND), BASE + 12 * SECOND);
        // A conductor that asks for too much.
        backoff.had_session(session(MINUTE, Some(Duration::MAX)));
        assert_eq!(backoff.ceiling(start), CAP);
        // A conductor of a release that asks for nothing.
        backoff.had_session(session(MINUTE, None));
        assert_eq!(backoff.ceiling(start), BASE);
    }

    #[test]
    fn sessions_that_do_not_last_end_no_outage() {
        let start = Instant::now();
        let mut backoff = Backoff::default();
        backoff.had_session(session(MINUTE, Some(ms(2))));
        for seconds in 0..10 {
            backoff.after_failure(start + seconds * SECOND, 0);
            backoff.had_session(session(ms(1), Some(ms(2))));
        }
        assert_eq!(backoff.ceiling(start + 10 * SECOND), BASE + 10 * SECOND);
    }

    #[test]
    fn waits_are_spread_evenly_below_the_ceiling() {
        // Evenly spaced chances give evenly spaced waits: a quarter of them in each quarter.
        let quarters = (0..1_000_u64).fold([0; 4], |mut quarters, i| {
            let mut backoff = Backoff::default();
            backoff.had_session(session(MINUTE, Some(8 * SECOND)));
            let wait = backoff.after_failure(Instant::now(), i * (u64::MAX / 1_000));
            quarters[(wait.as_secs() / 2) as usize] += 1;
            quarters
        });
        assert!(quarters.iter().all(|n| (249..=251).contains(n)), "{quarters:?}");
    }

    proptest! {
        #[test]
        fn nobody_waits_longer_than_the_outage_or_than_was_asked_for(
            asked in proptest::option::of(0_u64..100_000),
            failures in proptest::collection::vec((0_u64..20_000, any::<u64>()), 1..100),
        ) {
            let start = Instant::now();
            let asked = asked.map(ms);
            let mut backoff = Backoff::default();
            backoff.had_session(session(MINUTE, asked));
            let mut now = start;
            for (dialling, chance) in failures {
                let wait = backoff.after_failure(now, chance);
                prop_assert!(wait <= (now - start + BASE).max(asked.unwrap_or_default()));
                prop_assert!(wait <= CAP);
                now += wait + ms(dialling);
            }
        }
    }
}
