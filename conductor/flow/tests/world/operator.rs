//! What operators ask for.

use std::sync::Arc;

use orchestra_flow::{Answer, Input, Overlay, ReplyId, ReplyTo, answer};
use orchestra_model::{
    Deployments, FlowId, JobId,
    flow::FlowSpec,
    ledger::{Explanation, Forecast},
    service::Unready,
    thresholds::Excess,
};

use super::{World, audience, host, hosts, submitted};

const REPLY: ReplyId = ReplyId(0);

impl World {
    /// Asks for something, and gives the answer.
    pub fn ask(&mut self, input: Input) -> Answer {
        self.input(input);
        self.work();
        self.answers.last().unwrap().clone()
    }

    pub fn cancel(&mut self, flow: FlowId) -> Answer {
        self.ask(cancel(flow, false))
    }

    /// Cancels a flow, and waits for nobody who is away.
    pub fn abandon(&mut self, flow: FlowId) -> Answer {
        self.ask(cancel(flow, true))
    }

    /// Cancels without looking at the answer, which waits for what is to be written.
    pub fn cancel_quietly(&mut self, flow: FlowId) {
        self.input(cancel(flow, false));
        self.work();
    }

    /// Pauses without looking at the answer, which waits for what is to be written.
    pub fn pause_quietly(&mut self, flow: FlowId) {
        self.input(Input::PauseRequested { reply: ReplyTo::new(REPLY), flow, by: audience() });
        self.work();
    }

    /// Promotes without looking at the answer, which waits for what is to be written.
    pub fn promote_quietly(&mut self, flow: FlowId) {
        self.input(Input::PromoteRequested {
            reply: ReplyTo::new(REPLY),
            flow,
            job: None,
            by: audience(),
        });
        self.work();
    }

    pub fn pause(&mut self, flow: FlowId) -> Answer {
        self.ask(Input::PauseRequested { reply: ReplyTo::new(REPLY), flow, by: audience() })
    }

    pub fn resume(&mut self, flow: FlowId) -> Answer {
        self.ask(Input::ResumeRequested { reply: ReplyTo::new(REPLY), flow })
    }

    pub fn promote(&mut self, flow: FlowId) -> Answer {
        self.ask(Input::PromoteRequested {
            reply: ReplyTo::new(REPLY),
            flow,
            job: None,
            by: audience(),
        })
    }

    /// Gives every task of a living flow that ended and is not ok a further attempt.
    pub fn retry(&mut self, flow: FlowId) -> Answer {
        self.disk.may_retry = true;
        self.ask(Input::RetryRequested { reply: ReplyTo::new(REPLY), flow, job: None, hosts: None })
    }

    /// Retries the tasks on these hosts.
    pub fn retry_on(&mut self, flow: FlowId, job: Option<JobId>, expression: &str) -> Answer {
        self.disk.may_retry = true;
        let hosts = Some(hosts(expression));
        self.ask(Input::RetryRequested { reply: ReplyTo::new(REPLY), flow, job, hosts })
    }

    pub fn drain_players(&mut self, expression: &str) -> Answer {
        let (hosts, by, reason) = (hosts(expression), audience(), "a disk is changed".into());
        self.ask(Input::DrainRequested { reply: ReplyTo::new(REPLY), hosts, by, reason })
    }

    pub fn undrain_players(&mut self, expression: &str) -> Answer {
        self.ask(Input::UndrainRequested { reply: ReplyTo::new(REPLY), hosts: hosts(expression) })
    }

    /// Ends the holds of hosts that count as down.
    pub fn release(&mut self, expression: &str) -> Answer {
        self.ask(Input::ReleaseRequested { reply: ReplyTo::new(REPLY), hosts: hosts(expression) })
    }

    /// Tells which units of a player are not well.
    pub fn tell_units(&mut self, name: &str, unwell: &[(&str, Unready)]) {
        let player = self.engine.roster().known(&host(name)).unwrap();
        let unwell = unwell.iter().map(|(service, unready)| super::unwell(service, *unready));
        self.truth.units_told = true;
        self.input(Input::UnitsTold { player, unwell: unwell.collect() });
        self.work();
    }

    /// Reads these deployments.
    pub fn deploy(&mut self, deployments: Arc<Deployments>) -> Answer {
        let loaded = Arc::clone(&deployments);
        let answer =
            self.ask(Input::DeploymentsLoaded { reply: ReplyTo::new(REPLY), deployments: loaded });
        if let Answer::DeploymentsLoaded(answer::DeploymentsLoaded { .. }) = answer {
            self.disk.deployments = deployments;
        }
        answer
    }

    /// Submits the unfinished part of an ended flow, as whoever retries one does.
    pub fn submit_retry(&mut self, spec: FlowSpec, retry_of: FlowId) -> FlowId {
        let mut submission = self.submission(spec);
        submission.retry_of = Some(retry_of);
        submission.excess = Excess::Capped;
        match self.ask(submitted(submission)) {
            Answer::Submitted(answer::Submitted { flow, repeated: false }) => flow,
            answer => panic!("not submitted: {answer:?}"),
        }
    }

    pub fn plan(&mut self, spec: FlowSpec) -> Forecast {
        let submission = self.submission(spec);
        let overlay: Overlay = self.engine.overlay(submission);
        overlay.run().unwrap()
    }

    /// The waves of a plan, a line each: `fe1[1-2]:fe[1-2] be:be1`.
    pub fn waves(&mut self, spec: FlowSpec) -> Vec<String> {
        let told = |wave: &Vec<_>| {
            let jobs = wave.iter().map(|(job, hosts)| format!("{job}:{hosts}"));
            jobs.collect::<Vec<String>>().join(" ")
        };
        self.plan(spec).waves.iter().map(told).collect()
    }

    pub fn explain(&self, flow: FlowId) -> Vec<Explanation> {
        self.engine.explain(flow, None, None).unwrap()
    }

    /// Why a flow is stalled: a sentence for each thing.
    pub fn stalled(&self, flow: FlowId) -> Vec<String> {
        self.status(flow).unwrap().stalled.iter().map(ToString::to_string).collect()
    }

    /// Why a job is where it is on one host: one sentence.
    pub fn why(&self, flow: FlowId, slot: u16, job: u16, name: &str) -> String {
        let id = JobId { flow, slot, job };
        let told = self.engine.explain(flow, Some(id), Some(&host(name))).unwrap();
        let texts: Vec<String> = told.into_iter().map(|told| told.text.to_string()).collect();
        texts.join(" | ")
    }

    /// The hosts that hold cells, folded.
    pub fn holders(&self) -> String {
        let holders = self.engine.holders().map(|holder| holder.host);
        holders.collect::<orchestra_model::HostSet>().to_string()
    }

    /// Whether something runs on a host that holds its cells.
    pub fn engine_holds(&self, name: &str) -> bool {
        self.engine.holders().any(|holder| holder.host == host(name) && holder.down.is_none())
    }

    /// Those of them that count as down, folded.
    pub fn down(&self) -> String {
        let down = self.engine.holders().filter(|holder| holder.down.is_some());
        down.map(|holder| holder.host).collect::<orchestra_model::HostSet>().to_string()
    }
}

fn cancel(flow: FlowId, abandon: bool) -> Input {
    let reason = Some("it was wrong".into());
    Input::CancelRequested { reply: ReplyTo::new(REPLY), flow, by: audience(), reason, abandon }
}
