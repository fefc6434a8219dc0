//! A player comes with its whole state, and goes. `architecture.md`, Delivery.
//!
//! What the player says is held against what the engine believes, order by order:
//!
//! | engine: in flight, and … | then |
//! |---|---|
//! | another spool answers | `lost`: what the old one knew is gone |
//! | the spool runs it | it runs; a cancel is said again |
//! | the spool has its end or refusal | the report follows |
//! | its order is above the spool's mark | the order never came: it is sent again |
//! | none of these | `lost` |

use std::collections::BTreeSet;

use orchestra_model::{
    FlowId, JobId, TaskState,
    delivery::{AttemptKey, Order, PlayerSnapshot, StoreId},
};

use crate::{
    Engine, PlayerIx, SessionId,
    effect::{CloseReason, Command, Effect},
    roster::Flying,
    task::{Parked, TaskRef},
};

impl Engine {
    pub(crate) fn attach(
        &mut self,
        player: PlayerIx,
        session: SessionId,
        snapshot: &PlayerSnapshot,
    ) {
        if !self.roster[player].member {
            let reason = CloseReason::Removed;
            return self.effects.push_back(Effect::Close { player, session, reason });
        }
        if let Some(session) = self.roster[player].session {
            self.detach(player, session);
            let reason = CloseReason::Superseded;
            self.effects.push_back(Effect::Close { player, session, reason });
        }
        self.roster.attach(player, session, snapshot);
        self.recount_absent(player, false);
        self.compare_with_store(player, snapshot);
        self.reconcile(player, session, snapshot);
        self.wake(player);
    }

    pub(crate) fn detach(&mut self, player: PlayerIx, session: SessionId) {
        if self.roster[player].session != Some(session) {
            return;
        }
        self.roster.detach(player, self.now);
        let record = self.roster[player].record();
        self.persist(record);
        for flying in self.roster[player].in_flight.clone() {
            self.arm_loss(flying.task, player);
        }
        self.recount_absent(player, true);
    }

    /// Whether the player knows of more than this store: then the store is an old copy, and
    /// nothing is sent before an operator said to go on from it.
    fn compare_with_store(&mut self, ix: PlayerIx, snapshot: &PlayerSnapshot) {
        let ours = |key: &&AttemptKey| key.store == self.store;
        let newest = snapshot
            .live
            .iter()
            .map(|live| &live.key)
            .chain(&snapshot.settled)
            .filter(ours)
            .map(|key| key.job.flow)
            .max();
        let last = self.roster[ix].last_order;
        let ahead = snapshot.mark > last || newest.is_some_and(|flow| flow >= self.next_flow);
        if !ahead && snapshot.term <= self.term {
            return;
        }
        if snapshot.term < self.recovered {
            return self.catch_up(ix, snapshot, newest);
        }
        let host = self.roster.host(ix);
        let mut why = format!(
            "player {host} has answered for order {} of term {}; this store has issued order {last} to it, \
             in term {}",
            snapshot.mark, snapshot.term.0, self.term.0,
        );
        if let Some(flow) = newest.filter(|flow| *flow >= self.next_flow) {
            why.push_str(&format!(", and knows no flow {flow}"));
        }
        self.stale = Some(why);
    }

    /// After a recovery: the player had orders that this store never issued. Its numbers go on
    /// from there, and whatever was waiting for it may have run in the time that the store has
    /// forgotten, so it is `lost`.
    fn catch_up(&mut self, ix: PlayerIx, snapshot: &PlayerSnapshot, newest: Option<FlowId>) {
        if let Some(flow) = newest.filter(|flow| *flow >= self.next_flow) {
            self.next_flow = flow.next();
            let next = orchestra_model::record::Record::NextFlow(self.next_flow);
            self.persist(orchestra_model::record::Op::Put(next));
        }
        let player = &mut self.roster[ix];
        player.last_order = player.last_order.max(snapshot.mark);
        player.spool.get_or_insert(snapshot.spool);
        let record = player.record();
        self.persist(record);
        for task in self.waiting_for(|player| player == ix) {
            self.finish(
                task,
                TaskState::Lost,
                Some("it may have run in the time that the restored store has forgotten"),
            );
        }
    }

    /// Every waiting task of a living flow that may come to run on one of these players, whether
    /// it was looked at or not. Looks at every target: for rare events only.
    pub(crate) fn waiting_for(&self, player: impl Fn(PlayerIx) -> bool) -> Vec<TaskRef> {
        let mut waiting = Vec::new();
        for job in self.flows.values().flat_map(crate::flow::Flow::jobs) {
            if job.state.is_final() || job.untouched.is_final() {
                continue;
            }
            if job.is_one_of() {
                let chosen = job.player_of(0);
                let concerned = match chosen {
                    Some(chosen) => player(chosen),
                    None => job.targets.iter().copied().any(&player),
                };
                if concerned && job.state_of(0) == TaskState::Waiting {
                    waiting.push(TaskRef::new(job.id, 0));
                }
                continue;
            }
            for (index, target) in (0..).zip(job.targets.iter()) {
                if player(*target) && job.state_of(index) == TaskState::Waiting {
                    waiting.push(TaskRef::new(job.id, index));
                }
            }
        }
        waiting
    }

    fn reconcile(&mut self, ix: PlayerIx, session: SessionId, snapshot: &PlayerSnapshot) {
        let same_spool = self.roster[ix].spool == Some(snapshot.spool);
        if !same_spool {
            self.roster[ix].spool = Some(snapshot.spool);
        }
        let record = self.roster[ix].record();
        self.persist(record);
        let settled: BTreeSet<AttemptKey> = snapshot.settled.iter().copied().collect();
        let mut awaited = BTreeSet::new();
        let mut in_flight = self.roster[ix].in_flight.clone();
        in_flight.sort_by_key(|flying| self.order_of(flying.task));
        for Flying { task, .. } in in_flight {
            let id = task.job();
            let Some(job) = self.job(id) else { continue };
            let cancelled = job.untouched == TaskState::Cancelled;
            let known = job.task(task.index);
            let (key, order) = (known.key(self.store, id), known.order);
            awaited.insert(key);
            let live = snapshot.live.iter().find(|live| live.key == key);
            if !same_spool {
                self.finish(task, TaskState::Lost, Some("the player came back with another spool"));
            } else if let Some(live) = live {
                if let Some(at) = live.started_at {
                    self.note_start(task, at);
                }
                if cancelled {
                    self.send(ix, session, Command::Cancel { key, order });
                }
            } else if settled.contains(&key) {
                // Its report follows.
            } else if snapshot.mark < order {
                let timeout = job.spec.timeout;
                self.send(
                    ix,
                    session,
                    match cancelled {
                        true => Command::Cancel { key, order },
                        false => Command::Order(Order { number: order, key, timeout }),
                    },
                );
            } else {
                self.finish(task, TaskState::Lost, Some("the player has no trace of it"));
            }
        }
        let strangers = snapshot.live.iter().map(|live| live.key);
        self.roster[ix].strangers = strangers.filter(|key| !awaited.contains(key)).collect();
    }

    fn order_of(&self, task: TaskRef) -> orchestra_model::delivery::OrderNumber {
        self.job(task.job()).map_or_else(Default::default, |job| job.task(task.index).order)
    }

    pub(crate) fn send(&mut self, player: PlayerIx, session: SessionId, command: Command) {
        self.effects.push_back(Effect::Send { player, session, command });
    }

    /// Keeps each job's count of tasks parked on absent players.
    pub(crate) fn recount_absent(&mut self, player: PlayerIx, absent: bool) {
        let parked: Vec<TaskRef> = self.roster[player].parked().collect();
        let mut jobs: BTreeSet<JobId> = BTreeSet::new();
        for task in parked {
            let Some(job) = self.job_mut(task.job()) else {
                continue;
            };
            let one_of = job.is_one_of();
            let counts = job.task(task.index).parked == Parked::Player
                && job.is_parked(task.index)
                && !job.untouched.is_final();
            if one_of || !counts {
                continue;
            }
            if absent {
                job.absent += 1;
                jobs.insert(job.id);
                self.arm_give_up(task, player);
            } else {
                job.absent -= 1;
            }
        }
        for job in jobs {
            self.evaluate(job);
        }
    }

    /// Whether an attempt is of this engine's store.
    pub(crate) fn is_ours(&self, store: StoreId) -> bool {
        store == self.store
    }
}
