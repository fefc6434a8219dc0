//! Which flow is meant, and which of its jobs.

use orchestra_model::{
    AudienceName, FlowId, JobId, delivery::RequestId, names::JobName, status::FlowStatus,
};

use super::{Desk, refusal::unknown_flow};
use crate::{
    declined::{Declined, Ground},
    driver::Request as Ask,
    history,
};

/// How somebody names a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WhichFlow {
    /// By its number.
    Id(FlowId),
    /// As the asker's newest flow.
    Last,
    /// By the id of the request with which the asker submitted it.
    Request(RequestId),
}

/// Which jobs of a flow are meant: those that match all fields that are given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choice {
    /// The slot, counted from 1; 0 for any.
    pub(crate) slot: u32,
    /// The job's number in its slot, counted from 1; 0 for any.
    pub(crate) job: u32,
    pub(crate) name: Option<JobName>,
}

impl Choice {
    /// Returns whether it chooses the whole flow.
    pub(super) fn is_all(&self) -> bool {
        (self.slot, self.job) == (0, 0) && self.name.is_none()
    }
}

impl Desk {
    /// Returns the number of a flow that is named, and that its asker may see.
    pub(crate) async fn flow_id(
        &self,
        flow: WhichFlow,
        audience: &AudienceName,
    ) -> Result<FlowId, Declined> {
        let id = self.named_flow(flow, audience).await?;
        self.check_sees_flow(audience, id).await?;
        Ok(id)
    }

    async fn named_flow(
        &self,
        flow: WhichFlow,
        audience: &AudienceName,
    ) -> Result<FlowId, Declined> {
        let unknown = |why: String| Declined::new(Ground::Unknown, why);
        match flow {
            WhichFlow::Id(id) => Ok(id),
            WhichFlow::Last => {
                let whose = audience.into();
                let newest = self.read(move |reader| Ok(reader.newest_of(&whose)?)).await?;
                newest.ok_or_else(|| unknown(format!("{audience} has not submitted any flow yet")))
            }
            WhichFlow::Request(id) => {
                let flow = self.submitted_before(&audience.into(), id, Vec::new()).await?;
                flow.ok_or_else(|| {
                    unknown(format!(
                        "request {id} of {audience} is not known: nothing was taken in under it, or \
                         its flow was pruned"
                    ))
                })
            }
        }
    }

    /// Returns the flow's status: from the engine while the flow lives, else from the store.
    pub(crate) async fn status_of(&self, id: FlowId) -> Result<FlowStatus, Declined> {
        if let Some(status) = self.ask(|reply| Ask::FlowStatus(id, reply)).await? {
            return Ok(status);
        }
        let status = self.read(move |reader| history::flow_status(reader, id)).await?;
        status.ok_or_else(|| unknown_flow(id))
    }

    /// Returns the chosen jobs of a flow: at least one.
    pub(crate) async fn chosen_jobs(
        &self,
        id: FlowId,
        choice: &Choice,
    ) -> Result<Vec<JobId>, Declined> {
        let status = self.status_of(id).await?;
        let jobs: Vec<JobId> = status
            .slots
            .iter()
            .flatten()
            .filter(|job| choice.slot == 0 || u32::from(job.id.slot) == choice.slot)
            .filter(|job| choice.job == 0 || u32::from(job.id.job) == choice.job)
            .filter(|job| choice.name.as_ref().is_none_or(|name| *name == job.name))
            .map(|job| job.id)
            .collect();
        if jobs.is_empty() {
            let why = format!("flow {id} has no such slot or job");
            return Err(Declined::new(Ground::Unknown, why));
        }
        Ok(jobs)
    }

    /// Returns the job of that name; `None` if no name is given.
    pub(super) async fn named_job(
        &self,
        flow: FlowId,
        name: Option<JobName>,
    ) -> Result<Option<JobId>, Declined> {
        if name.is_none() {
            return Ok(None);
        }
        // Names are unique in a flow.
        let choice = Choice { name, ..Choice::default() };
        Ok(self.chosen_jobs(flow, &choice).await?.first().copied())
    }
}
