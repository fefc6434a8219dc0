//! Why something is as it is. The engine explains living flows; ended ones are explained from the
//! store.

use orchestra_model::{
    AudienceName, ByteSize, FlowId, FlowState, HostName, JobId,
    ledger::Explanation,
    relay::{FetchStage, FetchStatus},
};

use super::{Choice, Desk, WhichFlow, refusal::unknown_flow};
use crate::{
    declined::{Declined, Ground},
    driver::Request as Ask,
    history,
};

/// Most explanations in one answer.
const MOST: usize = 1_000;

/// Explanations about a flow.
#[derive(Debug)]
pub(crate) struct Explanations {
    pub(crate) flow: FlowId,
    pub(crate) state: FlowState,
    pub(crate) explanations: Vec<Explanation>,
}

impl Desk {
    /// Explains jobs of a flow, or their tasks on one host.
    pub(crate) async fn explain(
        &self,
        flow: WhichFlow,
        choice: &Choice,
        host: Option<HostName>,
        audience: &AudienceName,
    ) -> Result<Explanations, Declined> {
        // What it waits for may be anywhere.
        self.check_sees_all(audience)?;
        let flow = self.flow_id(flow, audience).await?;
        let jobs = match choice.is_all() {
            true => None,
            false => Some(self.chosen_jobs(flow, choice).await?),
        };
        let mut explanations =
            match self.explain_living(flow, jobs.as_deref(), host.as_ref()).await? {
                Some(told) => told,
                None => self.explain_ended(flow, jobs, host.clone()).await?,
            };
        if let (true, Some(host)) = (explanations.is_empty(), host) {
            let why = format!("flow {flow} has no such task on {host}");
            return Err(Declined::new(Ground::Unknown, why));
        }
        let state = self.status_of(flow).await?.summary.state;
        self.explain_fetches(flow, &mut explanations);
        explanations.truncate(MOST);
        Ok(Explanations { flow, state, explanations })
    }

    /// Returns `None` if the flow is not alive.
    async fn explain_living(
        &self,
        flow: FlowId,
        jobs: Option<&[JobId]>,
        host: Option<&HostName>,
    ) -> Result<Option<Vec<Explanation>>, Declined> {
        let jobs = match jobs {
            None => vec![None],
            Some(jobs) => jobs.iter().copied().map(Some).collect(),
        };
        let mut all = Vec::new();
        for job in jobs {
            let host = host.cloned();
            let told = self.ask(|reply| Ask::Explain { flow, job, host, reply }).await?;
            let Some(told) = told else { return Ok(None) };
            all.extend(told);
            if all.len() >= MOST {
                break;
            }
        }
        Ok(Some(all))
    }

    /// Adds how far the bundles are that hosts of tasks in flight fetch.
    fn explain_fetches(&self, flow: FlowId, explanations: &mut [Explanation]) {
        // A task that waits, or has ended, fetches nothing.
        for explanation in explanations.iter_mut().filter(|told| told.reason.is_none()) {
            let mut fetching = self.fetches.told(explanation.hosts.as_slice(), None);
            fetching.retain(|it| it.flow == flow && it.stage == FetchStage::Fetching);
            if let Some(told) = told_fetches(&fetching) {
                explanation.text = std::mem::take(&mut explanation.text).say("; ").say(told);
            }
        }
    }

    async fn explain_ended(
        &self,
        flow: FlowId,
        jobs: Option<Vec<JobId>>,
        host: Option<HostName>,
    ) -> Result<Vec<Explanation>, Declined> {
        let read =
            self.read(move |reader| history::explain(reader, flow, jobs.as_deref(), host.as_ref()));
        read.await?.ok_or_else(|| unknown_flow(flow))
    }
}

/// How far bundles are on hosts that fetch them; `None` if none does.
fn told_fetches(fetching: &[FetchStatus]) -> Option<String> {
    let share = |told: &FetchStatus| percent(told.here, told.content);
    let (least, most) = (fetching.iter().map(share).min()?, fetching.iter().map(share).max()?);
    let [told] = fetching else {
        let idle = fetching.iter().filter(|told| told.source.is_none()).count();
        let nobody = match idle {
            0 => String::new(),
            _ => format!("; {idle} of them are served by nobody at the moment"),
        };
        let hosts = fetching.len();
        return Some(format!(
            "a bundle arrives on {hosts} hosts: {least} to {most} % are there{nobody}"
        ));
    };
    let (here, all) = (told.here.rounded(), told.content.rounded());
    let from = match &told.source {
        Some(source) => format!("from {source}, {}/s", ByteSize(told.rate).rounded()),
        None if told.left.is_empty() => "nobody serves it yet".to_owned(),
        None => format!("nobody serves it at the moment; {}", told.left),
    };
    Some(format!("its bundle arrives: {least} % ({here} of {all}) are there, {from}"))
}

/// How much of it is there, in percent, rounded down; all of nothing.
fn percent(here: ByteSize, all: ByteSize) -> u64 {
    here.0.saturating_mul(100).checked_div(all.0).unwrap_or(100)
}
