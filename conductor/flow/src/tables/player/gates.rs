//! What stops a task from starting on a player, and which task starts next there.

use orchestra_model::{JobId, ScoreName, WaitReason, deployment::CellId, record::Impact};

use super::{Flying, Next, Player};
use crate::{
    ids::TaskKind,
    tables::{few::Few, ledger::Ledger, task::TaskRef},
};

impl Player {
    /// The first gate of this player that stops a task of this kind, if any does. They are asked in
    /// this order: presence, drain, credit, exclusiveness, the score's concurrency, cells. A task
    /// about a unit takes no place, so in the place of the middle three it is only asked whether
    /// the player was too busy for such a task.
    pub(crate) fn gate(&self, kind: &TaskKind, ledger: &Ledger) -> Option<WaitReason> {
        if self.quarantine.is_some() {
            return Some(WaitReason::Quarantined);
        }
        if !self.attached() {
            return Some(WaitReason::PlayerAbsent);
        }
        if self.drained.is_some() && !kind.passes_drain() {
            return Some(WaitReason::PlayerDrained);
        }
        let busy = match kind.unit {
            Some(_) => self.said_busy_to_units.then_some(WaitReason::PlayerBusy),
            None => self.gate_of_places(&kind.score),
        };
        busy.or_else(|| self.has_no_room(kind, ledger).then_some(WaitReason::Cell))
    }

    /// The first gate that stops an attempt of this score from running beside what runs here
    /// already.
    fn gate_of_places(&self, score: &ScoreName) -> Option<WaitReason> {
        let taken = self.taken();
        if self.said_busy || taken >= self.max_tasks as usize {
            return Some(WaitReason::PlayerBusy);
        }
        let alone = |flying: &Flying| self.is_exclusive(&flying.score);
        if (self.is_exclusive(score) && taken > 0) || self.attempts().any(alone) {
            return Some(WaitReason::Exclusive);
        }
        if let Some(most) = self.limits(score).and_then(|limits| limits.concurrency) {
            let running = self.attempts().filter(|flying| flying.score == *score).count();
            if running >= most as usize {
                return Some(WaitReason::ScoreBusy);
            }
        }
        None
    }

    /// Whether a task of this kind has to wait for the cells of the host. A host that holds them
    /// already takes no more of their room. But it may not join the hosts in motion while these are
    /// as many as the limit, unless it is in motion itself.
    fn has_no_room(&self, kind: &TaskKind, ledger: &Ledger) -> bool {
        self.needs_cells(kind)
            && match self.holds() {
                true => ledger.is_still_in(&self.cells),
                false => ledger.is_full_in(&self.cells),
            }
    }

    /// The cell of the host that a task of this kind waits for, if it waits for one.
    pub(crate) fn awaited_cell(&self, kind: &TaskKind, ledger: &Ledger) -> Option<CellId> {
        self.needs_cells(kind).then(|| match self.holds() {
            true => ledger.still_of(&self.cells),
            false => ledger.full_of(&self.cells),
        })?
    }

    fn needs_cells(&self, kind: &TaskKind) -> bool {
        !self.cells.is_empty() && self.holding == 0 && self.impact(kind) == Impact::Holds
    }

    /// The first gate that stops a task which is not queued here yet. While an older exclusive task
    /// waits until the player is empty, newcomers queue behind it, or it would wait for ever.
    pub(crate) fn newcomer_gate(
        &self,
        kind: &TaskKind,
        task: TaskRef,
        ledger: &Ledger,
    ) -> Option<WaitReason> {
        let holds_back = |(kind, first): (&TaskKind, TaskRef)| {
            kind.unit.is_none()
                && self.is_exclusive(&kind.score)
                && first < task
                && matches!(self.gate(kind, ledger), None | Some(WaitReason::Exclusive))
        };
        let is_behind = || kind.unit.is_none() && self.parked.firsts().any(holds_back);
        self.gate(kind, ledger).or_else(|| is_behind().then_some(WaitReason::Exclusive))
    }

    /// The oldest task of the `open` jobs that may start here. While an exclusive one waits until
    /// the player is empty, nothing but a task about a unit overtakes it.
    pub(crate) fn next(&self, ledger: &Ledger, open: &Few<JobId>) -> Next {
        let mut start: Option<TaskRef> = None;
        let mut idle: Option<(TaskRef, usize)> = None;
        let mut exclusive: Option<TaskRef> = None;
        let mut full: Option<TaskRef> = None;
        let mut has_units = false;
        let is_older = |task, than: Option<TaskRef>| than.is_none_or(|than| task < than);
        for (ix, (kind, first)) in self.parked.firsts().enumerate() {
            if kind.unit.is_some() {
                has_units = true;
                continue;
            }
            match self.gate(kind, ledger) {
                None => {
                    let wanted = self.parked.first_of(ix, open);
                    start = wanted.filter(|task| is_older(*task, start)).or(start);
                    if wanted != Some(first) && is_older(first, idle.map(|(task, _)| task)) {
                        idle = Some((first, ix));
                    }
                }
                Some(WaitReason::Exclusive) if is_older(first, exclusive) => {
                    exclusive = Some(first);
                }
                Some(WaitReason::Cell) if is_older(first, full) => full = Some(first),
                Some(_) => {}
            }
        }
        // Tasks behind the exclusive one are not looked at.
        let next = match (start, idle, full) {
            (Some(task), ..) if is_older(task, exclusive) => Next::Start(task),
            (_, Some((task, ix)), _) if is_older(task, exclusive) => Next::Idle(ix),
            (_, _, Some(task)) if is_older(task, exclusive) => Next::Room,
            _ => Next::Nothing,
        };
        if has_units { next.before(self.next_of_units(ledger, open)) } else { next }
    }

    /// The oldest task of the `open` jobs that is about a unit and may start here.
    fn next_of_units(&self, ledger: &Ledger, open: &Few<JobId>) -> Next {
        let mut next = Next::Nothing;
        let firsts = self.parked.firsts().enumerate();
        for (ix, (kind, _)) in firsts.filter(|(_, (kind, _))| kind.unit.is_some()) {
            next = next.before(match self.gate(kind, ledger) {
                None => match self.parked.first_of(ix, open) {
                    Some(wanted) => Next::Start(wanted),
                    None => Next::Idle(ix),
                },
                Some(WaitReason::Cell) => Next::Room,
                Some(_) => Next::Nothing,
            });
        }
        next
    }
}

impl Next {
    /// Which of two comes first: of two tasks the older one; a task before anything else.
    fn before(self, other: Next) -> Next {
        match (self, other) {
            (Next::Start(one), Next::Start(other)) => Next::Start(one.min(other)),
            (start @ Next::Start(_), _) | (_, start @ Next::Start(_)) => start,
            (idle @ Next::Idle(_), _) | (_, idle @ Next::Idle(_)) => idle,
            (Next::Room, _) | (_, Next::Room) => Next::Room,
            (Next::Nothing, Next::Nothing) => Next::Nothing,
        }
    }
}
