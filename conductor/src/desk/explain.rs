//! `orc explain`: of a living flow the engine's words, of an ended one what the store tells.

use orchestra_model::{AudienceName, FlowId, HostName, JobId, ledger::Explanation};
use orchestra_proto::v1;

use super::{
    Desk,
    listing::{Choice, read_host},
    refusal::unknown_flow,
};
use crate::{
    declined::{Declined, Ground},
    driver::Request as Ask,
    history,
};

/// Most explanations in one answer.
const MOST: usize = 1_000;

impl Desk {
    pub(crate) async fn explain_flow(
        &self,
        request: v1::ExplainRequest,
        audience: &AudienceName,
    ) -> Result<v1::ExplainResponse, Declined> {
        let choice = Choice::read(request.slot, request.job, &request.job_name)?;
        let host = read_host(&request.host)?;
        let id = self.flow_id(request.flow, audience).await?;
        let jobs = match choice.is_all() {
            true => None,
            false => Some(self.chosen_jobs(id, &choice).await?),
        };
        let told = match self.explain_living(id, jobs.as_deref(), host.as_ref()).await? {
            Some(told) => told,
            None => self.explain_ended(id, jobs, host.clone()).await?,
        };
        if let (true, Some(host)) = (told.is_empty(), host) {
            return Err(Declined::new(
                Ground::Unknown,
                format!("flow {id} has no such task on {host}"),
            ));
        }
        let state = self.status_of(id).await?.summary.state.to_string();
        let explanations = told.iter().take(MOST).map(Into::into).collect();
        Ok(v1::ExplainResponse { flow: id.0, state, explanations })
    }

    /// `None` where the flow is not alive.
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
