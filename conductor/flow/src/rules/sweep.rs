//! Clears players' queues of entries whose tasks do not wait there any more: those of jobs that
//! were closed, and of one-of tasks that found their player. A turn clears a few. Until then such
//! an entry is dropped when it comes up.

use orchestra_model::JobId;

use crate::{
    Engine,
    tables::{deadlines::Deadline, leftover::Leftover, task::TaskRef},
};

/// Most queues that one turn looks into.
const TURN: u32 = 256;

impl Engine {
    /// Notes that players' queues hold entries of a one-of job whose task does not wait there any
    /// more.
    pub(crate) fn note_leftovers(&mut self, id: JobId) {
        if let Some(job) = self.job(id).filter(|job| job.is_one_of()) {
            let leftover = Leftover::of(job);
            self.leftovers.push_back(leftover);
        }
    }

    /// Takes such entries out of players' queues, at most [`TURN`] in a call.
    pub(crate) fn sweep(&mut self) {
        for _ in 0..TURN {
            let Some(leftover) = self.leftovers.front_mut() else { return };
            let Some(place) = leftover.left.checked_sub(1) else {
                self.leftovers.pop_front();
                continue;
            };
            leftover.left = place;
            let entry = TaskRef::new(leftover.job, place);
            // A one-of task may wait there again meanwhile.
            let is_meant = self.flows.job(entry.job()).is_some_and(|job| job.awaits(place));
            if is_meant {
                continue;
            }
            let (ix, give_up) = (leftover.targets[place as usize], leftover.give_up);
            let kind = &leftover.kind;
            if !self.roster.change(ix, |player| player.withdraw(kind, entry)) {
                continue;
            }
            let player = &self.roster[ix];
            let (away, detached_at) = (!player.attached(), player.detached_at());
            if let (Some((started_at, patience)), true) = (give_up, away) {
                let at = self.give_up_at(started_at, detached_at, patience);
                self.deadlines.remove(at, Deadline::GiveUp(entry));
            }
        }
    }
}
