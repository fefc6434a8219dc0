//! What a flow that has not begun waits for, in sentences.

use orchestra_model::{
    Asker, FlowId, HostSet, Millis, ScoreName,
    advice::{Advice, Remedy},
    start::{NeededEnd, StartStatus},
};

use crate::Engine;

/// A flow that has not begun: whose it is, and what it will do where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingFlow {
    pub flow: FlowId,
    /// Who submitted it.
    pub audience: Asker,
    /// The score of each job, with its hosts and those of its tree's root.
    pub jobs: Vec<(ScoreName, HostSet)>,
}

impl Engine {
    /// Returns the flows that have not begun, in the order of their numbers.
    pub fn pending_flows(&self) -> impl Iterator<Item = PendingFlow> {
        let pending = self.flows.iter().filter(|flow| flow.waits_to_begin());
        pending.map(|flow| {
            let jobs = flow.jobs().map(|job| {
                let players = job.targets().iter().chain(job.tree_roots());
                let hosts = players.map(|player| self.roster.host(*player).clone());
                (job.spec().score.clone(), HostSet::from_names(hosts))
            });
            PendingFlow { flow: flow.id(), audience: flow.audience().clone(), jobs: jobs.collect() }
        })
    }

    /// What a flow that has not begun waits for, and how somebody need not wait.
    pub(super) fn tell_start(&self, id: FlowId) -> Advice {
        let Some(flow) = self.flows.get(id) else { return Advice::default() };
        let text = format!("its flow {}; ", self.tell_awaited(&flow.awaited()));
        Advice::from(text).name(Remedy::Cancel(id)).say(" ends it")
    }

    /// What a flow waits for: `begins when flow 41, which is running, has ended ok, not before 2h`.
    pub(super) fn tell_awaited(&self, awaited: &StartStatus) -> String {
        let StartStatus { start, ended } = *awaited;
        let flow = start.after.filter(|_| ended.is_none()).map(|after| {
            let state = self.state_of(after.flow);
            let how = match (after.end, state) {
                (NeededEnd::Ended, _) => "has ended",
                (NeededEnd::Ok, _) => "has ended ok",
            };
            let other = after.flow;
            match state {
                Some(state) if after.end.is_met_by(state) => {
                    format!("after flow {other}, which {how}")
                }
                Some(state) if state.is_final() => {
                    format!("never, because flow {other} ended {state}: all of it is skipped")
                }
                Some(state) => format!("when flow {other}, which is {state}, {how}"),
                None => format!("when flow {other} {how}"),
            }
        });
        let at = start.at.filter(|at| *at > self.now).map(|at| {
            // Whole seconds, rounded up: the last second counts until it is over.
            let left = Millis(at.since(self.now).0.next_multiple_of(1_000));
            let word = if flow.is_some() { "not before" } else { "in" };
            format!("{word} {left}")
        });
        match (flow, at) {
            (Some(flow), Some(at)) => format!("begins {flow}, {at}"),
            (Some(one), None) | (None, Some(one)) => format!("begins {one}"),
            (None, None) => "begins at once".to_owned(),
        }
    }
}
