//! When samples are taken, and when they are sent. Nothing here reads a clock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use orchestra_model::{
    HostName,
    vitals::{BATCH, SAMPLED_MS},
};

use crate::sitter::clock::BootMillis;

/// Longest time for which one request counts as a look, in milliseconds.
const LIVE_MS: u64 = 60_000;
/// The least time between two samples, in milliseconds: a shorter one says too little.
const APART_MS: u64 = 2_000;
/// How many first samples of a session are sent at once: a rate takes two.
const FIRST: usize = 2;

/// The moments at which this player does what has to be done now and then: one every
/// [`SAMPLED_MS`], so that all of it costs one wake-up. Players of one machine have different
/// moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    offset: u64,
}

impl Beat {
    /// Returns the moments of a player.
    pub(crate) fn of(player: &HostName) -> Self {
        let mut hasher = DefaultHasher::new();
        player.as_str().hash(&mut hasher);
        Self { offset: hasher.finish() % SAMPLED_MS }
    }

    /// Returns the first moment after `now`.
    pub(crate) fn after(self, now: BootMillis) -> BootMillis {
        let passed = (now.0 + SAMPLED_MS - self.offset) % SAMPLED_MS;
        now.after(SAMPLED_MS - passed)
    }
}

/// When the next sample is due, and when samples are sent.
#[derive(Debug)]
pub(super) struct Schedule {
    beat: Beat,
    asked: Option<Asked>,
}

/// A request for samples.
#[derive(Debug)]
struct Asked {
    /// Until then each sample is sent at once.
    live_until: BootMillis,
    due: BootMillis,
    /// How many samples were taken and are not sent yet.
    gathered: usize,
    /// Whether any sample was sent.
    is_begun: bool,
}

impl Schedule {
    /// Returns a schedule without a request.
    pub(super) fn new(beat: Beat) -> Self {
        Self { beat, asked: None }
    }

    /// Takes a request for samples from now on, which wants each sample at once for `live_for`
    /// milliseconds. Returns whether what was gathered is to be sent now.
    pub(super) fn ask(&mut self, now: BootMillis, live_for: u64) -> bool {
        let asked = self.asked.get_or_insert(Asked {
            live_until: now,
            due: now,
            gathered: 0,
            is_begun: false,
        });
        asked.live_until = asked.live_until.max(now.after(live_for.min(LIVE_MS)));
        asked.is_live(now) && asked.send()
    }

    /// Ends the request.
    pub(super) fn end(&mut self) {
        self.asked = None;
    }

    /// Returns when the next sample is to be taken.
    pub(super) fn due(&self) -> Option<BootMillis> {
        self.asked.as_ref().map(|asked| asked.due)
    }

    /// Notes that a sample was taken. Returns whether what was gathered is to be sent now.
    pub(super) fn sampled(&mut self, now: BootMillis) -> bool {
        let Some(asked) = &mut self.asked else { return false };
        asked.due = self.beat.after(now.after(APART_MS));
        asked.gathered += 1;
        let enough = if asked.is_begun { BATCH } else { FIRST };
        (asked.gathered >= enough || asked.is_live(now)) && asked.send()
    }
}

impl Asked {
    fn is_live(&self, now: BootMillis) -> bool {
        now < self.live_until
    }

    /// Notes that what was gathered is sent. Returns whether there was anything.
    fn send(&mut self) -> bool {
        let any = std::mem::take(&mut self.gathered) > 0;
        self.is_begun |= any;
        any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: BootMillis = BootMillis(1_000_000);

    fn schedule() -> Schedule {
        Schedule::new(Beat { offset: 3_000 })
    }

    /// Takes so many samples on time. Returns how many samples each message has, and the moments.
    fn run(schedule: &mut Schedule, samples: usize) -> (Vec<usize>, Vec<u64>) {
        let (mut sent, mut moments, mut gathered) = (Vec::new(), Vec::new(), 0);
        for _ in 0..samples {
            let now = schedule.due().unwrap();
            moments.push(now.0);
            gathered += 1;
            if schedule.sampled(now) {
                sent.push(std::mem::take(&mut gathered));
            }
        }
        (sent, moments)
    }

    #[test]
    fn nothing_is_due_unless_somebody_asks_and_until_the_session_ends() {
        let mut schedule = schedule();
        assert_eq!(schedule.due(), None);
        assert!(!schedule.ask(START, 0), "there is nothing to send");
        assert_eq!(schedule.due(), Some(START));
        schedule.end();
        assert_eq!(schedule.due(), None);
        assert!(!schedule.sampled(START), "a round that was begun before is of no use to anybody");
    }

    #[test]
    fn one_sample_every_ten_seconds_and_six_of_them_at_once() {
        let mut schedule = schedule();
        schedule.ask(START, 0);
        let (sent, moments) = run(&mut schedule, 15);
        assert_eq!(sent, [2, 6, 6], "the first two are sent together, so that there is something");
        assert_eq!(moments[..4], [1_000_000, 1_003_000, 1_013_000, 1_023_000]);
        assert_eq!(moments[14], 1_003_000 + 13 * SAMPLED_MS);
    }

    #[test]
    fn while_somebody_looks_each_is_sent_at_once() {
        let mut schedule = schedule();
        schedule.ask(START, 0);
        assert_eq!(run(&mut schedule, 5).0, [2]);
        let now = schedule.due().unwrap();
        assert!(schedule.ask(now, 25_000), "what was gathered is sent at once");
        assert!(!schedule.ask(now, 25_000));
        assert_eq!(run(&mut schedule, 9).0, [1, 1, 1, 6]);
        // However long the request says.
        let now = schedule.due().unwrap();
        schedule.ask(now, u64::MAX);
        assert_eq!(run(&mut schedule, 12).0, [1, 1, 1, 1, 1, 1, 6]);
    }

    #[test]
    fn a_sitter_that_is_late_takes_no_sample_twice() {
        let mut schedule = schedule();
        schedule.ask(START, 0);
        schedule.sampled(BootMillis(1_002_000));
        assert_eq!(schedule.due(), Some(BootMillis(1_013_000)), "the next one is too near");
        schedule.sampled(BootMillis(1_055_000));
        assert_eq!(schedule.due(), Some(BootMillis(1_063_000)));
    }

    #[test]
    fn a_beat_is_every_ten_seconds_and_never_now() {
        let beat = Beat { offset: 3_000 };
        for (now, next) in [(0, 3_000), (2_999, 3_000), (3_000, 13_000), (12_999, 13_000)] {
            assert_eq!(beat.after(BootMillis(now)), BootMillis(next));
        }
        let of = |name: &str| Beat::of(&HostName::new(name).unwrap()).offset;
        assert_eq!(of("db1"), of("db1"));
        assert_ne!(of("db1"), of("db2"));
    }
}
