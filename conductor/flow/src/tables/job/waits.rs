//! Why the waiting tasks of a job wait, from what the job itself knows.

use std::collections::BTreeMap;

use orchestra_model::{JobState, WaitReason, status::CanaryStatus};

use super::{Canary, Job};

/// What holds a job back of which it knows nothing itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Its flow has not begun, and it is of the first slot.
    pub(crate) by_start: bool,
    /// The store may be an old copy.
    pub(crate) by_store: bool,
}

impl Job {
    /// Why its waiting tasks wait, counted without a look at each: tasks parked on attached players
    /// are counted as busy, whatever their finer reason.
    pub(crate) fn waiting_reasons(&self, held: Held) -> BTreeMap<WaitReason, u32> {
        let mut reasons = BTreeMap::new();
        let waiting = self.waiting();
        if waiting == 0 {
            return reasons;
        }
        if let Some(reason) = self.whole_reason(held) {
            reasons.insert(reason, waiting);
            return reasons;
        }
        let held_back = if self.canary.is_open { 0 } else { self.total() - self.canary.tasks };
        let apart = self.parked + self.sequenced + self.delayed + self.unserved() + held_back;
        for (reason, tasks) in [
            (WaitReason::Window, waiting.saturating_sub(apart)),
            (WaitReason::Canary, held_back),
            (WaitReason::RetryDelay, self.delayed),
            (WaitReason::Sequence, self.sequenced),
            (WaitReason::Parent, self.unserved()),
            (WaitReason::PlayerAbsent, self.absent),
            (WaitReason::PlayerBusy, self.parked - self.absent),
        ] {
            if tasks > 0 {
                reasons.insert(reason, tasks);
            }
        }
        reasons
    }

    /// The one reason why all of its waiting tasks wait, if there is one.
    pub(crate) fn whole_reason(&self, held: Held) -> Option<WaitReason> {
        match self.state {
            JobState::Pending if held.by_start => Some(WaitReason::Start),
            JobState::Pending => Some(WaitReason::Slot),
            JobState::Doomed => Some(WaitReason::Doomed),
            _ if held.by_store => Some(WaitReason::StaleStore),
            _ if self.paused => Some(WaitReason::Paused),
            _ if self.quorum.needed > 0 => Some(WaitReason::Quorum),
            _ => None,
        }
    }

    /// How far its canary is, while the canary holds others back.
    pub(crate) fn canary_status(&self) -> Option<CanaryStatus> {
        let Canary { tasks, ok, ok_at, is_open, .. } = self.canary;
        let until = ok_at.zip(self.spec.bake).map(|(at, bake)| at.after(bake));
        (!is_open).then_some(CanaryStatus { tasks, ok, until })
    }
}
