//! How fast tasks end, and how long the present slot will take at that.

use std::collections::VecDeque;

use orchestra_model::{
    state::JobState,
    status::{FlowStatus, JobStatus},
    time::{Millis, Timestamp},
};

/// The pace is that of this last while.
const WINDOW: Millis = Millis(60_000);

/// Looks that are remembered within it.
const LOOKS: usize = 240;

/// From so many ends on there is a pace.
const ENOUGH: u32 = 3;

/// What was seen of the slots that go on: when how many of their tasks were over.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    looks: VecDeque<(Timestamp, u32)>,
    /// Tasks of the present slot that are not over.
    left: u32,
}

impl Pace {
    /// Notes how a flow stands.
    pub(crate) fn note(&mut self, flow: &FlowStatus, now: Timestamp) {
        let jobs = || flow.slots.iter().flatten();
        let over = jobs().filter(|job| job.state != JobState::Skipped);
        let over = over.map(|job| job.counts.finished()).sum();
        // A retry makes tasks wait again that were over.
        if self.looks.back().is_some_and(|(at, before)| over < *before || now < *at) {
            self.looks.clear();
        }
        let living = jobs().filter(|job| matches!(job.state, JobState::Running | JobState::Doomed));
        self.left = living.map(|job: &JobStatus| job.counts.total() - job.counts.finished()).sum();
        self.looks.push_back((now, over));
        let is_old = |at: &Timestamp| now.since(*at) > WINDOW;
        // The first look that is kept is the last one before the window.
        while self.looks.len() > LOOKS || self.looks.get(1).is_some_and(|(at, _)| is_old(at)) {
            self.looks.pop_front();
        }
    }

    /// How many tasks end in a second, thousandths of that; `None` where too few did.
    fn per_1000_seconds(&self) -> Option<u64> {
        let ((first, before), (last, after)) = (self.looks.front()?, self.looks.back()?);
        let (ended, took) = (after - before, last.since(*first).0);
        if ended < ENOUGH || took < 1_000 {
            return None;
        }
        Some(u64::from(ended) * 1_000_000 / took)
    }

    /// `2.1/s`, `30/min` or `12/h`; `None` where too few tasks ended lately.
    pub(super) fn rate(&self) -> Option<String> {
        let pace = self.per_1000_seconds()?;
        Some(match pace {
            100_000.. => format!("{}/s", pace / 1_000),
            1_000.. => format!("{}.{}/s", pace / 1_000, pace % 1_000 / 100),
            17.. => format!("{}/min", pace * 60 / 1_000),
            _ => format!("{}/h", pace * 3_600 / 1_000),
        })
    }

    /// How long what is left of the present slot takes at this pace, to the second.
    pub(super) fn left(&self) -> Option<Millis> {
        let pace = self.per_1000_seconds().filter(|pace| *pace > 0)?;
        (self.left > 0).then(|| Millis((u64::from(self.left) * 1_000).div_ceil(pace) * 1_000))
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{state::TaskState, status::Counts};

    use super::*;
    use crate::view::samples;

    /// The pace after looks at so many milliseconds, of `web`'s 100 tasks with so many ok.
    fn pace(looks: &[(u64, u32)]) -> Pace {
        let mut pace = Pace::default();
        for (ms, ok) in looks {
            let mut flow = samples::running();
            let mut counts = Counts::all_in(TaskState::Waiting, 100);
            counts.shift_many(TaskState::Waiting, TaskState::Ok, *ok);
            flow.slots[1][0].counts = counts;
            pace.note(&flow, Timestamp(samples::SUBMITTED.0 + ms));
        }
        pace
    }

    fn told(looks: &[(u64, u32)]) -> (Option<String>, Option<u64>) {
        let pace = pace(looks);
        (pace.rate(), pace.left().map(|left| left.0 / 1_000))
    }

    #[test]
    fn the_pace_is_that_of_the_last_minute() {
        assert_eq!(told(&[(0, 0), (10_000, 20)]), (Some("2.0/s".into()), Some(40)));
        assert_eq!(told(&[(0, 0), (30_000, 5)]), (Some("9/min".into()), Some(573)));
        // What was long ago is forgotten, but for the look that the minute begins with.
        let slower = [(0, 0), (10_000, 60), (100_000, 66)];
        assert_eq!(told(&slower), (Some("3/min".into()), Some(516)));
    }

    #[test]
    fn too_little_is_no_pace() {
        for looks in [&[(0, 0)][..], &[(0, 0), (10_000, 2)], &[(0, 0), (500, 50)]] {
            assert_eq!(told(looks), (None, None));
        }
        // A retry begins anew.
        assert_eq!(told(&[(0, 50), (10_000, 40)]), (None, None));
    }

    #[test]
    fn a_pace_takes_little_room() {
        let looks: Vec<(u64, u32)> = (0..10_000).map(|n| (n, 0)).collect();
        assert_eq!(pace(&looks).looks.len(), LOOKS);
    }
}
