//! What keeps instances from being where and as they are to be.

use orchestra_model::{
    ids::FlowId,
    names::HostName,
    service::{Hindered, Obstacle, ReplacingWait},
};

use super::unit::bounded;
use crate::{
    invalid::{InField as _, Invalid},
    v1,
};

impl From<&Hindered> for v1::Hindered {
    fn from(hindered: &Hindered) -> Self {
        let by = &hindered.by;
        let mut of = Self {
            hosts: hindered.hosts.to_string(),
            by: by.as_str().to_owned(),
            flow: by.flow().map_or(0, |flow| flow.0),
            ..Self::default()
        };
        match by {
            Obstacle::Replacing(why) => of.waits = why.to_string(),
            Obstacle::Room(waiting) => of.room = Some((&**waiting).into()),
            Obstacle::Successor(host) => of.successor = host.to_string(),
            Obstacle::Predecessor(host) => of.predecessor = host.to_string(),
            Obstacle::Misfit(left) => of.left_ms = left.0,
            _ => {}
        }
        of
    }
}

impl TryFrom<&v1::Hindered> for Hindered {
    type Error = Invalid;

    fn try_from(hindered: &v1::Hindered) -> Result<Self, Invalid> {
        let flow =
            || (hindered.flow > 0).then_some(FlowId(hindered.flow)).in_field("Hindered.flow");
        let by = match hindered.by.as_str() {
            "absent" => Obstacle::Absent,
            "replacing" => {
                let why = ReplacingWait::from_word(&hindered.waits);
                Obstacle::Replacing(why.in_field("Hindered.waits")?)
            }
            "room" => {
                let waiting = hindered.room.as_ref().in_field("Hindered.room")?;
                Obstacle::Room(Box::new(waiting.try_into()?))
            }
            "starting" => Obstacle::Starting,
            "drained" => Obstacle::Drained,
            "too-old" => Obstacle::TooOld,
            "stranger" => Obstacle::Stranger,
            "linked" => Obstacle::Linked,
            "successor" => {
                let host = HostName::new(&hindered.successor);
                Obstacle::Successor(host.in_field("Hindered.successor")?)
            }
            "predecessor" => {
                let host = HostName::new(&hindered.predecessor);
                Obstacle::Predecessor(host.in_field("Hindered.predecessor")?)
            }
            "flow" => Obstacle::Flow(flow()?),
            "next-flow" => Obstacle::NextFlow(flow()?),
            "given-up" => Obstacle::GivenUp,
            "paused" => Obstacle::Paused,
            "no-flow" => Obstacle::NoFlow,
            "suspicious" => Obstacle::Suspicious,
            "flapping" => Obstacle::Flapping,
            "unhealthy" => Obstacle::Unhealthy,
            "gave-up" => Obstacle::GaveUp,
            "misfit" => Obstacle::Misfit(bounded(hindered.left_ms, "Hindered.left_ms")?),
            "lease" => Obstacle::Lease,
            "itself" => Obstacle::Itself,
            _ => return Err(Invalid::field("Hindered.by")),
        };
        Ok(Hindered { hosts: super::status::hosts(&hindered.hosts, "Hindered.hosts")?, by })
    }
}
