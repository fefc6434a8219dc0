//! Takes new deployments: all of them are in force from now on, or none.

use std::sync::Arc;

use orchestra_model::{Deployments, FlowId, HostSet, record::Impact};

use crate::{
    Engine,
    answer::{self, Rejection, ReplyTo},
    ids::PlayerIx,
    tables::{flow::Flow, job::Job},
};

impl Engine {
    /// Puts new deployments in force: all of them, or none if with them hosts of a living flow
    /// would wait for each other for ever.
    pub(crate) fn load_deployments(
        &mut self,
        reply: ReplyTo<answer::DeploymentsLoaded>,
        deployments: Arc<Deployments>,
    ) {
        let conflict = self.flows.iter().find_map(|flow| self.conflict_in(flow, &deployments));
        if let Some(rejection) = conflict {
            return self.reject(reply, rejection);
        }
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let answer = answer::DeploymentsLoaded {
            deployments: count(deployments.len()),
            cells: count(deployments.cells().as_slice().len()),
        };
        self.put_in_force(deployments);
        let alive: Vec<FlowId> = self.flows.ids().collect();
        for flow in alive {
            self.count_gates(flow);
        }
        for ix in self.roster.indices() {
            if self.roster[ix].parked().next().is_some() {
                self.roster.wake(ix);
            }
        }
        self.answer(reply, answer);
    }

    fn conflict_in(&self, flow: &Flow, deployments: &Deployments) -> Option<Rejection> {
        if !deployments.cells().may_conflict() {
            return None;
        }
        let slots = (1_u16..).zip(flow.slots()).skip(flow.slot());
        slots.into_iter().find_map(|(slot, jobs)| {
            // Only a task that changes its host ever waits for another host.
            let changes = |job: &Job, player: PlayerIx| {
                self.roster[player].impact(job.kind()) == Impact::Holds
            };
            let living = jobs.iter().filter(|job| !job.is_closed());
            let pairs =
                living.flat_map(|job| job.targets().iter().map(move |player| (job, *player)));
            let hosts = pairs
                .filter(|(job, player)| changes(job, *player))
                .map(|(_, player)| self.roster.host(player).clone());
            let conflicts = deployments.cells().conflicts(&HostSet::from_names(hosts));
            let flow = flow.id();
            (!conflicts.is_empty()).then_some(Rejection::ConflictsInFlow { flow, slot, conflicts })
        })
    }

    /// Puts deployments in force and counts all cells anew, from the hosts that hold them.
    pub(crate) fn put_in_force(&mut self, deployments: Arc<Deployments>) {
        self.roster.put_in_force(deployments);
        // Any gate may have become dead or come back to life.
        self.flows.note_all_changed(|_, _| true);
    }
}
