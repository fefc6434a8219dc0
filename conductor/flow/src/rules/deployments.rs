//! New deployments: all of them hold from now on, or none.

use std::sync::Arc;

use orchestra_model::{Deployments, FlowId, HostSet, record::Impact};

use crate::{
    Engine,
    effect::{Answer, Rejection},
    ids::{PlayerIx, ReplyId},
    tables::{flow::Flow, job::Job, ledger::Ledger, parties::PartyIx},
};

impl Engine {
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
}
