//! A player attaches and tells its whole state, or goes away.
//!
//! What the player says is compared with what the engine believes, for each order that is out to
//! it:
//!
//! | engine: in flight, and … | then |
//! |---|---|
//! | another spool answers, or an older state of it | `lost`: what it knew is gone |
//! | the spool runs it | it runs; a cancel is said again |
//! | the spool has its end or refusal | the report follows |
//! | its order is above the spool's mark | the order never came: it is sent again |
//! | none of these | `lost` |
//!
//! Before that, the player as a whole is compared with the store (`quarantine`).

use std::collections::{BTreeMap, BTreeSet};

use orchestra_model::{
    TaskState,
    delivery::{AttemptKey, LiveAttempt, Order, OrderNumber, PlayerSnapshot},
    limits,
    record::Impact,
};

use crate::{
    Engine,
    effect::{CloseReason, Command, Effect},
    ids::{PlayerIx, SessionId},
    rules::{
        holds::{Attempted, Left},
        recover::SKIPPED,
    },
    tables::{
        flow::Flow,
        job::Job,
        task::{TaskRef, TimeLimit},
    },
};

impl Engine {
    pub(crate) fn attach(
        &mut self,
        player: PlayerIx,
        session: SessionId,
        snapshot: &PlayerSnapshot,
    ) {
        if !self.roster[player].is_member() {
            return self.close(player, session, CloseReason::Removed);
        }
        if let Some(older) = self.roster[player].session() {
            self.end_session(player);
            self.close(player, older, CloseReason::Superseded);
        }
        let (proven, quarantine) = self.judge(player, snapshot);
        self.note_old_copy(player, snapshot, &proven);
        if let Some(quarantine) = quarantine {
            self.roster.attach_quarantined(player, session, quarantine);
            return self.tell_away(player);
        }
        let told_away = self.roster.change(player, |player| player.note_told_away(false));
        let were = if told_away { self.in_flight_on(player) } else { Vec::new() };
        self.note_presence(player, true);
        self.roster.attach(player, session, snapshot);
        self.look_again_on(player);
        self.catch_up_with(player, snapshot, &proven);
        if self.stale.is_none() {
            self.reconcile(player, session, snapshot);
        }
        // Whatever changed meanwhile was published with its change.
        let now = self.in_flight_on(player);
        let back: Vec<TaskRef> =
            (were.into_iter().filter(|was| now.contains(was))).map(|(task, _)| task).collect();
        self.publish_presence(&back);
        self.count_in_quorums(player, true);
    }

    pub(crate) fn detach(&mut self, player: PlayerIx, session: SessionId) {
        if self.roster[player].session() != Some(session) {
            return;
        }
        self.end_session(player);
        self.tell_away(player);
    }

    fn end_session(&mut self, player: PlayerIx) {
        let was_there = self.roster[player].attached();
        self.roster.detach(player, self.now);
        if was_there {
            self.note_absence(player);
        }
    }

    /// Does what follows when a player can be sent nothing any more.
    pub(crate) fn note_absence(&mut self, player: PlayerIx) {
        self.put(self.roster[player].record());
        self.note_presence(player, false);
        self.count_in_quorums(player, false);
    }

    /// Tells watchers, once, that the tasks in flight on a player are on one that is away.
    pub(crate) fn tell_away(&mut self, player: PlayerIx) {
        if self.roster.change(player, |player| player.note_told_away(true)) {
            return;
        }
        let away: Vec<TaskRef> =
            self.in_flight_on(player).into_iter().map(|(task, _)| task).collect();
        self.publish_presence(&away);
    }

    /// Publishes the tasks in flight on a player that has gone or come back, each in the state that
    /// it has.
    fn publish_presence(&mut self, tasks: &[TaskRef]) {
        for task in tasks {
            self.publish_task(*task);
        }
    }

    /// The tasks in flight on a player, and their states.
    fn in_flight_on(&self, player: PlayerIx) -> Vec<(TaskRef, TaskState)> {
        let tasks = self.roster[player].in_flight().iter().map(|flying| flying.task);
        tasks.filter_map(|task| Some((task, self.job(task.job())?.state_of(task.index)))).collect()
    }

    pub(crate) fn close(&mut self, player: PlayerIx, session: SessionId, reason: CloseReason) {
        self.effects.push_back(Effect::Close { player, session, reason });
    }

    /// Keeps deadlines and the counts of absent tasks in line with the presence of a player. Called
    /// after it has gone, and just before it comes.
    fn note_presence(&mut self, player: PlayerIx, here: bool) {
        for flying in self.roster[player].in_flight().to_vec() {
            match here {
                true => self.disarm_loss(flying.task, player),
                false => self.arm_loss(flying.task, player),
            }
            self.flows.change(flying.task.job(), |job| job.count_away(!here));
        }
        let parked: Vec<TaskRef> = self.roster[player].parked().collect();
        for task in parked {
            let is_awaited = |job: &Job| job.awaits(task.index);
            let is_one_of = self.flows.change_if(task.job(), is_awaited, |job| {
                if !job.is_one_of() {
                    job.count_absent(!here);
                }
                job.is_one_of()
            });
            match is_one_of {
                None => {}
                // Whether the job is stuck depends on which players are attached.
                Some(true) => self.flows.note_changed(task.job()),
                Some(false) if here => self.disarm_give_up(task),
                Some(false) => self.arm_give_up(task),
            }
        }
    }

    /// Leaves out the order numbers that a recovered store may have forgotten. Those orders may
    /// have been cancelled before they came, and the player remembers cancels by number, so no such
    /// number is used again.
    fn skip_orders(&mut self, ix: PlayerIx) {
        let above = OrderNumber(self.roster[ix].last_order().0.saturating_add(SKIPPED));
        self.roster.change(ix, |player| player.raise_last_order(above));
    }

    /// Makes a host count as down, because a change may have run there, until a later change
    /// succeeds.
    pub(crate) fn suspect(&mut self, ix: PlayerIx, task: TaskRef) {
        let Some(job) = self.job(task.job()).filter(|job| !job.is_one_of()) else { return };
        let (impact, is_of_unit) = (self.roster[ix].impact(job.kind()), job.spec().unit.is_some());
        let order = self.roster[ix].last_order();
        let attempt = Attempted { job: task.job(), order, impact, is_of_unit };
        self.update_hold(ix, None, attempt, Left::Down(TaskState::Lost));
    }

    /// Every waiting task of a living flow that may come to run on one of these players, whether or
    /// not it was looked at. Looks at every target of every job, so it is for rare events only.
    pub(crate) fn waiting_for(&self, player: impl Fn(PlayerIx) -> bool) -> Vec<TaskRef> {
        let mut waiting = Vec::new();
        for job in self.flows.iter().flat_map(Flow::jobs).filter(|job| job.waiting() > 0) {
            let concerned = |index| job.state_of(index) == TaskState::Waiting;
            if job.is_one_of() {
                if concerned(0) && job.candidates().any(|(_, candidate)| player(candidate)) {
                    waiting.push(TaskRef::new(job.id(), 0));
                }
                continue;
            }
            let places = (0..).zip(job.targets().iter());
            let theirs = places.filter(|(index, target)| player(**target) && concerned(*index));
            waiting.extend(theirs.map(|(index, _)| TaskRef::new(job.id(), index)));
        }
        waiting
    }

    fn reconcile(&mut self, ix: PlayerIx, session: SessionId, snapshot: &PlayerSnapshot) {
        let player = &self.roster[ix];
        let went_back = snapshot.mark < player.answered();
        let gone = if player.spool() != Some(snapshot.spool) {
            Some("the player came back with another spool")
        } else if went_back {
            Some("the player's spool went back to an older state")
        } else {
            None
        };
        self.roster.change(ix, |player| player.note_spool(snapshot.spool, snapshot.mark));
        let player = &self.roster[ix];
        let mut in_flight: Vec<TaskRef> = player.in_flight().iter().map(|f| f.task).collect();
        // Lost in the order of their numbers, because a higher number would raise the mark above a
        // lower one.
        in_flight.sort_by_key(|task| self.order_of(*task));
        let mut live: BTreeMap<AttemptKey, LiveAttempt> =
            snapshot.live.iter().map(|live| (live.key, *live)).collect();
        let settled: BTreeSet<AttemptKey> =
            snapshot.settled.iter().map(|settled| settled.key).collect();
        // Sent last, when the numbers are known that the hello names.
        let mut said = Vec::new();
        for task in in_flight {
            let Some(job) = self.job(task.job()) else {
                self.inconsistent(task.job().flow, "a task in flight is of no job");
                continue;
            };
            let (known, cancelled, timeout) =
                (job.task(task.index), job.is_to_be_killed(), job.spec().timeout);
            let (instance, tree) = (job.instance(task.index), self.tree_place(job, task.index));
            let (key, order) = (known.key(self.store, task.job()), known.order);
            let command = match cancelled {
                true => Command::Cancel { key, order },
                false => Command::Order(Order { number: order, key, timeout, instance, tree }),
            };
            if gone.is_some() {
                self.finish(task, TaskState::Lost, gone);
            } else if let Some(live) = live.remove(&key) {
                self.note_time_limit(ix, task);
                if let Some(at) = live.started_at {
                    self.note_start(task, at);
                }
                if cancelled {
                    said.push(command);
                }
            } else if settled.contains(&key) {
                // The spool has its end or refusal, and will report it.
            } else if snapshot.mark < order {
                said.push(command);
            } else {
                self.finish(task, TaskState::Lost, Some("the player has no trace of it"));
            }
        }
        let is_unknown = |live: &&LiveAttempt| {
            let flow = live.key.job.flow;
            live.key.store == self.store
                && !self.flows.contains(flow)
                && !self.ended.contains_key(&flow)
        };
        if let Some(newest) = live.values().filter(is_unknown).max_by_key(|live| live.order) {
            // This is a change that only the lost part of history knows of.
            let order = newest.order.min(self.roster[ix].last_order());
            // Nobody can tell whether it was about a unit; if so, the next success there ends the
            // hold.
            let (job, impact) = (newest.key.job, Impact::Holds);
            let attempt = Attempted { job, order, impact, is_of_unit: false };
            self.update_hold(ix, None, attempt, Left::Down(TaskState::Lost));
        }
        if snapshot.term < self.recovered.term {
            self.skip_orders(ix);
        }
        let strangers = live.into_keys().take(limits::MAX_TASKS as usize).collect();
        // Written after the tasks that were lost with the older spool. In the other order, a crash
        // in between would forget that they were lost, and take the new spool for the one that was
        // asked.
        let (record, issued) = self.roster.change(ix, |player| {
            player.set_strangers(strangers);
            (player.record(), player.last_order())
        });
        self.put(record);
        self.send(ix, session, Command::Hello(issued));
        for command in said {
            self.send(ix, session, command);
        }
    }

    /// Notes how long an attempt that runs there may take, if an earlier release sent it and did
    /// not note that.
    fn note_time_limit(&mut self, ix: PlayerIx, task: TaskRef) {
        let Some(job) = self.job(task.job()) else {
            return self.inconsistent(task.job().flow, "a task in flight is of no job");
        };
        let limit = self.roster[ix].time_limit(job.spec());
        if job.task(task.index).time_limit == TimeLimit::NONE && limit.is_some() {
            self.flows.change(task.job(), |job| job.note_time_limit(task.index, limit.into()));
            self.record_task(task);
        }
    }

    fn order_of(&self, task: TaskRef) -> OrderNumber {
        self.job(task.job()).map_or_else(Default::default, |job| job.task(task.index).order)
    }
}
