//! Why something is as it is. The engine explains living flows; ended ones are explained from the
//! store.

use orchestra_model::{AudienceName, FlowId, FlowState, HostName, JobId, ledger::Explanation};

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
