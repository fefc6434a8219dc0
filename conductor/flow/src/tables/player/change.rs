//! What changes a player. `Roster::change` alone hands out a player to be changed: it recounts the
//! cells of its host afterwards, and notes what these methods say may follow.

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

    /// Opens its session, which had ended, and takes over what it said of itself.
    pub(in crate::tables) fn attach(&mut self, session: SessionId, snapshot: &PlayerSnapshot) {
        self.scores = snapshot.scores.clone();
        self.max_tasks = snapshot.max_tasks.max(1);
        self.kill_grace = snapshot.kill_grace;
        self.forget_busy();
        self.detached_at = None;
        self.session = Some(session);
        self.gates_opened = true;
    }

    /// Opens its session, which had ended, and takes over nothing that it said of itself.
    pub(in crate::tables) fn attach_unheard(&mut self, session: SessionId) {
        self.session = Some(session);
    }

    /// Lets it be there with these scores, for a plan.
    pub(crate) fn pretend_attached(&mut self, session: SessionId, scores: Offers) {
        self.session = Some(session);
        self.scores = scores;
    }

    /// It counts as absent from now on. What it runs beside our orders is not known any more.
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

    /// Lets what it claimed pass: its numbers go on above the highest that it claimed.
    pub(crate) fn let_claims_pass(&mut self) {
        if let Some(quarantine) = self.quarantine.as_deref() {
            self.last_order = self.last_order.max(quarantine.highest);
            self.tolerated.clone_from(&quarantine.attempts);
        }
    }

    /// Forgets attempts that were let pass and that it claims no more.
    pub(crate) fn retain_tolerated(&mut self, is_claimed: impl Fn(&AttemptKey) -> bool) {
        self.tolerated.retain(is_claimed);
    }

    /// Corrects a moment that lies in the future.
    pub(crate) fn correct_detached_at(&mut self, now: Timestamp) {
        self.detached_at = self.detached_at.map(|at| at.min(now));
    }

    /// Notes that its tasks in flight are told to be on a player that is away. Returns whether they
    /// were told so before.
    pub(crate) fn note_told_away(&mut self, told_away: bool) -> bool {
        std::mem::replace(&mut self.told_away, told_away)
    }

    pub(crate) fn drain(&mut self, drain: Option<&Drain>) {
        self.drained = drain.cloned().map(Box::new);
        self.gates_opened = true;
        self.jobs_concerned = true;
    }

    // ---- orders ----

    /// Sends a task: takes it out of its queue, if it lies in one, and takes a place for it, and
    /// the host's cells if it changes the host. `returns` says whether it had left the host down.
    /// Returns the order's number.
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
        // Most players have one at a time, and keep the room.
        self.in_flight.reserve_exact(1);
        let (score, is_of_unit) = (kind.score.clone(), kind.unit.is_some());
        self.in_flight.push(Flying { task, score, impact, is_of_unit });
        self.of_units += u32::from(is_of_unit);
        self.last_order = self.last_order.next();
        self.last_order
    }

    /// An order is out no more. Returns whether it was.
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

    /// It said that it is busy though it should not be: nothing is sent for a while; but what concerns
    /// units is, unless it was about one that it said so.
    pub(crate) fn note_busy(&mut self, about_unit: bool) {
        self.said_busy = true;
        self.said_busy_to_units |= about_unit;
    }

    /// The while is over.
    pub(crate) fn ask_again(&mut self) {
        self.forget_busy();
        self.gates_opened = true;
    }

    fn forget_busy(&mut self) {
        (self.said_busy, self.said_busy_to_units) = (false, false);
    }

    /// Up to this order its spool has answered for all.
    pub(crate) fn note_answered(&mut self, order: OrderNumber) {
        self.answered = self.answered.max(order.min(self.last_order));
    }

    /// Notes which spool answers, and up to which order it has answered.
    pub(crate) fn note_spool(&mut self, spool: SpoolId, mark: OrderNumber) {
        self.spool = Some(spool);
        self.answered = mark.min(self.last_order);
    }

    /// Its next orders are numbered above this one.
    pub(crate) fn raise_last_order(&mut self, order: OrderNumber) {
        self.last_order = self.last_order.max(order);
    }

    /// Attempts that it runs and that no task of ours awaits.
    pub(crate) fn set_strangers(&mut self, strangers: Vec<AttemptKey>) {
        self.strangers = strangers;
    }

    /// An attempt that no task of ours awaits runs there no more.
    pub(crate) fn forget_stranger(&mut self, key: AttemptKey) {
        if let Some(at) = self.strangers.iter().position(|stranger| *stranger == key) {
            self.strangers.swap_remove(at);
            self.forget_busy();
            self.gates_opened = true;
        }
    }

    // ---- holds ----

    /// The host holds its cells from now on, unless it did so already when it was counted last.
    fn begin_hold(&mut self, now: Timestamp) {
        if !self.counted.holds {
            self.held_since = now;
        }
    }

    /// The host counts as down. Returns what says so in the store.
    pub(crate) fn count_as_down(&mut self, down: Down, now: Timestamp) -> Record {
        // Its record says since when.
        self.begin_hold(now);
        let record = self.hold_record(&down);
        self.down = Some(Box::new(down));
        record
    }

    /// The host counts as down no more: a later change succeeded there.
    pub(crate) fn count_as_up(&mut self) {
        self.down = None;
    }

    /// The host counts as down no more for an attempt, because somebody said so. Returns whether it
    /// did.
    pub(crate) fn release_hold(&mut self) -> bool {
        let was_down = self.down.take().is_some();
        self.gates_opened |= was_down;
        was_down
    }

    /// These are its units that are not well, in the order of their services, and there are no others.
    /// A word that released one which gave up holds for as long as that is told of it.
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

    /// Its units that gave up count as down no more, because somebody said so. Returns whether any
    /// did.
    pub(crate) fn release_units(&mut self) -> bool {
        let Some(units) = self.units.as_deref_mut() else { return false };
        let gave_up = units.down.extract_if(.., |unit| has_given_up(unit));
        let before = units.released.len();
        units.released.extend(gave_up.map(|unit| unit.service));
        let is_news = units.released.len() > before;
        self.gates_opened |= is_news;
        is_news
    }

    /// Another job answers for what left the host down. Returns what says so in the store.
    pub(crate) fn hand_over_hold(&mut self, to: JobId) -> Option<Record> {
        self.down.as_mut()?.job = to;
        self.down.as_deref().map(|down| self.hold_record(down))
    }

    /// A task that left the host down waits for its further attempt here.
    pub(crate) fn expect_return(&mut self) {
        self.returning += 1;
    }

    /// It will not come.
    pub(crate) fn forget_return(&mut self) {
        self.returning -= 1;
    }

    pub(in crate::tables) fn set_cells(&mut self, cells: Arc<[CellId]>, party: PartyIx) {
        (self.cells, self.party) = (cells, party);
    }

    /// Notes whether it waits for room in the cells of its host. Returns whether it did so before.
    pub(in crate::tables) fn note_waits_for_room(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits_for_room, waits)
    }

    /// Notes whether it waits, as a host that holds them, for fewer of the hosts in its cells to be
    /// in motion. Returns whether it did so before.
    pub(in crate::tables) fn note_waits_for_motion(&mut self, waits: bool) -> bool {
        std::mem::replace(&mut self.waits_for_motion, waits)
    }

    /// Notes what the cells count of its host from now on. Returns what they counted before.
    pub(in crate::tables) fn note_counted(&mut self) -> super::Counted {
        let counts = self.to_count();
        std::mem::replace(&mut self.counted, counts)
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

    /// Takes a task out of the queue of its kind, because it does not start here. It may have been
    /// an exclusive one that others queued behind. Returns whether it was there.
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

    /// Whether its gates may have opened since this was asked last.
    pub(in crate::tables) fn take_gates_opened(&mut self) -> bool {
        std::mem::take(&mut self.gates_opened)
    }

    /// Whether all jobs that have something parked here are concerned by what changed since this
    /// was asked last.
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

    /// Its spool has answered for this order: it is known that the attempt started.
    pub(crate) fn restore_answered(&mut self, order: OrderNumber) {
        self.answered = self.answered.max(order);
    }

    /// It was there when the conductor ended, and counts as away from now on.
    pub(crate) fn restore_absence(&mut self, now: Timestamp) {
        self.detached_at = Some(now);
    }
}
