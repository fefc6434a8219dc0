//! How a run ends: the world is healed, everything has to end or to say truly why it does not, and
//! what the store says has to be what happened.

use orchestra_flow::{Input, ReplyTo};
use orchestra_model::{
    Asker, FlowId, FlowState, HostName, JobId, JobState, TaskState,
    delivery::{AttemptKey, Outcome},
    flow::JobSpec,
    status::JobStatus,
};

use crate::{
    FLEET, REPLY, Run,
    world::{self, hosts},
};

impl Run {
    /// Everybody comes back and works, until every flow has ended.
    pub(crate) fn heal(&mut self) {
        self.world.perform();
        self.reload_to(&hosts(FLEET));
        self.world.perform();
        let everyone: Vec<HostName> = self.world.players.keys().cloned().collect();
        for name in &everyone {
            let player = self.world.player(name.as_str());
            (player.stopping, player.cannot_spawn, player.kills_slowly) = (false, false, false);
            self.world.dial(name.as_str());
        }
        self.world
            .input(Input::UndrainRequested { reply: ReplyTo::new(REPLY), hosts: hosts(FLEET) });
        for flow in self.world.engine.alive().collect::<Vec<_>>() {
            self.world.input(Input::ResumeRequested { reply: ReplyTo::new(REPLY), flow });
        }
        self.go_on(&everyone);
        self.check_stalls(&[]);
        // Operators end what nobody else can end: first the holds of hosts that are down.
        self.all_goes_well = true;
        self.world
            .input(Input::ReleaseRequested { reply: ReplyTo::new(REPLY), hosts: hosts(FLEET) });
        self.go_on(&everyone);
        self.check_stalls(&["comes after", "canary"]);
        for _slot in 1..=3 {
            self.help(|flow, by| Input::PromoteRequested {
                reply: ReplyTo::new(REPLY),
                flow,
                job: None,
                by,
            });
            self.go_on(&everyone);
        }
        self.check_stalls(&["comes after"]);
        self.help(|flow, by| Input::CancelRequested {
            reply: ReplyTo::new(REPLY),
            flow,
            by,
            abandon: false,
        });
        self.go_on(&everyone);
        let alive: Vec<_> =
            self.world.engine.alive().filter_map(|id| self.world.engine.flow_status(id)).collect();
        assert!(alive.is_empty(), "flows hang: {alive:#?}");
        for name in &everyone {
            self.world.perform();
            self.world.flow_through();
            let settled = self.world.player(name.as_str()).settled();
            assert!(settled.is_empty(), "{name} was never told to forget {settled:?}");
        }
    }

    /// Lets everybody work for a while.
    fn go_on(&mut self, everyone: &[HostName]) {
        for _ in 0..100 {
            self.world.perform();
            self.world.flow_through();
            self.world.perform();
            for name in everyone {
                self.end_something(name.as_str());
            }
            self.world.flow_through();
            self.world.pass(10);
            if self.world.engine.alive_count() == 0 && self.world.pending.is_empty() {
                break;
            }
        }
    }

    /// With everybody there, what goes on no more waits for a person and says so: for one of these
    /// things, where any is named.
    fn check_stalls(&self, for_one_of: &[&str]) {
        for flow in self.world.engine.alive() {
            let status = self.world.engine.flow_status(flow).unwrap();
            let running = status.slots.iter().flatten().any(|job| job.counts.in_flight() > 0);
            assert!(!running, "flow {flow} has something in flight that nobody ends: {status:#?}");
            let waits_for_promotion =
                |job: &JobStatus| job.canary.is_some_and(|canary| canary.ok == canary.tasks);
            if status.slots.iter().flatten().any(waits_for_promotion) {
                continue;
            }
            let state = status.summary.state;
            let says_so = matches!(state, FlowState::Stalled | FlowState::Doomed);
            assert!(says_so, "{status:#?}");
            assert!(!status.stalled.is_empty(), "{status:#?}");
            for why in status.stalled.iter().map(ToString::to_string) {
                let known = for_one_of.is_empty() || for_one_of.iter().any(|it| why.contains(it));
                assert!(known, "flow {flow}: {why}");
            }
        }
    }

    /// Asks for something for every flow that is alive.
    fn help(&mut self, input: impl Fn(FlowId, Asker) -> Input) {
        for flow in self.world.engine.alive().collect::<Vec<_>>() {
            self.world.input(input(flow, world::audience()));
        }
    }

    pub(crate) fn check_outcomes(&self) {
        for id in &self.submitted {
            let record = self.world.disk.flow(*id).unwrap();
            assert!(record.state.is_final());
            let spec = self.world.disk.spec_of(*id);
            let cancelled = record.cancelled_by.is_some();
            let mut goes_on = true;
            let mut all_ok = true;
            for (slot, jobs) in (1..).zip(&spec.slots) {
                let mut slot_ok = true;
                for (job, spec) in (1..).zip(&jobs.jobs) {
                    let id = JobId { flow: *id, slot, job };
                    let state = self.world.disk.job(id).state;
                    let states = self.check_tasks(id);
                    let expected = verdict(spec, &states);
                    if cancelled {
                        let fits = state == JobState::Cancelled || state == expected;
                        assert!(fits, "{id} is {state}: {states:?}");
                    } else if goes_on {
                        assert_eq!(state, expected, "{id}: {states:?}");
                    } else {
                        assert_eq!(state, JobState::Skipped, "{id}: {states:?}");
                    }
                    slot_ok &= state == JobState::Ok;
                }
                all_ok &= slot_ok;
                goes_on &= slot_ok;
            }
            let expected = match (cancelled, all_ok) {
                (true, _) => FlowState::Cancelled,
                (false, true) => FlowState::Ok,
                (false, false) => FlowState::Failed,
            };
            assert_eq!(record.state, expected, "flow {id}");
            let first = JobId { flow: *id, slot: 1, job: 1 };
            assert!(!self.world.disk.has_params(first), "parameters of {first} are kept");
        }
    }

    /// What the store says of tasks is what happened. Their final states.
    fn check_tasks(&self, job: JobId) -> Vec<TaskState> {
        let states = self.world.disk.final_states(job);
        for (index, state) in (0..).zip(&states) {
            assert!(state.is_final(), "task {index} of {job} is {state}");
            let Some(record) = self.world.disk.task(job, index) else {
                // Nothing happened to it, so nothing ran.
                continue;
            };
            let store = world::disk::STORE;
            let key = AttemptKey { store, job, attempt: record.attempt };
            let truth = self.truth.get(&(record.host.clone(), key));
            let end = self.world.disk.end(job, record.host.as_str(), record.attempt);
            let started = self.world.starts.contains_key(&(record.host.clone(), key));
            match state {
                TaskState::Ok => assert_eq!(truth, Some(&Outcome::Exited(0)), "{key}"),
                TaskState::Failed => {
                    let is_failure =
                        |end: &Outcome| matches!(end, Outcome::Exited(1) | Outcome::Signalled(_));
                    // Of an attempt before, where the newest was refused.
                    assert!(!started || truth.is_some_and(is_failure), "{key} did not fail");
                }
                TaskState::TimedOut => {
                    assert!(!started || truth == Some(&Outcome::TimedOut), "{key} had time");
                }
                TaskState::Refused | TaskState::Unreachable | TaskState::Skipped => {
                    assert!(!started, "{key} is {state} and ran");
                }
                // Cancelled is what was killed as well as what never ran; lost may be anything.
                _ => {}
            }
            if matches!(state, TaskState::Ok) {
                assert!(!end.unwrap().late, "{key} has its end as a note");
            }
        }
        states
    }
}

/// A job's verdict, by its definition.
fn verdict(spec: &JobSpec, states: &[TaskState]) -> JobState {
    let total = states.len() as u32;
    let count =
        |is: &dyn Fn(TaskState) -> bool| states.iter().filter(|state| is(**state)).count() as u32;
    let ok = count(&|state| state == TaskState::Ok);
    let failures = count(&|state| {
        use TaskState::{Failed, Lost, Refused, TimedOut};
        matches!(state, Failed | TimedOut | Refused | Lost)
    });
    let most = spec.max_failures.map(|most| most.floor_of(total));
    let needed = match spec.success {
        Some(success) => success.threshold_of(total),
        None => total - most.unwrap_or(0),
    };
    let tolerated = most.unwrap_or(total - needed);
    match ok {
        ok if ok >= needed && failures <= tolerated => JobState::Ok,
        0 => JobState::Failed,
        _ => JobState::Partial,
    }
}
