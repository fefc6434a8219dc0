//! The methods that change a player. `Roster::change` alone hands out a player to be changed.
//! Afterwards it recounts the cells of the player's host, and notes what these methods say may
//! follow.

use std::sync::Arc;

use orchestra_model::{
    JobId, ServiceName, Timestamp,
    delivery::{AttemptKey, OrderNumber, PlayerSnapshot, SpoolId},
    deployment::CellId,
    record::{Drain, HoldRecord, Impact, PlayerRecord, Record},
    score::Offers,
    service::UnwellUnit,
};

use super::{Down, Flying, Player, Units, has_given_up};
use crate::{
    ids::{SessionId, TaskKind},
    tables::{parties::PartyIx, quarantine::Quarantine, task::TaskRef},
};

impl Player {
    // ---- the fleet, sessions, quarantine ----

    pub(in crate::tables) fn set_member(&mut self, member: bool) {
        self.member = member;
    }

    /// Opens a session and takes over what the player said of itself. It must have none.
    pub(in crate::tables) fn attach(&mut self, session: SessionId, snapshot: &PlayerSnapshot) {
        self.scores = snapshot.scores.clone();
        self.max_tasks = snapshot.max_tasks.max(1);
        self.kill_grace = snapshot.kill_grace;
        self.forget_busy();
        self.detached_at = None;
        self.session = Some(session);
        self.gates_opened = true;
    }

    /// Opens a session of a player that is quarantined: nothing that it said of itself is taken
    /// over.
    pub(in crate::tables) fn attach_unheard(&mut self, session: SessionId) {
        self.session = Some(session);
    }

    /// Makes the player attached, with these scores, for a plan.
    pub(crate) fn pretend_attached(&mut self, session: SessionId, scores: Offers) {
        self.session = Some(session);
        self.scores = scores;
    }

    /// Makes the player count as absent from now on. The strangers that it runs are not known any
    /// more.
    pub(in crate::tables) fn go_away(&mut self, now: Timestamp) {
        self.detached_at = Some(now);
        self.strangers.clear();
    }

    pub(in crate::tables) fn take_session(&mut self) -> Option<SessionId> {
        self.session.take()
    }

    pub(in crate::tables) fn set_quarantine(&mut self, quarantine: Option<Quarantine>) {
        self.quarantine = quarantine.map(Box::new);
    }

    /// Accepts what a quarantined player claimed: its numbers go on above the highest that it
    /// claimed, and attempts that it claimed are tolerated.
    pub(crate) fn let_claims_pass(&mut self) {
        if let Some(quarantine) = self.quarantine.as_deref() {
            self.last_order = self.last_order.max(quarantine.highest);
            self.tolerated.clone_from(&quarantine.attempts);
        }
    }

    /// Forgets tolerated attempts that the player claims no more.
    pub(crate) fn retain_tolerated(&mut self, is_claimed: impl Fn(&AttemptKey) -> bool) {
        self.tolerated.retain(is_claimed);
    }

    /// Sets the moment since when it is away to now, if it lies in the future.
    pub(crate) fn correct_detached_at(&mut self, now: Timestamp) {
        self.detached_at = self.detached_at.map(|at| at.min(now));
    }

    /// Notes whether watchers were told that its tasks in flight are on a player that is away.
    /// Returns whether they had been told so before.
    pub(crate) fn note_told_away(&mut self, told_away: bool) -> bool {
        std::mem::replace(&mut self.told_away, told_away)
    }

    pub(crate) fn drain(&mut self, drain: Option<&Drain>) {
        self.drained = drain.cloned().map(Box::new);
        self.gates_opened = true;
        self.jobs_concerned = true;
    }

    // ---- orders ----

    /// Notes that a task is sent: takes it out of its queue, if it lies in one, takes a place for
    /// it, and holds the host's cells if it changes the host. `returns` says whether the task had
    /// left the host down. Returns the order's number.
    pub(crate) fn issue_order(
        &mut self,
        task: TaskRef,
        queued_as: Option<TaskRef>,
        kind: &TaskKind,
        returns: bool,
        now: Timestamp,
    ) -> OrderNumber {
        if let Some(entry) = queued_as {
            self.parked.remove(kind, entry);
        }
        let impact = self.impact(kind);
        if impact == Impact::Holds {
            self.begin_hold(now);
            self.holding += 1;
        }
        self.returning -= u32::from(returns);
        // Most players have one order out at a time, and keep the room for it.
        self.in_flight.reserve_exact(1);
        let (score, is_of_unit) = (kind.score.clone(), kind.unit.is_some());
        self.in_flight.push(Flying { task, score, impact, is_of_unit });
        self.of_units += u32::from(is_of_unit);
        self.last_order = self.last_order.next();
        self.last_order
    }

    /// Notes that the order of a task is out no more. Returns whether it was.
    pub(crate) fn end_order(&mut self, task: TaskRef) -> bool {
        let Some(at) = self.in_flight.iter().position(|flying| flying.task == task) else {
            return false;
        };
        let Flying { impact, is_of_unit, .. } = self.in_flight.swap_remove(at);
        self.of_units -= u32::from(is_of_unit);
        self.holding -= u32::from(impact == Impact::Holds);
        self.forget_busy();
        self.gates_opened = true;
        true
    }

    /// Notes that the player said it is busy though it should not be. For a while only orders about
    /// units are sent to it; and not these either, if it said so of one of them.
    pub(crate) fn note_busy(&mut self, about_unit: bool) {
        self.said_busy = true;
        self.said_busy_to_units |= about_unit;
    }

    /// Ends that while: orders may be sent again.
    pub(crate) fn ask_again(&mut self) {
        self.forget_busy();
        self.gates_opened = true;
    }

    fn forget_busy(&mut self) {
        (self.said_busy, self.said_busy_to_units) = (false, false);
    }

    /// Notes that the spool has answered for all orders up to this one.
    pub(crate) fn note_answered(&mut self, order: OrderNumber) {
        self.answered = self.answered.max(order.min(self.last_order));
    }

    /// Notes which spool answers, and up to which order it has answered.
    pub(crate) fn note_spool(&mut self, spool: SpoolId, mark: OrderNumber) {
        self.spool = Some(spool);
        self.answered = mark.min(self.last_order);
    }

    /// Lets its next orders be numbered above this one.
    pub(crate) fn raise_last_order(&mut self, order: OrderNumber) {
        self.last_order = self.last_order.max(order);
    }

    /// Sets the attempts that it runs and that no task of ours awaits.
    pub(crate) fn set_strangers(&mut self, strangers: Vec<AttemptKey>) {
        self.strangers = strangers;
    }

    /// Notes that such an attempt does not run any more.
    pub(crate) fn forget_stranger(&mut self, key: AttemptKey) {
        if let Some(at) = self.strangers.iter().position(|stranger| *stranger == key) {
            self.strangers.swap_remove(at);
            self.forget_busy();
            self.gates_opened = true;
        }
    }

    // ---- holds ----

    /// Notes that the host holds its cells from now on, unless it was counted as holding them
    /// already.
    fn begin_hold(&mut self, now: Timestamp) {
        if !self.counted.holds {
            self.held_since = now;
        }
    }

    /// Makes the host count as down. Returns the record that says so.
    pub(crate) fn count_as_down(&mut self, down: Down, now: Timestamp) -> Record {
        // The record says since when the host holds.
        self.begin_hold(now);
        let record = self.hold_record(&down);
        self.down = Some(Box::new(down));
        record
    }

    /// Makes the host count as down no longer: a later change succeeded there.
    pub(crate) fn count_as_up(&mut self) {
        self.down = None;
    }

    /// Makes the host count as down no longer for an attempt, because somebody said so. Returns
    /// whether it had.
    pub(crate) fn release_hold(&mut self) -> bool {
        let was_down = self.down.take().is_some();
        self.gates_opened |= was_down;
        was_down
    }

    /// Sets its units that are not well: these, in the order of their services, and no others. A
    /// unit that gave up and was released stays released while the same is told of it.
    pub(crate) fn tell_units(&mut self, unwell: Vec<UnwellUnit>, now: Timestamp) {
        let mut units = self.units.take().map(|units| *units).unwrap_or_default();
        let gave_up = |service: &ServiceName| {
            unwell.iter().any(|unit| unit.service == *service && has_given_up(unit))
        };
        units.released.retain(gave_up);
        units.down = unwell;
        units.down.retain(|unit| !units.released.contains(&unit.service));
        if !units.down.is_empty() {
            self.begin_hold(now);
        }
        self.units = (units != Units::default()).then(|| Box::new(units));
        self.gates_opened = true;
    }

    /// Makes its units that gave up count as down no longer, because somebody said so. Returns
    /// whether any had.
    pub(crate) fn release_units(&mut self) -> bool {
        let Some(units) = self.units.as_deref_mut() else { return false };
        let gave_up = units.down.extract_if(.., |unit| has_given_up(unit));
        let before = units.released.len();
        units.released.extend(gave_up.map(|unit| unit.service));
        let is_news = units.released.len() > before;
        self.gates_opened |= is_news;
        is_news
    }

    /// Makes another job answer for what left the host down. Returns the record that says so.
    pub(crate) fn hand_over_hold(&mut self, to: JobId) -> Option<Record> {
        self.down.as_mut()?.job = to;
        self.down.as_deref().map(|down| self.hold_record(down))
    }

    /// Counts a task that left the host down and waits for a further attempt here.
    pub(crate) fn expect_return(&mut self) {
        self.returning += 1;
    }

    /// Counts one less: that attempt will not come.
    pub(crate) fn forget_return(&mut self) {
        self.returning -= 1;
    }

    pub(in crate::tables) fn set_cells(&mut self, cells: Arc<[CellId]>, party: PartyIx) {
        (self.cells, self.party) = (cells, party);
    }

    /// Notes whether the player waits for room in the cells of its host. Returns whether it did
    /// before.
    pub(in crate::tables) fn note_waits_for_room(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits_for_room, waits)
    }

    /// Notes whether the player waits to be in motion, as a host that holds its cells. Returns
    /// whether it did before.
    pub(in crate::tables) fn note_waits_for_motion(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits_for_motion, waits)
    }

    /// Notes what the cells are to count of its host now. Returns what they counted before.
    pub(in crate::tables) fn note_counted(&mut self) -> super::Counted {
        let counts = self.to_count();
        std::mem::replace(&mut self.counted, counts)
    }

    /// Notes whether its host can serve others in a tree. Returns whether that is news.
    pub(in crate::tables) fn note_can_serve(&mut self) -> bool {
        let can_serve = self.can_serve();
        std::mem::replace(&mut self.served, can_serve) != can_serve
    }

    // ---- its queues ----

    /// Puts a task into the queue of its kind, once.
    pub(crate) fn park(&mut self, kind: Arc<TaskKind>, task: TaskRef) {
        self.parked.insert(kind, task);
    }

    /// Takes a task out of the queue of its kind, because it was its turn. Returns whether it was
    /// there.
    pub(crate) fn unpark(&mut self, kind: &TaskKind, task: TaskRef) -> bool {
        self.parked.remove(kind, task)
    }

    /// Takes a task out of the queue of its kind, because it will not start here. If it was an
    /// exclusive one, others may have queued behind it. Returns whether it was there.
    pub(crate) fn withdraw(&mut self, kind: &TaskKind, task: TaskRef) -> bool {
        let was_there = self.parked.remove(kind, task);
        self.gates_opened |= was_there;
        was_there
    }

    /// Takes out a whole queue.
    pub(crate) fn unpark_all(&mut self, queue: usize) -> impl Iterator<Item = TaskRef> + use<> {
        self.parked.take_all(queue)
    }

    // ---- what follows ----

    /// Whether its gates may have opened since the last call.
    pub(in crate::tables) fn take_gates_opened(&mut self) -> bool {
        std::mem::take(&mut self.gates_opened)
    }

    /// Whether a change since the last call concerns all jobs that have something parked here.
    pub(in crate::tables) fn take_jobs_concerned(&mut self) -> bool {
        std::mem::take(&mut self.jobs_concerned)
    }

    // ---- after a restart ----

    pub(in crate::tables) fn restore(&mut self, record: &PlayerRecord) {
        self.spool = record.spool;
        self.last_order = record.last_order;
        self.detached_at = record.detached_at;
        self.drained = record.drained.clone().map(Box::new);
    }

    pub(crate) fn restore_hold(&mut self, record: &HoldRecord) {
        let (job, order, state) = (record.job, record.order, record.state);
        self.down = Some(Box::new(Down { job, order, state }));
        self.held_since = record.since;
    }

    /// Restores an order that is out since `sent_at`.
    pub(crate) fn restore_order(&mut self, flying: Flying, sent_at: Timestamp) {
        if flying.impact == Impact::Holds {
            let since = if self.holds() { self.held_since.min(sent_at) } else { sent_at };
            self.held_since = since;
            self.holding += 1;
        }
        self.of_units += u32::from(flying.is_of_unit);
        self.in_flight.push(flying);
    }

    /// Notes that the spool has answered for this order, because the attempt is known to have
    /// started.
    pub(crate) fn restore_answered(&mut self, order: OrderNumber) {
        self.answered = self.answered.max(order);
    }

    /// Notes that the player was attached when the conductor ended, so that it counts as away from
    /// now on.
    pub(crate) fn restore_absence(&mut self, now: Timestamp) {
        self.detached_at = Some(now);
    }
}
