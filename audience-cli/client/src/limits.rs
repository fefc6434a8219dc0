//! What limits several flows together: deployments and the ledger.

use orchestra_model::names::DeploymentName;
use orchestra_proto::v1;

use crate::{Client, Pages, ReleasedHolds, client::answered, failure::Failure};

impl Client {
    /// Lists the cells of one deployment or of all; with `busy` only those that hosts hold or wait
    /// for.
    pub async fn ledger(
        &mut self,
        deployment: Option<&DeploymentName>,
        busy: bool,
    ) -> Result<Pages<v1::LedgerPage>, Failure> {
        let what = "listing the ledger".to_owned();
        let deployment = deployment.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListLedgerRequest { deployment, busy };
        let stream = answered(&what, self.rpc.list_ledger(request)).await?;
        Ok(Pages::new(stream, what))
    }

    /// Ends holds of hosts that count as down.
    pub async fn release(
        &mut self,
        hosts: String,
        reason: String,
    ) -> Result<ReleasedHolds, Failure> {
        let request = v1::ReleaseHoldsRequest { hosts, reason };
        Ok(answered("releasing hosts", self.rpc.release_holds(request)).await?.into())
    }

    /// Lists the deployments in force, or the one of this name with its canonical form.
    pub async fn deployments(
        &mut self,
        name: Option<&DeploymentName>,
    ) -> Result<Pages<v1::DeploymentPage>, Failure> {
        let what = match name {
            Some(name) => format!("asking for deployment {name}"),
            None => "listing deployments".to_owned(),
        };
        let name = name.map(ToString::to_string).unwrap_or_default();
        let request = v1::ListDeploymentsRequest { name };
        let stream = answered(&what, self.rpc.list_deployments(request)).await?;
        Ok(Pages::new(stream, what))
    }
}
