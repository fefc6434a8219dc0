//! The conductor itself.

use orchestra_model::status::ConductorStatus;
use orchestra_proto::v1;

use crate::{Client, client::answered, failure::Failure};

impl Client {
    /// How the conductor is.
    pub async fn conductor(&mut self) -> Result<ConductorStatus, Failure> {
        let what = "asking for the conductor's status";
        Ok(answered(what, self.rpc.status(v1::StatusRequest {})).await?.into())
    }

    /// Has the conductor read its configuration anew.
    pub async fn reload(&mut self, allow_removal: bool) -> Result<v1::ReloadResponse, Failure> {
        let request = v1::ReloadRequest { allow_removal };
        answered("reloading the conductor's configuration", self.rpc.reload(request)).await
    }

    /// Has the conductor take up its restored store.
    pub async fn recover(
        &mut self,
        store_id: String,
        although_healthy: bool,
    ) -> Result<v1::RecoverResponse, Failure> {
        let request = v1::RecoverRequest { store_id, although_healthy };
        answered("recovering the conductor's store", self.rpc.recover(request)).await
    }

    /// What [`Client::recover`] would do.
    pub async fn plan_recover(&mut self) -> Result<v1::PlanRecoverResponse, Failure> {
        let what = "planning a recovery of the conductor's store";
        answered(what, self.rpc.plan_recover(v1::PlanRecoverRequest {})).await
    }
}
