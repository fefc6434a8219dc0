//! Which task starts next: wanted, possible, chosen, emitted (see the top of the crate).

use std::{collections::BTreeSet, sync::Arc};

use orchestra_model::{
    JobId, Millis, TaskState, Timestamp, WaitReason, delivery::Order, record::Impact,
};

use crate::{
    Engine,
    effect::Command,
    ids::{PlayerIx, TaskKind},
    rules::{
        holds::{Attempted, Left},
        inconsistency::gone,
    },
    tables::{
        deadlines::Deadline,
        job::{Job, change::Sending},
        player::{Next, Player},
        task::TaskRef,
    },
};

/// Most tasks of one job that are looked at before the next job has its turn.
const TURN: u32 = 256;

impl Engine {
    /// Gives the next queued job its turn. Returns how many steps that took, at least one; `None`
    /// if no job is queued, or nothing may be sent.
    pub(crate) fn take_turn(&mut self) -> Option<u32> {
        if self.stale.is_some() {
            return None;
        }
        let id = self.flows.pop_runnable()?;
        for looked_at in 0..TURN {
            let Some(index) = self.flows.change(id, Job::next_wanted).flatten() else {
                // The job may be stuck now.
                self.flows.note_changed(id);
                return Some(looked_at.max(1));
            };
            self.offer(id, index);
            // The task may have ended instead of starting. What follows from that comes first,
            // because nothing may start for a job that is doomed by it.
            self.evaluate_changed();
        }
        self.flows.queue(id);
        Some(TURN)
    }

    /// Starts a wanted task, or parks it on the gate that stops it.
    fn offer(&mut self, id: JobId, index: u32) {
        let Some(job) = self.job(id) else {
            return self.inconsistent(id.flow, "a job that was asked for a task is not there");
        };
        if job.is_one_of() {
            return self.choose(id);
        }
        let (task, player) = (TaskRef::new(id, index), job.targets()[index as usize]);
        let kind = Arc::clone(job.kind());
        if !self.roster[player].is_member() {
            self.withdraw(task);
        } else if let Some(cell) = self.gate_before(job, index, player) {
            self.stand_in_line(task, cell);
        } else {
            match self.roster[player].newcomer_gate(&kind, task, self.roster.ledger()) {
                None if job.awaits_server(index) => {
                    self.flows.change(id, |job| job.await_server(index));
                }
                None => self.start(task, player),
                Some(gate) => self.park(task, player, kind, gate),
            }
        }
    }

    /// Chooses the player of a one-of task: of those whose gates are all open the least busy one,
    /// and of these the first in host-set order. If there is none, the task is parked on all of
    /// them, and the first whose gates open gets it.
    fn choose(&mut self, id: JobId) {
        let task = TaskRef::new(id, 0);
        let Some(job) = self.job(id) else {
            return self.inconsistent(id.flow, "a job that was asked for a task is not there");
        };
        let kind = Arc::clone(job.kind());
        let candidates: Vec<(u32, PlayerIx)> = job.candidates().collect();
        let (mut free, mut in_line) = (Vec::new(), BTreeSet::new());
        for (place, player) in candidates {
            match self.gate_before(job, 0, player) {
                None => free.push((place, player)),
                Some(cell) => drop(in_line.insert(cell)),
            }
        }
        let is_open = |(place, player): &&(u32, PlayerIx)| {
            let entry = TaskRef::new(id, *place);
            let player = &self.roster[*player];
            player.is_member() && player.newcomer_gate(&kind, entry, self.roster.ledger()).is_none()
        };
        let open = free.iter().filter(is_open);
        if let Some(&(place, player)) = open.min_by_key(|(_, player)| self.roster[*player].taken())
        {
            return self.start(TaskRef::new(id, place), player);
        }
        if !self.is_anybody_left(job) {
            return self.withdraw(task);
        }
        if free.is_empty() {
            let hope = in_line.iter().copied().find(|cell| !self.is_in_vain(id, *cell));
            if let Some(cell) = hope.or_else(|| in_line.first().copied()) {
                self.stand_in_line(task, cell);
            }
        } else {
            self.flows.change(id, |job| job.park_on_player(0, false));
        }
        if self.job(id).is_some_and(|job| job.state_of(0) == TaskState::Waiting) {
            self.stand_in_lines(task, in_line);
        }
        // The task is parked on removed players as well, because they may be added again while it
        // waits.
        for (place, player) in free {
            let entry = TaskRef::new(id, place);
            self.roster.change(player, |player| player.park(Arc::clone(&kind), entry));
            self.queue_for_room(player);
        }
        self.arm_give_up(task);
    }

    /// Whether the players file still names a player on which the one-of job may run.
    pub(crate) fn is_anybody_left(&self, job: &Job) -> bool {
        job.candidates().any(|(_, player)| self.roster[player].is_member())
    }

    fn park(&mut self, task: TaskRef, player: PlayerIx, kind: Arc<TaskKind>, gate: WaitReason) {
        let is_absent = matches!(gate, WaitReason::PlayerAbsent | WaitReason::Quarantined);
        self.flows.change(task.job(), |job| job.park_on_player(task.index, is_absent));
        self.roster.change(player, |player| player.park(kind, task));
        if is_absent {
            self.arm_give_up(task);
        }
        if gate == WaitReason::Cell {
            self.queue_for_room(player);
        }
    }

    /// Starts what may start of the tasks parked on a player, because something changed there.
    pub(crate) fn wake(&mut self, player: PlayerIx) {
        if self.stale.is_some() {
            return;
        }
        loop {
            let entry = match self.roster[player].next(self.roster.ledger(), self.flows.open()) {
                Next::Start(entry) => entry,
                Next::Idle(queue) => {
                    for entry in self.roster.change(player, |player| player.unpark_all(queue)) {
                        self.await_window(entry);
                    }
                    continue;
                }
                Next::Room => {
                    self.await_room(player);
                    break;
                }
                Next::Nothing => break,
            };
            let id = entry.job();
            let Some(kind) = self.job(id).map(|job| Arc::clone(job.kind())) else { break };
            let is_meant = |job: &&Job| job.awaits(entry.index);
            let Some(job) = self.flows.job(id).filter(is_meant) else {
                self.roster.change(player, |player| player.unpark(&kind, entry));
                continue;
            };
            let index = job.index_of(entry.index);
            let is_wanted = job.may_start() && job.window_is_open();
            let gate = self.gate_before(job, index, player);
            let is_unserved = job.awaits_server(index);
            if is_wanted && gate.is_none() && !is_unserved {
                self.start(entry, player);
                continue;
            }
            let is_one_of = job.is_one_of();
            self.roster.change(player, |player| player.unpark(&kind, entry));
            if !is_wanted {
                self.flows.close_window(id);
                self.await_window(entry);
            } else if let Some(cell) = gate {
                if is_one_of {
                    // Another player may be able to run the task.
                    self.flows.change(id, |job| job.make_ready(index));
                    self.note_leftovers(id);
                } else {
                    self.stand_in_line(entry, cell);
                }
            } else {
                self.flows.change(id, |job| job.await_server(index));
            }
        }
    }

    /// Moves a task that was parked on a player to its job's ready tasks: the player lets it start,
    /// but its job does not now.
    fn await_window(&mut self, entry: TaskRef) {
        let id = entry.job();
        let Some(job) = self.job(id).filter(|job| job.awaits(entry.index)) else {
            return gone();
        };
        let index = job.index_of(entry.index);
        self.flows.change(id, |job| job.await_window(index));
        self.note_leftovers(id);
    }

    /// Puts a player among those that wait for room in their cells, if its next task needs room
    /// there.
    fn queue_for_room(&mut self, player: PlayerIx) {
        if self.roster[player].next(self.roster.ledger(), self.flows.open()) == Next::Room {
            self.await_room(player);
        }
    }

    /// Starts a task: takes window, score concurrency, credit and cells in one step, and emits the
    /// records, then the order. `entry` is the task as it stands in the player's queue; for a
    /// one-of job it names the chosen player.
    fn start(&mut self, entry: TaskRef, ix: PlayerIx) {
        let (now, store, id) = (self.now, self.store, entry.job());
        let change = self.next_change(id.flow);
        let forgotten = self.forgotten_attempts(id.flow);
        let Some(job) = self.flows.job(id) else {
            return self.inconsistent(id.flow, "a task was chosen of a job that is not there");
        };
        let task = TaskRef::new(id, job.index_of(entry.index));
        let Some(session) = self.roster[ix].reachable() else {
            // The task goes back to its job's ready tasks, so that it is found again once somebody
            // has looked into the inconsistency.
            self.flows.change(id, |job| job.make_ready(task.index));
            return self.inconsistent(id.flow, "a player was chosen that is not there");
        };
        let (was_parked, is_one_of) = (job.is_parked(task.index), job.is_one_of());
        let bound = job.server_for(task.index);
        let player = &self.roster[ix];
        let impact = player.impact(job.kind());
        let (timeout, time_limit) = (job.spec().timeout, player.time_limit(job.spec()).into());
        let (returns, queued_as) = (job.is_returning(task.index), was_parked.then_some(entry));
        let number = self
            .roster
            .change(ix, |player| player.issue_order(task, queued_as, job.kind(), returns, now));
        let sending = Sending { order: number, impact, time_limit, forgotten, bound, now };
        self.flows.change(id, |job| job.send(task.index, entry.index, sending));
        self.put(self.roster[ix].record());
        let Some(job) = self.flows.job(id) else {
            return self.inconsistent(id.flow, "a task was sent of a job that is not there");
        };
        let known = job.task(task.index);
        let (instance, tree) = (job.instance(task.index), self.tree_place(job, task.index));
        let order = Order { number, key: known.key(store, id), timeout, instance, tree };
        let parent = self.parent_of(job, task.index);
        let sent = known.record(task, self.roster[ix].host(), change, parent);
        self.put(sent);
        self.send(ix, session, Command::Order(order));
        if was_parked {
            self.note_leftovers(id);
        }
        if is_one_of {
            self.leave_line(task);
            self.recount_choice(id);
        }
    }

    /// Gives back the place that a task's order took on its player, if it still does, and updates
    /// the host's hold. `left` says what the attempt has left on the host.
    pub(crate) fn release(&mut self, task: TaskRef, ix: PlayerIx, left: Left) {
        self.disarm_loss(task, ix);
        let Some(known) = self.job(task.job()).and_then(|job| job.known(task.index)) else {
            return self.inconsistent(task.job().flow, "a task in flight is not known");
        };
        let order = known.order;
        let player = &self.roster[ix];
        let Some(flying) = player.flight_of(task) else {
            // The place was given back already, when the player refused the order.
            return gone();
        };
        let (impact, is_of_unit) = (flying.impact, flying.is_of_unit);
        let is_away = !player.attached();
        if is_away {
            self.flows.change(task.job(), |job| job.count_away(false));
        }
        let attempt = Attempted { job: task.job(), order, impact, is_of_unit };
        self.update_hold(ix, Some(task), attempt, left);
    }

    /// Makes a task that was sent wait again, because it is retried or did not start. With `due` it
    /// pauses until then.
    pub(crate) fn wait_again(
        &mut self,
        task: TaskRef,
        player: PlayerIx,
        left: Left,
        due: Option<Timestamp>,
    ) {
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that is to wait again is of no job");
        };
        let will_return = job
            .known(task.index)
            .is_some_and(|task| task.before.is_some() && task.impact == Impact::Holds);
        if will_return {
            self.roster.change(player, Player::expect_return);
        }
        self.release(task, player, left);
        self.flows.change(task.job(), |job| job.wait_again(task.index, due.is_some()));
        if let Some(at) = due {
            self.deadlines.insert(at, Deadline::Retry(task));
        }
        self.tell_task(task);
    }

    /// Notes that a player said it is busy though it should not be, and arms a deadline at which
    /// orders are sent to it again, if nothing ends there before. `about_unit` says whether the
    /// refused order was about a unit.
    pub(crate) fn ask_busy_later(&mut self, player: PlayerIx, about_unit: bool) {
        const PAUSE: Millis = Millis::seconds(1);
        self.roster.change(player, |player| player.note_busy(about_unit));
        self.deadlines.insert(self.now.after(PAUSE), Deadline::AskBusyAgain(player));
    }

    /// Ends a task that waits for a player which the players file names no longer.
    pub(crate) fn withdraw(&mut self, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task that is withdrawn is of no job");
        };
        let state = job.task(task.index).given_up_as(TaskState::Cancelled);
        self.finish(task, state, Some("player removed"));
    }
}
