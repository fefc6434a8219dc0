//! What operators ask of a conductor, each in a line.

use bytes::Bytes;
use orchestra_proto::v1;
use tonic::{Response, Status};

use super::{Audience, audience::request_id, id, soon};

impl Audience {
    pub(crate) async fn pause(&self, flow: u64) -> Result<String, Status> {
        let mut client = self.client.clone();
        let answer = client.pause(v1::PauseRequest { flow: id(flow) });
        soon("an answer to a pause", answer).await.map(|answer| answer.into_inner().state)
    }

    pub(crate) async fn resume(&self, flow: u64) -> Result<String, Status> {
        let mut client = self.client.clone();
        let answer = client.resume(v1::ResumeRequest { flow: id(flow) });
        soon("an answer to a resume", answer).await.map(|answer| answer.into_inner().state)
    }

    pub(crate) async fn promote(&self, flow: u64, job: &str) -> Result<String, Status> {
        let mut client = self.client.clone();
        let answer =
            client.promote(v1::PromoteRequest { flow: id(flow), job_name: job.to_owned() });
        soon("an answer to a promotion", answer).await.map(|answer| answer.into_inner().state)
    }

    pub(crate) async fn abandon(&self, flow: u64) -> Result<String, Status> {
        let mut client = self.client.clone();
        let answer = client.cancel(v1::CancelRequest {
            flow: id(flow),
            abandon: true,
            ..Default::default()
        });
        soon("an answer to a cancel", answer).await.map(|answer| answer.into_inner().state)
    }

    pub(crate) async fn retry(&self, flow: u64) -> Result<v1::RetryResponse, Status> {
        self.try_retry(retry(flow)).await
    }

    pub(crate) async fn try_retry(
        &self,
        request: v1::RetryRequest,
    ) -> Result<v1::RetryResponse, Status> {
        let mut client = self.client.clone();
        soon("an answer to a retry", client.retry(request)).await.map(Response::into_inner)
    }

    pub(crate) async fn drain(
        &self,
        hosts: &str,
        reason: &str,
    ) -> Result<v1::DrainResponse, Status> {
        let request = v1::DrainRequest { hosts: hosts.to_owned(), reason: reason.to_owned() };
        let mut client = self.client.clone();
        soon("an answer to a drain", client.drain(request)).await.map(Response::into_inner)
    }

    pub(crate) async fn undrain(&self, hosts: &str) -> Result<v1::DrainResponse, Status> {
        let mut client = self.client.clone();
        let answer = client.undrain(v1::UndrainRequest { hosts: hosts.to_owned() });
        soon("an answer to an undrain", answer).await.map(Response::into_inner)
    }

    /// The hosts that counted as down, folded.
    pub(crate) async fn release(&self, hosts: &str, reason: &str) -> Result<String, Status> {
        let request =
            v1::ReleaseHoldsRequest { hosts: hosts.to_owned(), reason: reason.to_owned() };
        let mut client = self.client.clone();
        let answer = soon("an answer to a release", client.release_holds(request)).await;
        answer.map(|answer| answer.into_inner().hosts)
    }

    pub(crate) async fn explain(
        &self,
        request: v1::ExplainRequest,
    ) -> Result<v1::ExplainResponse, Status> {
        let mut client = self.client.clone();
        soon("an explanation", client.explain(request)).await.map(Response::into_inner)
    }

    pub(crate) async fn plan(
        &self,
        request: v1::SubmitRequest,
    ) -> Result<v1::PlanResponse, Status> {
        let v1::SubmitRequest { spec, params, require_same_score, allow_unknown, .. } = request;
        let mut client = self.client.clone();
        let asked = v1::PlanRequest { spec, params, require_same_score, allow_unknown };
        let plan = client.plan(asked);
        soon("a plan", plan).await.map(Response::into_inner)
    }

    /// The cells of a deployment, or of all.
    pub(crate) async fn ledger(
        &self,
        deployment: &str,
        busy: bool,
    ) -> Result<Vec<v1::CellStatus>, Status> {
        let request = v1::ListLedgerRequest { deployment: deployment.to_owned(), busy };
        let mut pages = self.client.clone().list_ledger(request).await?.into_inner();
        let mut cells = Vec::new();
        while let Some(page) = soon("a page", pages.message()).await? {
            cells.extend(page.cells);
        }
        Ok(cells)
    }

    pub(crate) async fn deployments(&self, name: &str) -> Result<Vec<v1::Deployment>, Status> {
        let request = v1::ListDeploymentsRequest { name: name.to_owned() };
        let mut pages = self.client.clone().list_deployments(request).await?.into_inner();
        let mut deployments = Vec::new();
        while let Some(page) = soon("a page", pages.message()).await? {
            deployments.extend(page.deployments);
        }
        Ok(deployments)
    }
}

/// A retry of everything that is left of a flow.
pub(crate) fn retry(flow: u64) -> v1::RetryRequest {
    let request_id: Bytes = request_id();
    v1::RetryRequest { request_id, flow: id(flow), ..Default::default() }
}
