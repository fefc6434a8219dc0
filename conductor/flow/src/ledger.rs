//! The ledger: which hosts hold which cells right now, over all flows: promises 17 and 18.
//!
//! That a host holds is a fact about the host: a change runs there, or one has left it down. It
//! holds all its cells or none, so the tasks of one host share its hold, and a further attempt
//! reuses it. What a cell counts follows from that and from the deployments in force; nothing of
//! it is stored, and a reload counts anew.
//!
//! Who waits for room in a cell, and what is counted of it, is in `cells`.
//!
//! A cell is *dead* when holds that only a person can end fill it: those of hosts that are down,
//! where nothing runs, nothing waits and no further attempt is to come.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    Deployments, FlowId, HostSet, JobId, TaskState,
    delivery::OrderNumber,
    ledger::{CellStatus, Holder},
    record::{HoldRecord, Impact, Op},
};

use crate::{
    Engine,
    cells::Ledger,
    effect::{Answer, Effect, Rejection},
    flow::Flow,
    ids::{PlayerIx, ReplyId},
    job::Job,
    parties::PartyIx,
    player::{Down, Player},
    task::TaskRef,
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

    /// New deployments: all of them hold from now on, or none, if hosts of a living flow would
    /// wait for each other for ever.
    pub(crate) fn load_deployments(&mut self, reply: ReplyId, deployments: Arc<Deployments>) {
        let conflict = self.flows.iter().find_map(|flow| self.conflict_in(flow, &deployments));
        if let Some(rejection) = conflict {
            return self.answer(reply, Answer::Rejected(rejection));
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let answer = Answer::DeploymentsLoaded {
            deployments: count(deployments.len()),
            cells: count(deployments.cells().as_slice().len()),
        };
        self.put_in_force(deployments);
        let alive: Vec<FlowId> = self.flows.ids().collect();
        for flow in alive {
            self.line_up(flow);
        }
        for ix in self.roster.indices() {
            if self.roster[ix].parked().next().is_some() {
                self.woken.insert(ix);
            }
        }
        self.answer(reply, answer);
    }

    fn conflict_in(&self, flow: &Flow, deployments: &Deployments) -> Option<Rejection> {
        if !deployments.cells().may_conflict() {
            return None;
        }
        let slots = (1_u16..).zip(&flow.slots).skip(flow.slot);
        slots.into_iter().find_map(|(slot, jobs)| {
            // Only changes wait for anybody.
            let changes = |job: &Job, player: PlayerIx| {
                self.roster[player].impact(&job.kind) == Impact::Holds
            };
            let living = jobs.iter().filter(|job| !job.is_closed());
            let pairs = living.flat_map(|job| job.targets.iter().map(move |player| (job, *player)));
            let hosts = pairs
                .filter(|(job, player)| changes(job, *player))
                .map(|(_, player)| self.roster.host(player).clone());
            let conflicts = deployments.cells().conflicts(&HostSet::from_names(hosts));
            let flow = flow.id;
            (!conflicts.is_empty()).then_some(Rejection::ConflictsInFlow { flow, slot, conflicts })
        })
    }

    /// Counts all cells anew, from who holds.
    pub(crate) fn put_in_force(&mut self, deployments: Arc<Deployments>) {
        self.ledger = Ledger::new(deployments);
        for ix in self.roster.indices() {
            let player = &mut self.roster[ix];
            (player.cells, player.party) = (Arc::default(), PartyIx::default());
            if std::mem::take(&mut player.waits_for_room) {
                self.woken.insert(ix);
            }
        }
        let deployments = Arc::clone(&self.ledger.deployments);
        for (host, cells) in deployments.cells().by_host() {
            if let Some(ix) = self.roster.known(host) {
                self.roster[ix].party = self.ledger.party(cells);
                self.roster[ix].cells = Arc::clone(cells);
            }
        }
        for ix in self.roster.indices() {
            let player = &mut self.roster[ix];
            player.counted = player.to_count();
            let one = |counted: bool| counted.then_some(true);
            let (holds, dead) = (one(player.counted.holds), one(player.counted.dead));
            self.ledger.count(&player.cells, holds, dead);
        }
        // Whose gates are dead has changed for everybody.
        self.changed.extend(self.flows.iter().flat_map(Flow::jobs).map(|job| job.id));
    }

    /// Gives a player that was never heard of before the cells of its host.
    pub(crate) fn give_cells(&mut self, ix: PlayerIx) {
        let cells = self.ledger.deployments.cells().shared_of_host(self.roster.host(ix));
        self.roster[ix].party = self.ledger.party(&cells);
        self.roster[ix].cells = cells;
    }

    /// Restores that a host is down.
    pub(crate) fn restore_hold(&mut self, record: &HoldRecord) {
        let ix = self.roster.intern(&record.host);
        let player = &mut self.roster[ix];
        let (job, order, state) = (record.job, record.order, record.state);
        player.down = Some(Box::new(Down { job, order, state }));
        player.held_since = record.since;
    }

    /// The deployments in force.
    pub fn deployments(&self) -> &Arc<Deployments> {
        &self.ledger.deployments
    }

    /// What is to be told of at most `limit` cells from place `from` on, in the order of their keys.
    /// Looks at each of their hosts.
    pub fn cell_status(&self, from: usize, limit: usize) -> Vec<CellStatus> {
        let cells = self.ledger.deployments.cells();
        let end = from.saturating_add(limit).min(cells.as_slice().len());
        let page = cells.iter().take(end).skip(from);
        page.map(|(id, cell)| {
            let players = cell.hosts.iter().filter_map(|host| self.roster.known(host));
            let holders = players.filter(|ix| self.roster[*ix].holds());
            let mut waiting: BTreeMap<FlowId, u32> = BTreeMap::new();
            for ix in self.ledger.waiting_for(id) {
                for flow in self.flows_waiting_at(ix) {
                    *waiting.entry(flow).or_default() += 1;
                }
            }
            CellStatus {
                key: cell.key.clone(),
                hosts: u32::try_from(cell.hosts.len()).unwrap_or(u32::MAX),
                limit: cell.limit,
                holders: holders.map(|ix| self.holder(ix)).collect(),
                waiting,
            }
        })
        .collect()
    }

    fn flows_waiting_at(&self, ix: PlayerIx) -> BTreeSet<FlowId> {
        let entries = self.roster[ix].parked_changes();
        let waits = |entry: &TaskRef| self.job(entry.job()).is_some_and(|j| j.awaits(entry.index));
        entries.filter(waits).map(|entry| entry.job().flow).collect()
    }

    /// A host that holds its cells, and for whom.
    pub(crate) fn holder(&self, ix: PlayerIx) -> Holder {
        let player: &Player = &self.roster[ix];
        let runs = player.in_flight.iter().filter(|flying| flying.impact == Impact::Holds);
        let mut jobs: BTreeSet<JobId> = runs.map(|flying| flying.task.job()).collect();
        jobs.extend(player.down.as_ref().map(|down| down.job));
        Holder {
            host: player.host.clone(),
            jobs: jobs.into_iter().collect(),
            since: player.held_since,
            down: player.down.as_ref().map(|down| down.state),
            absence: self.holder_absence(ix),
        }
    }

    /// Every host that holds cells, those in no cell too.
    pub fn holders(&self) -> impl Iterator<Item = Holder> + '_ {
        let holds = |ix: &PlayerIx| self.roster[*ix].holds();
        self.roster.indices().filter(holds).map(|ix| self.holder(ix))
    }
}
