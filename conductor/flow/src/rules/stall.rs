//! When nobody but a person can help: which jobs are stuck, and so which flows are stalled.
//!
//! A job is *stuck* when none of its tasks is in flight, waits for a timer, or is about to be
//! looked at, and every waiting task waits for a dead gate: a cell in which only a person can make
//! room (`rules/holds`), or a canary that failed. Once all other tasks are stuck, those that wait
//! for predecessors in the slot, or for the canary, are stuck too: what they wait for waits itself,
//! or has failed for good. A flow is *stalled* when all its open jobs are stuck.
//!
//! So it is enough to look when the last task in flight of a job ends, and when one of its cells
//! dies or comes back to life.

use orchestra_model::{JobId, JobState, record::Impact};

use crate::{
    Engine,
    ids::{PlayerIx, TaskKind},
    rules::inconsistency::gone,
    tables::{job::Job, tree::Tree},
};

impl Engine {
    /// Looks whether a job is stuck, and lets its flow follow.
    pub(crate) fn note_stall(&mut self, id: JobId) {
        let Some(job) = self.job(id) else {
            return self.inconsistent(id.flow, "a job is evaluated that is not there");
        };
        let stuck = self.is_stuck(job);
        self.flows.set_stuck(id, stuck);
        let Some(flow) = self.flows.get(id.flow) else { return gone() };
        if flow.state() != flow.derived_state() {
            self.update_flow(id.flow);
        }
    }

    /// Whether nothing of the job goes on and only a person can help.
    pub(crate) fn is_stuck(&self, job: &Job) -> bool {
        let moves = job.is_queued()
            || job.counts().in_flight() > 0
            || job.delayed() > 0
            || job.tree().is_some_and(Tree::is_held)
            || job.absent() > 0
            || !job.ready().is_empty()
            || job.cursor() < job.admitted();
        if moves || !job.may_start() || job.state() != JobState::Running || job.waiting() == 0 {
            return false;
        }
        // Once the whole canary is ok, time or a promotion lets the others go.
        let canary = job.canary();
        if !canary.is_open && canary.ok == canary.tasks {
            return false;
        }
        let is_dead = |player: PlayerIx| self.is_dead_for(player, job.kind());
        let is_behind = |player: PlayerIx| self.gate_before(job, 0, player).is_some();
        match job.is_one_of() {
            true => {
                !job.is_parked(0)
                    || job
                        .candidates()
                        .filter(|(_, player)| self.roster[*player].is_member())
                        .all(|(_, player)| is_dead(player) || is_behind(player))
            }
            false => (0..job.parked_below())
                .filter(|index| job.is_parked(*index))
                .all(|index| is_dead(job.targets()[index as usize])),
        }
    }

    /// Whether only a person can let a task of this kind start on this player.
    pub(crate) fn is_dead_for(&self, ix: PlayerIx, kind: &TaskKind) -> bool {
        let player = &self.roster[ix];
        player.attached()
            && (player.drained().is_none() || kind.passes_drain())
            && !player.holds()
            && player.impact(kind) == Impact::Holds
            && player.waits_for_room()
            && self.roster.ledger().is_dead_in(player.cells())
    }
}
