//! The ledger: which hosts hold which cells right now, over all flows: promises 17 and 18.
//!
//! That a host holds is a fact about the host: a change runs there, or one has left it down. It
//! holds all its cells or none, so the tasks of one host share its hold, and a further attempt
//! reuses it. What a cell counts follows from that and from the deployments in force; nothing of
//! it is stored, and a reload counts anew.
//!
//! Who waits for room in a cell, and what is counted of it, is in `tables/ledger`.
//!
//! A cell is *dead* when holds that only a person can end fill it: those of hosts that are down,
//! where nothing runs, nothing waits and no further attempt is to come.

use std::collections::BTreeMap;

use orchestra_model::{
    FlowId, HostSet, JobId, TaskState,
    delivery::OrderNumber,
    record::{HoldRecord, Impact, Op},
};

use crate::{
    Engine,
    effect::{Answer, Effect, Rejection},
    ids::{PlayerIx, ReplyId},
    tables::{player::Down, task::TaskRef},
};

/// What became of an attempt, as far as its host's hold goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It ended well.
    Well,
    /// It never started.
    Unstarted,
    /// It ended in this state: the host counts as down.
    Down(TaskState),
}

impl Left {
    /// Of a task that was in flight and ends in this state, unless its player said that it did not
    /// start.
    pub(crate) fn of(state: TaskState) -> Self {
        match state {
            TaskState::Ok => Left::Well,
            TaskState::Refused => Left::Unstarted,
            state => Left::Down(state),
        }
    }
}

impl Engine {
    /// Takes a hold back, or leaves it with a host that is down. What says so is written before
    /// the end of the task is: a crash in between must not forget that a host is down.
    pub(crate) fn settle_hold(
        &mut self,
        ix: PlayerIx,
        job: JobId,
        order: OrderNumber,
        impact: Impact,
        left: Left,
    ) {
        let (store, stale) = (self.store, self.stale.is_some());
        let player = &mut self.roster[ix];
        let is_later = |down: &Down| down.order < order;
        // Its own order may have left it down: a crash in between forgot that it was given up.
        let is_mended = |down: &Down| down.order <= order;
        // What was lost and turned out to run there still needs the cells as before.
        // What a player runs is not known while it, or the store, is doubted.
        let goes_on = stale
            || player.quarantine.is_some()
            || player.strangers.iter().any(|stranger| stranger.store == store);
        match left {
            Left::Down(state)
                if impact == Impact::Holds && player.down.as_deref().is_none_or(is_later) =>
            {
                let down = Down { job, order, state };
                let record = player.hold_record(&down);
                player.down = Some(Box::new(down));
                self.put(record);
                self.look_again_on(ix);
            }
            Left::Well
                if impact != Impact::Look
                    && !goes_on
                    && player.down.as_deref().is_some_and(is_mended) =>
            {
                player.down = None;
                let host = player.host.clone();
                self.effects.push_back(Effect::Persist(Op::Release(host)));
                self.note_returning();
            }
            _ => {}
        }
        self.weigh(ix);
    }

    /// Brings what the cells count of a host in line with it. To be called whenever something of
    /// the host has changed that `Player::to_count` looks at.
    pub(crate) fn weigh(&mut self, ix: PlayerIx) {
        let now = self.now;
        let player = &mut self.roster[ix];
        let counts = player.to_count();
        let before = std::mem::replace(&mut player.counted, counts);
        if counts == before {
            return;
        }
        if counts.holds && !before.holds {
            player.held_since = now;
            // What waits there for room shares the hold.
            if player.waits_for_room {
                self.woken.insert(ix);
                self.changed.extend(player.parked_changes().map(TaskRef::job));
            }
        }
        let player = &self.roster[ix];
        let changed = |now: bool, before: bool| (now != before).then_some(now);
        let turned = self.ledger.count(
            &player.cells,
            changed(counts.holds, before.holds),
            changed(counts.dead, before.dead),
        );
        for cell in turned {
            let waiting = self.ledger.waiting_for(cell);
            let entries = waiting.flat_map(|player| self.roster[player].parked_changes());
            self.changed.extend(entries.map(TaskRef::job));
        }
    }

    /// Lets a player wait for room in the cells of its host, one of which is full.
    pub(crate) fn await_room(&mut self, ix: PlayerIx) {
        if !std::mem::replace(&mut self.roster[ix].waits_for_room, true) {
            self.ledger.queue(ix, self.roster[ix].party);
        }
        let player = &self.roster[ix];
        // Its tasks may have nobody left to wait for but a person.
        if self.ledger.is_dead_in(&player.cells) {
            let jobs = player.parked_changes().map(TaskRef::job);
            let news = jobs.filter(|id| self.job(*id).is_some_and(|job| !job.stuck));
            let news: Vec<JobId> = news.collect();
            self.changed.extend(news);
        }
    }

    /// Looks again at the next player that waited for room which there is now. Whether there was
    /// any.
    pub(crate) fn admit(&mut self) -> bool {
        if self.stale.is_some() {
            return false;
        }
        let Some(player) = self.ledger.admit() else { return false };
        self.roster[player].waits_for_room = false;
        self.wake(player);
        true
    }

    /// Ends the holds of hosts that count as down.
    pub(crate) fn release_holds(&mut self, reply: ReplyId, hosts: &HostSet) {
        // Also of players that were removed, but nobody else.
        let unknown = hosts.unknown(|host| self.roster.known(host).is_some());
        if !unknown.is_empty() {
            return self.answer(reply, Answer::Rejected(Rejection::UnknownPlayers(unknown)));
        }
        let mut released = Vec::new();
        for host in hosts {
            let Some(ix) = self.roster.known(host) else { continue };
            if self.roster[ix].down.take().is_some() {
                self.effects.push_back(Effect::Persist(Op::Release(host.clone())));
                self.weigh(ix);
                self.woken.insert(ix);
                released.push(host.clone());
            }
        }
        self.note_returning();
        self.answer(reply, Answer::Released { hosts: HostSet::from_names(released) });
    }

    /// What an ended flow left down counts as left so by another, which takes its place: by the
    /// first of its jobs that has the host.
    pub(crate) fn hand_over_holds(&mut self, from: FlowId, to: FlowId) {
        let Some(flow) = self.flows.get(to) else { return };
        let mut takers: BTreeMap<PlayerIx, JobId> = BTreeMap::new();
        for job in flow.jobs() {
            for player in job.targets.iter() {
                takers.entry(*player).or_insert(job.id);
            }
        }
        for (ix, job) in takers {
            let player = &mut self.roster[ix];
            let Some(down) = player.down.as_mut().filter(|down| down.job.flow == from) else {
                continue;
            };
            down.job = job;
            let down = Down::clone(down);
            let record = player.hold_record(&down);
            self.put(record);
        }
    }

    /// Restores that a host is down.
    pub(crate) fn restore_hold(&mut self, record: &HoldRecord) {
        let ix = self.roster.intern(&record.host);
        let player = &mut self.roster[ix];
        let (job, order, state) = (record.job, record.order, record.state);
        player.down = Some(Box::new(Down { job, order, state }));
        player.held_since = record.since;
    }
}
