//! Body of a bundle that is registered.

use orchestra_model::{
    Asker, HostName, Timestamp,
    bundle::{RegisteredBundle, Seal},
};
use prost::Message;

use super::Unreadable;

#[derive(Message)]
pub(in super::super) struct BundleBody {
    #[prost(bytes = "vec", tag = "1")]
    seal: Vec<u8>,
    #[prost(string, repeated, tag = "2")]
    sources: Vec<String>,
    #[prost(string, tag = "3")]
    by: String,
    #[prost(uint64, tag = "4")]
    registered_at: u64,
}

impl From<&RegisteredBundle> for BundleBody {
    fn from(record: &RegisteredBundle) -> Self {
        Self {
            seal: record.seal.encode(),
            sources: record.sources.iter().map(ToString::to_string).collect(),
            by: record.by.to_string(),
            registered_at: record.registered_at.0,
        }
    }
}

impl BundleBody {
    pub(in super::super) fn into_record(self) -> Result<RegisteredBundle, Unreadable> {
        let seal = Seal::decode(&self.seal);
        let sources = self.sources.iter().map(|host| HostName::new(host));
        Ok(RegisteredBundle {
            seal: seal.map_err(|why| Unreadable::Corrupt(format!("its seal: {why}")))?,
            sources: sources.collect::<Result<_, _>>()?,
            by: Asker::from_word(&self.by)?,
            registered_at: Timestamp(self.registered_at),
        })
    }
}
