//! Whether what the conductor tells people is so. Asked whenever it is at rest: everything that it
//! decided is on disk and done.

use std::collections::BTreeSet;

use orchestra_flow::Engine;
use orchestra_model::{
    FlowId, FlowState, HostName, HostSet, JobState, TaskState,
    record::{HoldRecord, Impact},
};

use super::{Flow, Job, Reference, rules};

impl Reference {
    /// Everything that is told of living flows, cells and holds is so, nothing waits that could
    /// start, and nothing is over that does not say so.
    pub(crate) fn check_told(&self, engine: &Engine, holds: &[HoldRecord]) {
        assert!(self.freed.is_empty(), "holds ended for nothing: {:?}", self.freed);
        self.check_holds(engine, holds);
        let alive = self.flows.iter().filter(|(_, flow)| !flow.state.is_final());
        let told: Vec<FlowId> = engine.alive().collect();
        assert_eq!(told, alive.clone().map(|(id, _)| *id).collect::<Vec<_>>(), "living flows");
        for (id, flow) in alive {
            self.check_flow(engine, *id, flow);
        }
        for (id, flow) in self.flows.iter().filter(|(_, flow)| flow.state.is_final()) {
            check_ended(*id, flow);
        }
    }

    fn check_holds(&self, engine: &Engine, holds: &[HoldRecord]) {
        // After a recovery, several flows may have lost a change there at once.
        let blamed = |flow: FlowId, state| Some(flow).filter(|_| state != TaskState::Lost);
        let ours = self.hosts.iter().filter_map(|(name, host)| {
            let down = host.down.as_ref()?;
            let flow = down.flow.and_then(|flow| blamed(flow, down.state));
            Some((name.clone(), flow, down.order, down.state))
        });
        let theirs =
            holds.iter().map(|h| (h.host.clone(), blamed(h.job.flow, h.state), h.order, h.state));
        let is_same = ours.clone().eq(theirs);
        assert!(is_same, "down are {:?}, on disk {holds:?}", ours.collect::<Vec<_>>());
        let cells = self.deployments.cells();
        let told = engine.cell_status(0, usize::MAX);
        assert_eq!(told.len(), cells.as_slice().len(), "cells");
        for (cell, told) in cells.as_slice().iter().zip(told) {
            let told_holders: Vec<&HostName> = told.holders.iter().map(|h| &h.host).collect();
            let holders: Vec<&HostName> = self.holders(cell).collect();
            assert_eq!(told_holders, holders, "holders of {}", cell.key);
        }
    }

    fn check_flow(&self, engine: &Engine, id: FlowId, flow: &Flow) {
        let told = engine.flow_status(id).unwrap();
        let mut doomed = false;
        for (job, told) in flow.jobs().zip(told.slots.iter().flatten()) {
            let states = job.states();
            let expected = match job.state {
                JobState::Running | JobState::Doomed if flow.cancelled => job.state,
                JobState::Running | JobState::Doomed if job.is_doomed() => JobState::Doomed,
                JobState::Running | JobState::Doomed => JobState::Running,
                state => state,
            };
            assert_eq!(told.state, expected, "{}: {states:?}", job.id);
            let failed = job.state.is_final() && job.state != JobState::Ok;
            doomed |= expected == JobState::Doomed || failed;
            let ended = states.iter().all(|state| state.is_final());
            let begun = job.state != JobState::Pending;
            assert!(
                !begun || job.state.is_final() == ended,
                "{} is {}: {states:?}",
                job.id,
                job.state
            );
            if job.state.is_final() {
                self.check_verdict(flow, job.id);
            } else {
                self.check_tasks(engine, job.id);
            }
            let idle = job.in_flight() == 0;
            assert!(!(doomed && idle && expected == JobState::Doomed), "{} waits, doomed", job.id);
        }
        let stalled = self.is_stalled(flow.present());
        let expected = match (flow.cancelled, stalled, doomed, flow.paused) {
            _ if flow.waits_to_begin() => Some(self.check_waiting(id, flow)),
            (true, ..) => Some(FlowState::Cancelling),
            (_, _, false, true) => Some(FlowState::Paused),
            (_, _, true, true) => Some(FlowState::Doomed),
            (_, Some(true), ..) => Some(FlowState::Stalled),
            (_, Some(false), true, _) => Some(FlowState::Doomed),
            (_, Some(false), false, _) => Some(FlowState::Running),
            (_, None, ..) => None,
        };
        let is = told.summary.state;
        assert!(
            expected.is_none_or(|state| state == is),
            "flow {id} is {is}, not {expected:?}: {}",
            flow.present().iter().map(|job| self.waiting_of(job)).collect::<String>()
        );
        assert_eq!(is, flow.state, "flow {id} is on disk as something else");
        assert_eq!(is == FlowState::Stalled, !told.stalled.is_empty(), "why flow {id} is {is}");
    }

    /// What a job's tasks wait for, for whoever reads why that is told wrongly.
    fn waiting_of(&self, job: &Job) -> String {
        let waits = |index: &usize| job.state_of(*index) == TaskState::Waiting;
        let gates = (0..job.tasks.len()).filter(waits).map(|index| {
            format!(
                "  {index}: {:?}, hope {:?}\n",
                self.stopped_by(job.id, index),
                self.hope(job, index)
            )
        });
        format!("{}: {:?}\n{}", job.id, job.states(), gates.collect::<String>())
    }

    /// Each task is told as what it is, and waits for a reason that holds.
    fn check_tasks(&self, engine: &Engine, id: orchestra_model::JobId) {
        let job = self.job(id).unwrap();
        let told = engine.tasks(id, 0, u32::MAX).unwrap();
        assert_eq!(told.len(), job.tasks.len(), "tasks of {id}");
        for (index, told) in told.iter().enumerate() {
            let state = job.state_of(index);
            let same = told.state == state || (told.state.is_in_flight() && state.is_in_flight());
            assert!(same, "task {index} of {id} is {state}, told as {}", told.state);
            if state != TaskState::Waiting {
                continue;
            }
            let is_open = job.state == JobState::Running && !job.is_doomed();
            let is_orphan = is_open && job.is_to_be_skipped(index);
            assert!(!is_orphan, "task {index} of {id} is an orphan, and not skipped");
            let closed = self.stopped_by(id, index);
            assert!(!closed.is_empty(), "task {index} of {id} could start: {:?}", told.reason);
            let reason = told.reason.unwrap();
            assert!(
                closed.contains(&reason),
                "task {index} of {id} waits for {reason}, {closed:?}"
            );
        }
    }

    fn check_verdict(&self, flow: &Flow, id: orchestra_model::JobId) {
        let job = self.job(id).unwrap();
        check_verdict(flow, job);
    }

    /// Whether some task of the flow failed for good, so that others, which come after it, wait for
    /// a person to give it a further attempt.
    pub(crate) fn waits_for_a_retry(&self, id: FlowId) -> bool {
        self.flows[&id].present().iter().any(|job| {
            let failed = |state: &TaskState| state.is_final() && *state != TaskState::Ok;
            job.states().iter().any(failed)
        })
    }

    /// Whether a flow waits for another one that lives.
    pub(crate) fn waits_to_begin(&self, id: FlowId) -> bool {
        let (flow, alive) = (&self.flows[&id], |id| self.flows.get(&id).map(|flow| flow.state));
        let other = flow.start.after.and_then(|after| alive(after.flow));
        flow.waits_to_begin() && other.is_some_and(|state| !state.is_final())
    }

    /// Whether changes of the flow wait for each other in a circle of sequences. What would is refused
    /// when it is submitted; a player that tells a score anew as a change may close a circle later, and
    /// then a person mends the score, or cancels.
    pub(crate) fn waits_in_a_circle(&self, id: FlowId) -> bool {
        let waiting = self.flows[&id].present().iter().flat_map(|job| {
            let waits = |index: &usize| job.state_of(*index) == TaskState::Waiting;
            let hosts = (0..job.tasks.len()).filter(waits).flat_map(|index| job.hosts_of(index));
            hosts.filter(|name| self.impact(name, &job.spec) == Impact::Holds).collect::<Vec<_>>()
        });
        !self.deployments.cells().conflicts(&HostSet::from_names(waiting)).is_empty()
    }

    /// Hosts that hold their cells.
    pub(crate) fn still_held(&self) -> BTreeSet<&HostName> {
        self.hosts.keys().filter(|name| self.holds(name)).collect()
    }
}

/// An ended flow is what its jobs make of it, and they what their tasks do.
fn check_ended(id: FlowId, flow: &Flow) {
    for job in flow.jobs() {
        assert!(job.state.is_final(), "flow {id} has ended and {} is {}", job.id, job.state);
        check_verdict(flow, job);
    }
    let all_ok = flow.jobs().all(|job| job.state == JobState::Ok);
    let expected = match (flow.cancelled, all_ok) {
        (true, _) => FlowState::Cancelled,
        (false, true) => FlowState::Ok,
        (false, false) => FlowState::Failed,
    };
    assert_eq!(flow.state, expected, "flow {id}");
}

fn check_verdict(flow: &Flow, job: &Job) {
    let states = job.states();
    assert!(states.iter().all(|state| state.is_final()), "{} ended: {states:?}", job.id);
    let earlier = flow.jobs().filter(|other| other.id.slot < job.id.slot);
    let came = earlier.into_iter().all(|other| other.state == JobState::Ok);
    let came = came && !flow.never_begins();
    let by_outcomes = rules::verdict(&job.spec, &states);
    let fits = match job.state {
        JobState::Cancelled => flow.cancelled,
        JobState::Skipped => {
            // Some may have gone with their player, or with what a restored store forgot.
            use TaskState::{Cancelled, Lost, Skipped};
            let never = |state: &TaskState| matches!(state, Skipped | Cancelled | Lost);
            !came && !flow.cancelled && states.iter().all(never)
        }
        verdict => came && verdict == by_outcomes,
    };
    assert!(fits, "{} is {}, by its tasks {by_outcomes}: {states:?}", job.id, job.state);
}
