//! Body of the limits that are remembered to be missed.

use std::sync::Arc;

use orchestra_model::{
    HostSet, Timestamp,
    names::DeploymentName,
    record::{DeploymentInForce, InForce, ListEdition},
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
    /// Without any where a former release wrote this.
    #[prost(message, repeated, tag = "4")]
    lists: Vec<ListBody>,
    /// As are these.
    #[prost(message, repeated, tag = "5")]
    words: Vec<WordBody>,
    /// As are these.
    #[prost(message, repeated, tag = "6")]
    files: Vec<FileBody>,
}

#[derive(Message)]
struct FileBody {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    digest: String,
}

#[derive(Message)]
struct WordBody {
    #[prost(string, tag = "1")]
    word: String,
    /// Folded.
    #[prost(string, tag = "2")]
    hosts: String,
}

#[derive(Message)]
struct ListBody {
    #[prost(string, tag = "1")]
    ca: String,
    #[prost(bytes = "vec", tag = "2")]
    key: Vec<u8>,
    #[prost(bytes = "vec", optional, tag = "3")]
    number: Option<Vec<u8>>,
    #[prost(uint64, tag = "4")]
    made: u64,
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
        let list = |list: &ListEdition| ListBody {
            ca: list.ca.to_string(),
            key: list.key.to_vec(),
            number: list.number.as_deref().map(<[u8]>::to_vec),
            made: list.made.0,
        };
        let word = |(word, hosts): (&Arc<str>, &HostSet)| WordBody {
            word: word.to_string(),
            hosts: hosts.to_string(),
        };
        let file = |(name, digest): (&Arc<str>, &Arc<str>)| FileBody {
            name: name.to_string(),
            digest: digest.to_string(),
        };
        Self {
            deployments: record.deployments.iter().map(deployment).collect(),
            groups: record.groups,
            revokes: record.revokes,
            lists: record.lists.iter().map(list).collect(),
            words: record.words.iter().map(word).collect(),
            files: record.files.iter().map(file).collect(),
        }
    }
}

impl InForceBody {
    pub(in super::super) fn into_record(self) -> Result<InForce, Unreadable> {
        let deployment = |DeploymentBody { name, file, cells }: DeploymentBody| {
            let of = DeploymentInForce { file: file.into(), cells };
            Ok((DeploymentName::new(&name)?, of))
        };
        let deployments = self.deployments.into_iter().map(deployment);
        let list = |ListBody { ca, key, number, made }: ListBody| ListEdition {
            ca: ca.into(),
            key: key.into(),
            number: number.map(Into::into),
            made: Timestamp(made),
        };
        let word = |WordBody { word, hosts }: WordBody| {
            let hosts = HostSet::parse_plain(&hosts)
                .map_err(|error| Unreadable::Corrupt(error.to_string()))?;
            Ok((word.into(), hosts))
        };
        let words = self.words.into_iter().map(word);
        Ok(InForce {
            deployments: deployments.collect::<Result<_, Unreadable>>()?,
            groups: self.groups,
            revokes: self.revokes,
            lists: self.lists.into_iter().map(list).collect(),
            words: words.collect::<Result<_, Unreadable>>()?,
            files: self.files.into_iter().map(|of| (of.name.into(), of.digest.into())).collect(),
        })
    }
}
