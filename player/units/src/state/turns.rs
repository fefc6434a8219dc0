//! How often a unit turns from ready to unhealthy and back.

use std::collections::VecDeque;

use crate::bounds;

/// The last moments at which a unit turned unhealthy, or healthy again (ms of the units' clock),
/// and how often it turned since its last order. At most [`bounds::FLAPS`] moments are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    recent: VecDeque<u64>,
    count: u32,
}

impl Turns {
    /// Returns turns at these moments, the oldest first, of `count` in all; `None` if there cannot
    /// be such turns.
    pub fn from_moments(recent: impl IntoIterator<Item = u64>, count: u32) -> Option<Self> {
        let recent: VecDeque<u64> = recent.into_iter().collect();
        let is_whole = recent.len() == bounds::FLAPS.min(count as usize);
        (is_whole && recent.iter().is_sorted()).then_some(Turns { recent, count })
    }

    /// The last moments, the oldest first.
    pub fn moments(&self) -> impl Iterator<Item = u64> {
        self.recent.iter().copied()
    }

    /// How often the unit turned since its last order.
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

    /// Returns until when the unit is flapping: it turned often within a short time, and is quiet
    /// long enough only then.
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
