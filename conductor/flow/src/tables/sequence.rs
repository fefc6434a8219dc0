//! The gates of a flow's present slot: the cells that other cells come after, and the tasks that
//! wait for them.

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{JobState, TaskState, deployment::CellId, flow::SequenceOnFailure};

use crate::{
    ids::PlayerIx,
    tables::{job::Job, ledger::Ledger, roster::Roster, task::TaskRef},
};

/// The gates of a flow's present slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sequence(BTreeMap<CellId, Gate>);

/// A cell that others come after: the counts of its tasks in the slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Gate {
    /// Tasks that are not final.
    open: u32,
    /// Tasks that ended otherwise than ok.
    failed: u32,
    /// Whether one of those was of a job that has ended, so that it will never be ok.
    lost: bool,
    /// The tasks that wait for this gate.
    waiting: BTreeSet<TaskRef>,
}

impl Sequence {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What each gate counts, for the audit.
    pub(crate) fn counts(&self) -> BTreeMap<CellId, (u32, u32, bool)> {
        self.0.iter().map(|(cell, gate)| (*cell, (gate.open, gate.failed, gate.lost))).collect()
    }

    /// Whether something failed in a cell that will never be ok.
    pub(crate) fn is_lost(&self, cell: CellId) -> bool {
        self.0.get(&cell).is_some_and(|gate| gate.lost)
    }

    pub(crate) fn waiting(&self) -> impl Iterator<Item = TaskRef> {
        self.0.values().flat_map(|gate| gate.waiting.iter().copied())
    }

    /// Whether a cell's gate is closed for a task. `is_own` says whether the task itself counts in
    /// the cell, `policy` whether its job goes on after failures.
    pub(crate) fn is_closed(
        &self,
        cell: CellId,
        is_own: impl FnOnce() -> bool,
        policy: SequenceOnFailure,
    ) -> bool {
        self.0.get(&cell).is_some_and(|gate| {
            let own = u32::from(gate.open > 0 && is_own());
            gate.is_closed(own, policy)
        })
    }

    /// Moves a task from one state to another in the gates of these cells. Returns the tasks that
    /// wait there no longer.
    pub(crate) fn shift(
        &mut self,
        cells: BTreeSet<CellId>,
        from: TaskState,
        to: TaskState,
    ) -> Vec<TaskRef> {
        let open = |state: TaskState| u32::from(!state.is_final());
        let failed = |state: TaskState| u32::from(state.is_final() && state != TaskState::Ok);
        let mut through = Vec::new();
        for cell in cells {
            // A cell has no gate if no task of the slot counts in it.
            let Some(gate) = self.0.get_mut(&cell) else { continue };
            gate.open = gate.open + open(to) - open(from);
            gate.failed = gate.failed + failed(to) - failed(from);
            // If one task is open, it may be the waiting task itself.
            if gate.open <= 1 {
                through.extend(std::mem::take(&mut gate.waiting));
            }
        }
        through
    }

    /// Puts a task into the queue of a cell's gate.
    pub(crate) fn join(&mut self, cell: CellId, task: TaskRef) {
        if let Some(gate) = self.0.get_mut(&cell) {
            gate.waiting.insert(task);
        }
    }

    /// Takes a task out of the queues of all gates.
    pub(crate) fn leave(&mut self, task: TaskRef) {
        for gate in self.0.values_mut() {
            gate.waiting.remove(&task);
        }
    }

    /// Counts a task in the gates that it is in.
    fn count(&mut self, cells: &BTreeSet<CellId>, state: TaskState, job: JobState) {
        for cell in cells {
            let gate = self.0.entry(*cell).or_default();
            let failed = state.is_final() && state != TaskState::Ok;
            gate.open += u32::from(!state.is_final());
            gate.failed += u32::from(failed);
            gate.lost |= failed && job.is_final();
        }
    }
}

impl Gate {
    /// Whether the gate stops tasks that go on after failures, or those that do not, as `policy`
    /// says. `own` of its open tasks are the waiting task itself.
    fn is_closed(&self, own: u32, policy: SequenceOnFailure) -> bool {
        self.open > own || (self.failed > 0 && policy == SequenceOnFailure::Wait)
    }
}

/// The cells that others come after, among those in which this task counts.
pub(crate) fn cells_of(
    ledger: &Ledger,
    roster: &Roster,
    job: &Job,
    index: u32,
) -> BTreeSet<CellId> {
    if job.spec().unthrottled {
        return BTreeSet::new();
    }
    let players: Vec<PlayerIx> = match job.is_one_of() {
        true => job.candidates().map(|(_, player)| player).collect(),
        false => vec![job.targets()[index as usize]],
    };
    let cells = players.iter().flat_map(|player| roster[*player].cells().iter().copied());
    cells.filter(|cell| ledger.leads(*cell)).collect()
}

pub(crate) fn count(ledger: &Ledger, roster: &Roster, slot: &[Job]) -> Sequence {
    let mut sequence = Sequence::default();
    for job in slot.iter().filter(|job| !job.spec().unthrottled) {
        for index in 0..job.total() {
            let cells = cells_of(ledger, roster, job, index);
            sequence.count(&cells, job.state_of(index), job.state());
        }
    }
    sequence
}
