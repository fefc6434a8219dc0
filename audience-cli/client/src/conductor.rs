//! The conductor itself.

use orchestra_model::status::ConductorStatus;
use orchestra_proto::v1;

use crate::{
    Client, RecoveredStore, RecoveryPlan, Reloaded,
    client::{answered, invalid},
    failure::Failure,
};

/// What a reload may do only if the caller allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Whether a large part of the fleet, and limits in force, may be removed.
    pub removal: bool,
    /// Whether files may take over services that an audience applied.
    pub take_over: bool,
    /// Whether a policy may take the right to reload from the caller.
    pub lockout: bool,
}

impl Client {
    /// Returns the conductor's status.
    pub async fn conductor(&mut self) -> Result<ConductorStatus, Failure> {
        let what = "asking for the conductor's status";
        Ok(answered(what, self.rpc.status(v1::StatusRequest {})).await?.into())
    }

    /// Has the conductor read its configuration anew.
    pub async fn reload(&mut self, allowed: Allowed) -> Result<Reloaded, Failure> {
        let Allowed { removal: allow_removal, take_over, lockout: allow_lockout } = allowed;
        let request = v1::ReloadRequest { allow_removal, take_over, allow_lockout };
        let what = "reloading the conductor's configuration";
        let answer = answered(what, self.rpc.reload(request)).await?;
        answer.try_into().map_err(|error| invalid(what, error))
    }

    /// Has the conductor recover its restored store.
    pub async fn recover(
        &mut self,
        store_id: String,
        although_healthy: bool,
    ) -> Result<RecoveredStore, Failure> {
        let request = v1::RecoverRequest { store_id, although_healthy };
        let what = "recovering the conductor's store";
        Ok(answered(what, self.rpc.recover(request)).await?.into())
    }

    /// Returns what [`Client::recover`] would do.
    pub async fn plan_recover(&mut self) -> Result<RecoveryPlan, Failure> {
        let what = "planning a recovery of the conductor's store";
        Ok(answered(what, self.rpc.plan_recover(v1::PlanRecoverRequest {})).await?.into())
    }
}
