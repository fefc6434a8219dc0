//! Which hosts come after which, within the present slot of a flow: promise 19.
//!
//! A cell that other cells come after is a *gate*. It is closed while a task of the slot that
//! counts in it is not ok. Tasks behind it lie in its queue, and are looked at again when none of
//! the gate's tasks is open any more. If one of these failed, tasks behind the gate that may go on
//! after failures do so (`sequence_on_failure`). The others queue again, until a person helps. Once
//! the job of the failed task has ended, nobody can help, and they are skipped.
//!
//! ```text
//! gate of cell A        tasks behind it
//! some task open        wait
//! all ok                go on
//! some failed           sequence_on_failure = continue: go on
//!   its job lives       sequence_on_failure = wait: wait for a person
//!   its job has ended   sequence_on_failure = wait: are skipped
//! ```
//!
//! Every task of a job that is not `unthrottled` counts in the cells of its host; a one-of task
//! counts in the cells of all candidates that are left to it. Only tasks whose score changes their
//! host wait at gates, and no task waits for itself. A one-of task lies in the queues of the gates
//! before some of its candidates, and may be parked on other candidates meanwhile.

use std::collections::BTreeMap;

use orchestra_model::{FlowId, JobId, TaskState, deployment::CellId, flow::SequenceOnFailure};

use crate::{
    Engine,
    ids::PlayerIx,
    rules::inconsistency::gone,
    tables::{
        job::Job,
        sequence::{cells_of, count},
        task::{Parked, TaskRef},
    },
};

impl Engine {
    /// Counts the gates of a flow's present slot anew, and has every task that waits at one look
    /// again.
    pub(crate) fn count_gates(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get_mut(id) else {
            return self.inconsistent(id, "a flow lines up that is not there");
        };
        let before = flow.take_sequence();
        for task in before.waiting() {
            self.look_again(task);
        }
        let (ledger, roster) = (self.roster.ledger(), &self.roster);
        let Some(flow) = self.flows.get_mut(id).filter(|_| ledger.has_sequences()) else { return };
        flow.set_sequence(count(ledger, roster, flow.present_slot()));
        self.note_one_of_changed(id);
    }

    /// Recounts a one-of task in the gates after its candidates have changed.
    pub(crate) fn recount_choice(&mut self, id: JobId) {
        if self.roster.ledger().has_sequences() {
            self.count_gates(id.flow);
        }
    }

    /// The counts that the gates of a flow's present slot should have, for the audit.
    pub(crate) fn counted_gates(&self, slot: &[Job]) -> BTreeMap<CellId, (u32, u32, bool)> {
        count(self.roster.ledger(), &self.roster, slot).counts()
    }

    /// Moves a task from one state to another in its gates, if that opens or closes them.
    pub(crate) fn step_in_line(&mut self, task: TaskRef, from: TaskState, to: TaskState) {
        if !self.roster.ledger().has_sequences() {
            return;
        }
        let Some(flow) = self.flows.get_mut(task.job().flow) else {
            return self
                .inconsistent(task.job().flow, "a task changes of a flow that is not there");
        };
        // A task of a later slot may end as well, when its player is removed.
        let is_present = usize::from(task.job().slot) == flow.slot() + 1;
        if flow.sequence().is_empty() || !is_present || (!from.is_final() && !to.is_final()) {
            return;
        }
        let mut sequence = flow.take_sequence();
        let Some(job) = flow.job(task.job()) else {
            flow.set_sequence(sequence);
            return self.inconsistent(task.job().flow, "a task changes of a job that is not there");
        };
        let cells = cells_of(self.roster.ledger(), &self.roster, job, task.index);
        let through = sequence.shift(cells, from, to);
        flow.set_sequence(sequence);
        // A one-of task may be parked on a player behind this gate, and not lie in the gate's
        // queue.
        self.note_one_of_changed(task.job().flow);
        for task in through {
            self.look_again(task);
        }
    }

    /// Looks again at the tasks in gates' queues whose host is this player's: it has told what it
    /// offers, so they may change nothing; or its host came down, so they may have begun already.
    pub(crate) fn look_again_on(&mut self, player: PlayerIx) {
        let mut looks = Vec::new();
        for flow in self.flows.iter().filter(|flow| !flow.sequence().is_empty()) {
            for job in flow.present_slot() {
                let waits = job.sequenced() > 0 || (job.is_one_of() && job.waiting() > 0);
                if !waits {
                    continue;
                }
                let changes = self.roster[player].is_disruptive(job.kind());
                let place = self.roster.place_among(job.targets(), player);
                let index = place.map(|place| job.index_of(place));
                let look = index.filter(|index| !changes || job.is_returning(*index));
                looks.extend(look.map(|index| TaskRef::new(job.id(), index)));
            }
        }
        for task in looks {
            self.leave_line(task);
            self.look_again(task);
        }
    }

    /// Has the one-of jobs evaluated after a host counts as down no more: a task that could have
    /// returned to it may now wait for gates alone.
    pub(crate) fn note_returning(&mut self) {
        self.flows.note_all_changed(|flow, job| {
            let is_present = usize::from(job.id().slot) == flow.slot() + 1;
            is_present && !flow.sequence().is_empty() && job.is_one_of() && job.is_returning(0)
        });
    }

    /// Lets the one-of jobs of a flow's present slot be evaluated.
    fn note_one_of_changed(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return gone() };
        let one_of = flow.present_slot().iter().filter(|job| job.is_one_of());
        let one_of: Vec<JobId> = one_of.map(Job::id).collect();
        one_of.into_iter().for_each(|job| self.flows.note_changed(job));
    }

    /// Has a job look again at a task that waited at a gate, if the task still does.
    fn look_again(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()).filter(|job| !job.is_closed()) else {
            return gone();
        };
        let waits = match job.place_of(task.index) {
            // A one-of task may be parked on other candidates meanwhile.
            Parked::Player => job.is_one_of(),
            place => place == Parked::Sequence,
        };
        if waits && job.state_of(task.index) == TaskState::Waiting {
            self.flows.change(task.job(), |job| job.make_ready(task.index));
            self.note_leftovers(task.job());
        }
    }

    /// The first closed gate of a task; for a one-of task only if none of its candidates may go on.
    pub(crate) fn sequence_gate(&self, job: &Job, index: u32) -> Option<CellId> {
        if !job.is_one_of() {
            return self.gate_before(job, index, job.targets()[index as usize]);
        }
        let gates = job.candidates().map(|(_, player)| self.gate_before(job, 0, player));
        let gates: Option<Vec<CellId>> = gates.collect();
        gates?.first().copied()
    }

    /// The first closed gate before a player's host, for a task of this job.
    pub(crate) fn gate_before(&self, job: &Job, index: u32, player: PlayerIx) -> Option<CellId> {
        if !self.roster.ledger().has_sequences() {
            return None;
        }
        let flow = self.flows.get(job.id().flow).filter(|flow| !flow.sequence().is_empty())?;
        let player = &self.roster[player];
        if job.spec().unthrottled || !player.is_disruptive(job.kind()) {
            return None;
        }
        // A task that has left its host down has begun. Its further attempt must not wait at a
        // gate, because the hosts before it may themselves wait for the cells that this host holds.
        if job.is_returning(index) && player.down().is_some() {
            return None;
        }
        let is_own = |cell: &CellId| match job.is_one_of() {
            true => cells_of(self.roster.ledger(), &self.roster, job, 0).contains(cell),
            false => player.cells().contains(cell),
        };
        let is_closed = |cell: &CellId| {
            let policy = job.spec().sequence_on_failure;
            flow.sequence().is_closed(*cell, || is_own(cell), policy)
        };
        let before = player.cells().iter().flat_map(|cell| self.roster.ledger().before(*cell));
        before.copied().find(is_closed)
    }

    /// Puts a task into the queue of a closed gate, or skips it if nobody can open the gate any
    /// more.
    pub(crate) fn stand_in_line(&mut self, task: TaskRef, cell: CellId) {
        if self.is_in_vain(task.job(), cell) {
            let why =
                format!("{} did not all end ok before it", self.deployments().cells()[cell].key);
            let Some(job) = self.job(task.job()) else {
                return self.inconsistent(task.job().flow, "a task stands in line of no job");
            };
            let state = job.task(task.index).given_up_as(TaskState::Skipped);
            return self.finish(task, state, Some(&why));
        }
        self.stand_in_lines(task, [cell]);
        self.flows.change(task.job(), |job| job.stand_in_line(task.index));
    }

    /// Whether nobody can open a gate for this job any more.
    pub(crate) fn is_in_vain(&self, id: JobId, cell: CellId) -> bool {
        self.flows.get(id.flow).is_some_and(|flow| {
            let waits = |job: &Job| job.spec().sequence_on_failure == SequenceOnFailure::Wait;
            flow.sequence().is_lost(cell) && flow.job(id).is_some_and(waits)
        })
    }

    /// Puts a task into the queues of gates. The caller notes how the task is parked.
    pub(crate) fn stand_in_lines(
        &mut self,
        task: TaskRef,
        cells: impl IntoIterator<Item = CellId>,
    ) {
        let Some(flow) = self.flows.get_mut(task.job().flow) else {
            return self.inconsistent(task.job().flow, "a task stands in line of no flow");
        };
        for cell in cells {
            flow.sequence_mut().join(cell, task);
        }
    }

    /// Takes a task out of the queue of its gate.
    pub(crate) fn leave_line(&mut self, task: TaskRef) {
        if let Some(flow) = self.flows.get_mut(task.job().flow) {
            flow.sequence_mut().leave(task);
        }
    }
}
