//! How often a unit turns from ready to unhealthy and back.

use std::collections::VecDeque;

use crate::bounds;

/// The last moments at which a unit turned unhealthy, or healthy again (ms of the units' clock), at most
/// [`bounds::FLAPS`], and how many there were since its last order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    recent: VecDeque<u64>,
    count: u32,
}

impl Turns {
    /// These moments, the oldest first, of so many in all; `None` where they cannot be.
    pub fn from_moments(recent: impl IntoIterator<Item = u64>, count: u32) -> Option<Self> {
        let recent: VecDeque<u64> = recent.into_iter().collect();
        let is_whole = recent.len() == bounds::FLAPS.min(count as usize);
        (is_whole && recent.iter().is_sorted()).then_some(Turns { recent, count })
    }

    /// The last moments, the oldest first.
    pub fn moments(&self) -> impl Iterator<Item = u64> {
        self.recent.iter().copied()
    }

    /// How many there were since the last order.
    pub fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn note(&mut self, at: u64) {
        if self.recent.len() == bounds::FLAPS {
            self.recent.pop_front();
        }
        self.recent.push_back(at);
        self.count = self.count.saturating_add(1);
    }

    /// When the unit will have been quiet for long enough, if it turned often within a short time.
    pub(crate) fn flapping_until(&self) -> Option<u64> {
        let is_often = self.recent.len() == bounds::FLAPS;
        let (first, last) = (self.recent.front()?, self.recent.back()?);
        let is_often = is_often && last.saturating_sub(*first) <= bounds::FLAPPING_MS;
        is_often.then(|| last.saturating_add(bounds::QUIET_MS))
    }

    pub(crate) fn is_flapping(&self, at: u64) -> bool {
        self.flapping_until().is_some_and(|until| at < until)
    }
}
