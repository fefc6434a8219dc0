//! Look-ups that find nothing: because the thing has gone meanwhile, or because we made a mistake.
//!
//! Queues, deadlines and sets of things to look at refer to flows, jobs and tasks by number, and
//! are not searched when those end. Code that finds nothing there returns [`gone`]. Where the
//! caller has just seen what it asks for, finding nothing is an inconsistency. A test ends with it.
//! A daemon logs it and stops the flow; to go on would lose a task that is in no queue.

use orchestra_model::{FlowId, JobId};

use crate::{Engine, effect::Effect, tables::job::Job};

/// Returns what a look-up yields when the thing has gone meanwhile, or does not wait here any more.
/// That is no mistake.
pub(super) fn gone<T: Default>() -> T {
    T::default()
}

impl Engine {
    /// Reports that something is so which cannot be: our mistake.
    #[cold]
    pub(crate) fn inconsistent(&mut self, flow: FlowId, what: &'static str) {
        debug_assert!(false, "flow {flow}: {what}");
        self.stop_flow(flow, what);
    }

    /// Starts nothing new of a flow until somebody has paused and resumed it, or the conductor has
    /// started anew. Whatever of it runs goes on.
    fn stop_flow(&mut self, flow: FlowId, what: &'static str) {
        let jobs = self.flows.get(flow).into_iter().flat_map(|flow| flow.jobs().map(Job::id));
        for job in jobs.collect::<Vec<JobId>>() {
            self.flows.change(job, |job| job.set_paused(true));
        }
        self.effects.push_back(Effect::Inconsistent { flow, what });
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, sync::Arc};

    use orchestra_model::{
        Asker, HostSet, JobName, ScoreName, Timestamp,
        delivery::{RequestId, StoreId, Term},
        flow::{FlowSpec, JobSpec, SlotSpec},
        record::Recovered,
        thresholds::Excess,
    };

    use super::*;
    use crate::{Input, Recovery, ReplyId, ReplyTo, Settings, Submission};

    const NOW: Timestamp = Timestamp(1_000);

    fn handle(engine: &mut Engine, input: Input) -> Vec<Effect> {
        engine.handle(NOW, input);
        engine.effects().collect()
    }

    #[test]
    fn a_flow_that_was_stopped_goes_on_when_it_is_paused_and_resumed() {
        let recovery = Recovery {
            store: StoreId([1; 16]),
            term: Term(1),
            recovered: Recovered::default(),
            next_flow: FlowId(1),
            players: Vec::new(),
            requests: Vec::new(),
            holds: Vec::new(),
            deployments: Arc::default(),
            doubt: None,
        };
        let mut engine = Engine::recover(Settings { most_tasks: 10 }, recovery);
        engine.resume(NOW);
        let hosts = HostSet::parse_plain("h1").unwrap();
        let (by, score) = (Asker::from_word("alice").unwrap(), ScoreName::new("work").unwrap());
        let spec = JobSpec::new(JobName::new("web").unwrap(), score, "h1");
        let submission = Box::new(Submission {
            request: RequestId([1; 16]),
            audience: by.clone(),
            by_keeper: false,
            spec: FlowSpec::new(vec![SlotSpec { jobs: vec![spec] }]),
            spec_bytes: Arc::from([]),
            targets: vec![vec![hosts.clone()]],
            trees: BTreeMap::new(),
            params: BTreeMap::new(),
            kept_params: BTreeMap::new(),
            retry_of: None,
            mac: None,
            excess: Excess::Refused,
        });
        let reply = ReplyTo::new(ReplyId(1));
        handle(&mut engine, Input::RosterLoaded { reply, hosts, most_removed: 0 });
        let reply = ReplyTo::new(ReplyId(2));
        handle(&mut engine, Input::FlowSubmitted { reply, submission });
        let (flow, job) = (FlowId(1), JobId { flow: FlowId(1), slot: 1, job: 1 });
        let may_start = |engine: &Engine| engine.job(job).map(Job::may_start);
        assert_eq!(may_start(&engine), Some(true));

        let what = "a task was chosen of nobody";
        engine.stop_flow(flow, what);
        engine.advance(NOW);
        let told: Vec<Effect> = engine.effects().collect();
        assert!(told.contains(&Effect::Inconsistent { flow, what }), "{told:?}");
        assert_eq!((may_start(&engine), engine.audit()), (Some(false), Ok(())));

        let reply = ReplyTo::new(ReplyId(3));
        handle(&mut engine, Input::PauseRequested { reply, flow, by });
        let reply = ReplyTo::new(ReplyId(4));
        handle(&mut engine, Input::ResumeRequested { reply, flow });
        assert_eq!((may_start(&engine), engine.audit()), (Some(true), Ok(())));
    }
}
