//! When a host begins to hold its cells, and when that ends: promises 17 and 18.
//!
//! A host holds its cells
//!
//! - while a change runs there: an order is out whose task changes the host;
//! - while a change has left it *down*: the change failed, was killed or is lost, and no later one
//!   has succeeded;
//! - while a unit there is not well (`rules/units`).
//!
//! ```text
//!              order sent                  ended ok
//!   free ─────────────────> change runs ────────────────────────> free
//!                           │       ^
//!     failed, killed, lost  v       │ a further attempt, or any later change
//!                          down ────┘
//!                           └── operator releases ──────────────> free
//! ```
//!
//! After an attempt that never started, the host is as it was before: free or down.
//!
//! A host holds all of its cells or none. So the tasks of one host share its hold, and a further
//! attempt uses the hold of the attempt before. What a cell counts follows from the hosts' holds
//! and from the deployments in force: it is not stored, and a reload counts it anew
//! (`tables/ledger`).
//!
//! A success ends what earlier attempts have left. It does not end what is told of units: their
//! holds end with what is told of them. And a task that asks something of a unit leaves its host
//! down only through that unit.
//!
//! A cell is *dead* when it is full of holds that only a person can end. Such a hold is that of a
//! host that is down, where nothing runs, nothing waits, no further attempt is to come, and every
//! unit that is not well gave up.

use std::collections::BTreeMap;

use orchestra_model::{
    FlowId, HostSet, JobId, TaskState,
    delivery::OrderNumber,
    record::{HoldRecord, Impact, Op},
};

use crate::{
    Engine,
    answer::{self, Rejection, ReplyTo},
    effect::Effect,
    ids::PlayerIx,
    tables::{player::Down, task::TaskRef},
};

/// What an attempt has left on its host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It ended well.
    Well,
    /// It never started.
    Unstarted,
    /// It ended in this state, so the host counts as down.
    Down(TaskState),
}

impl Left {
    /// What an attempt in flight leaves that ends in this state, unless its player said that it did
    /// not start.
    pub(crate) fn of(state: TaskState) -> Self {
        match state {
            TaskState::Ok => Left::Well,
            TaskState::Refused => Left::Unstarted,
            state => Left::Down(state),
        }
    }
}

/// What of an attempt matters for the hold of its host.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempted {
    pub(crate) job: JobId,
    pub(crate) order: OrderNumber,
    pub(crate) impact: Impact,
    /// Whether it asked something of a unit: then what is told of the unit says how the host is.
    pub(crate) is_of_unit: bool,
}

impl Engine {
    /// Updates the hold of a host that an attempt has left like this: the hold ends, or the host
    /// counts as down. `ended` is the task whose order is out no longer, if there is one. The
    /// record of the hold is written before that of the task's end, because a crash in between must
    /// not forget that a host is down.
    pub(crate) fn update_hold(
        &mut self,
        ix: PlayerIx,
        ended: Option<TaskRef>,
        attempt: Attempted,
        left: Left,
    ) {
        let Attempted { job, order, impact, is_of_unit } = attempt;
        let (store, now, is_stale) = (self.store, self.now, self.stale.is_some());
        let record = self.roster.change(ix, |player| {
            if let Some(task) = ended {
                player.end_order(task);
            }
            // A lost attempt may turn out to run: then its host needs the cells as before. While
            // the player or the store is doubted, it is not known what the player runs.
            let goes_on = is_stale
                || player.quarantine().is_some()
                || player.strangers().iter().any(|stranger| stranger.store == store);
            match left {
                Left::Down(state)
                    if impact == Impact::Holds
                        && !is_of_unit
                        && player.down().is_none_or(|down| down.order < order) =>
                {
                    let record = player.count_as_down(Down { job, order, state }, now);
                    Some(Box::new(Op::Put(record)))
                }
                // The attempt's own order may have left the host down, because a crash forgot that
                // the task was given up.
                Left::Well
                    if impact != Impact::Look
                        && !goes_on
                        && player.down().is_some_and(|down| down.order <= order) =>
                {
                    player.count_as_up();
                    Some(Box::new(Op::Release(player.host().clone())))
                }
                _ => None,
            }
        });
        let Some(op) = record else { return };
        let is_down = matches!(*op, Op::Put(_));
        self.effects.push_back(Effect::Persist(*op));
        if is_down {
            self.look_again_on(ix);
        } else {
            self.note_returning();
        }
    }

    /// Puts a player among those that wait for room in their cells, one of which is full.
    pub(crate) fn await_room(&mut self, ix: PlayerIx) {
        self.roster.await_room(ix);
        let player = &self.roster[ix];
        // Its tasks may wait for nobody but a person now.
        if self.roster.ledger().is_dead_in(player.cells()) {
            let jobs = player.parked_changes().map(TaskRef::job);
            let news = jobs.filter(|id| self.job(*id).is_some_and(|job| !job.is_stuck()));
            for job in news.collect::<Vec<_>>() {
                self.flows.note_changed(job);
            }
        }
    }

    /// Takes the next player whose wait for room, or to be in motion, is over, and has it looked
    /// at. Returns whether there was one.
    pub(crate) fn admit(&mut self) -> bool {
        if self.stale.is_some() {
            return false;
        }
        let Some(player) = self.roster.admit() else { return false };
        self.wake(player);
        true
    }

    /// Ends the holds of hosts that count as down. Holds for units that may become well by
    /// themselves stay.
    pub(crate) fn release_holds(&mut self, reply: ReplyTo<answer::ReleasedHolds>, hosts: &HostSet) {
        // Removed players can be named as well, but nobody else.
        let unknown = hosts.unknown(|host| self.roster.known(host).is_some());
        if !unknown.is_empty() {
            return self.reject(reply, Rejection::UnknownPlayers(unknown));
        }
        let mut released = Vec::new();
        for host in hosts {
            let Some(ix) = self.roster.known(host) else { continue };
            let (for_attempt, for_units) = self.release_host(ix);
            if for_attempt {
                self.effects.push_back(Effect::Persist(Op::Release(host.clone())));
            }
            if for_attempt || for_units {
                released.push(host.clone());
            }
        }
        self.note_returning();
        self.answer(reply, answer::ReleasedHolds { hosts: HostSet::from_names(released) });
    }

    /// Makes the hosts that an ended flow left down count as left down by another flow, which
    /// repeats it: by its first job that has the host.
    pub(crate) fn hand_over_holds(&mut self, from: FlowId, to: FlowId) {
        let Some(flow) = self.flows.get(to) else {
            return self.inconsistent(to, "holds are handed to a flow that is not there");
        };
        let mut takers: BTreeMap<PlayerIx, JobId> = BTreeMap::new();
        for job in flow.jobs() {
            for player in job.targets().iter() {
                takers.entry(*player).or_insert(job.id());
            }
        }
        for (ix, job) in takers {
            if self.roster[ix].down().is_none_or(|down| down.job.flow != from) {
                continue;
            }
            if let Some(record) = self.roster.change(ix, |player| player.hand_over_hold(job)) {
                self.put(record);
            }
        }
    }

    /// Restores that a host is down.
    pub(crate) fn restore_hold(&mut self, record: &HoldRecord) {
        let ix = self.roster.intern(&record.host);
        self.roster.change(ix, |player| player.restore_hold(record));
    }
}
