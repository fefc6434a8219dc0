//! Waiting between attempts.

use std::time::Duration;

use rustix::rand::{GetRandomFlags, getrandom};
use tokio::time::{Instant, sleep_until};

use crate::failure::Failure;

/// The first pause. A conductor that restarts is back within a few of these.
const FIRST: Duration = Duration::from_millis(50);

/// The longest pause, so that a conductor's return is noticed soon.
const LONGEST: Duration = Duration::from_secs(5);

/// Pauses that double, with jitter, so that a thousand waiting programs do not return all at once.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Backoff {
    /// Returns a backoff that begins with the first pause.
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    /// Waits. Returns `false` at once if the deadline is before the end of the pause.
    pub async fn pause(&mut self, deadline: Option<Instant>) -> bool {
        let end = Instant::now() + jittered(self.next);
        self.next = (self.next * 2).min(LONGEST);
        if deadline.is_some_and(|deadline| end >= deadline) {
            return false;
        }
        sleep_until(end).await;
        true
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns a time between half of the pause and all of it.
fn jittered(pause: Duration) -> Duration {
    let mut chance = [0; 2];
    // Without random bytes there is no jitter, which is no reason to fail.
    let share = random(&mut chance).map_or(0, |()| u32::from(u16::from_le_bytes(chance)));
    pause / 2 + pause / 2 * share / 65_536
}

/// Fills the bytes at random.
pub(crate) fn random(bytes: &mut [u8]) -> Result<(), Failure> {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match getrandom(rest, GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(Failure::broken("drawing a random number").because(error)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jitter_stays_within_the_pause() {
        for _ in 0..1_000 {
            let pause = jittered(LONGEST);
            assert!(pause >= LONGEST / 2 && pause <= LONGEST, "{pause:?}");
        }
    }
}
