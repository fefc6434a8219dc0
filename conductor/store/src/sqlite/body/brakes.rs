//! Body of what holds replacements back.

use orchestra_model::{
    Asker, Timestamp,
    service::{AbsenceBrake, BrakeScope, Brakes},
};
use prost::Message;

use super::{Unreadable, word};

/// Every brake.
#[derive(Message)]
pub(in super::super) struct BrakesBody {
    #[prost(message, repeated, tag = "1")]
    brakes: Vec<BrakeBody>,
}

#[derive(Message)]
struct BrakeBody {
    /// The word for what it holds back.
    #[prost(string, tag = "1")]
    on: String,
    #[prost(uint64, tag = "2")]
    at: u64,
    #[prost(uint32, tag = "3")]
    absent: u32,
    #[prost(uint32, tag = "4")]
    of: u32,
    #[prost(string, optional, tag = "5")]
    released_by: Option<String>,
}

impl From<&Brakes> for BrakesBody {
    fn from(brakes: &Brakes) -> Self {
        let body = |(scope, brake): (&BrakeScope, &AbsenceBrake)| BrakeBody {
            on: scope.to_string(),
            at: brake.at.0,
            absent: brake.absent,
            of: brake.of,
            released_by: brake.released_by.as_ref().map(ToString::to_string),
        };
        Self { brakes: brakes.0.iter().map(body).collect() }
    }
}

impl BrakesBody {
    pub(in super::super) fn into_record(self) -> Result<Brakes, Unreadable> {
        let brakes = self.brakes.into_iter().map(BrakeBody::into_record);
        Ok(Brakes(brakes.collect::<Result<_, _>>()?))
    }
}

impl BrakeBody {
    fn into_record(self) -> Result<(BrakeScope, AbsenceBrake), Unreadable> {
        let scope = word(&self.on, BrakeScope::from_word)??;
        let released_by = self.released_by.map(|by| Asker::from_word(&by)).transpose()?;
        let brake =
            AbsenceBrake { at: Timestamp(self.at), absent: self.absent, of: self.of, released_by };
        Ok((scope, brake))
    }
}
