//! Body of the limits that are remembered to be missed.

use orchestra_model::{
    names::DeploymentName,
    record::{DeploymentInForce, InForce},
};
use prost::Message;

use super::Unreadable;

/// The limits in force. What else limits the fleet one day takes numbers above these.
#[derive(Message)]
pub(in super::super) struct InForceBody {
    #[prost(message, repeated, tag = "1")]
    deployments: Vec<DeploymentBody>,
    #[prost(uint32, tag = "2")]
    groups: u32,
    #[prost(bool, tag = "3")]
    revokes: bool,
}

#[derive(Message)]
struct DeploymentBody {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    file: String,
    #[prost(uint32, tag = "3")]
    cells: u32,
}

impl From<&InForce> for InForceBody {
    fn from(record: &InForce) -> Self {
        let deployment = |(name, of): (&DeploymentName, &DeploymentInForce)| DeploymentBody {
            name: name.to_string(),
            file: of.file.to_string(),
            cells: of.cells,
        };
        let deployments = record.deployments.iter().map(deployment).collect();
        Self { deployments, groups: record.groups, revokes: record.revokes }
    }
}

impl InForceBody {
    pub(in super::super) fn into_record(self) -> Result<InForce, Unreadable> {
        let deployment = |DeploymentBody { name, file, cells }: DeploymentBody| {
            let of = DeploymentInForce { file: file.into(), cells };
            Ok((DeploymentName::new(&name)?, of))
        };
        let deployments = self.deployments.into_iter().map(deployment);
        Ok(InForce {
            deployments: deployments.collect::<Result<_, Unreadable>>()?,
            groups: self.groups,
            revokes: self.revokes,
        })
    }
}
