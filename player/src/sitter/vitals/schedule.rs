//! When samples are taken, and when they are sent. Nothing here reads a clock.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use orchestra_model::{
    HostName,
    vitals::{BATCH, SAMPLED_MS},
};

use crate::sitter::clock::BootMillis;

/// Longest time for which somebody is taken to look who has asked once, in milliseconds.
const LIVE_MS: u64 = 60_000;
/// The least time between two samples, in milliseconds: of a shorter one nothing can be said.
const APART_MS: u64 = 2_000;
/// How many samples of a session are sent first: of what is used up in some time it takes two.
const FIRST: usize = 2;

/// The moments at which this player does by itself what has to be done now and then: one every
/// [`SAMPLED_MS`], so that all of it costs one wake-up. Players of one machine have different ones.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beat {
    offset: u64,
}

impl Beat {
    /// The moments of a player.
    pub(crate) fn of(player: &HostName) -> Self {
        let mut hasher = DefaultHasher::new();
        player.as_str().hash(&mut hasher);
        Self { offset: hasher.finish() % SAMPLED_MS }
    }

    /// The first one after this.
    pub(crate) fn after(self, now: BootMillis) -> BootMillis {
        let passed = (now.0 + SAMPLED_MS - self.offset) % SAMPLED_MS;
        now.after(SAMPLED_MS - passed)
    }
}

/// When the next sample is due, and what becomes of it.
#[derive(Debug)]
pub(super) struct Schedule {
    beat: Beat,
    asked: Option<Asked>,
}

/// Somebody wants samples.
#[derive(Debug)]
struct Asked {
    /// Until then each is sent at once.
    live_until: BootMillis,
    due: BootMillis,
    /// How many were taken, and not sent.
    gathered: usize,
    /// Whether any was sent.
    is_begun: bool,
}

impl Schedule {
    /// Nobody wants samples yet.
    pub(super) fn new(beat: Beat) -> Self {
        Self { beat, asked: None }
    }

    /// Somebody asks for samples from now on, and for so many milliseconds for each at once. Whether
    /// what was gathered is to be sent now.
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

    /// Nobody wants any more.
    pub(super) fn end(&mut self) {
        self.asked = None;
    }

    /// When the next sample is to be taken.
    pub(super) fn due(&self) -> Option<BootMillis> {
        self.asked.as_ref().map(|asked| asked.due)
    }

    /// A sample was taken. Whether what was gathered is to be sent now.
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

    /// Takes what was gathered for sent. Whether there was anything.
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

    /// Lets so many samples be taken on time. How many samples each sending has, and the moments.
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
        // However long somebody wants to have looked.
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
