//! What keeps instances from being where and as they are to be.

use crate::{
    HostSet,
    ids::FlowId,
    names::HostName,
    service::{ReplacingWait, Waiting},
    time::Millis,
};

/// What keeps an instance from being where or as it is to be: of several the one that has to go first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Obstacle {
    /// Its player is away. What becomes of it then is said by its absence.
    Absent,
    /// Its player was away for long enough, and this holds the replacement back.
    Replacing(ReplacingWait),
    /// It is to leave its player, and no other one has room.
    Room(Box<Waiting>),
    /// The conductor has started, and players have their time to come back.
    Starting,
    /// Its player is drained, so nothing begins there.
    Drained,
    /// Its player is of a release that keeps no services.
    TooOld,
    /// A unit of the service is there that the store knows nothing of.
    Stranger,
    /// The service that it is linked to is not ready there.
    Linked,
    /// It is ended here once it is ready on this player.
    Successor(HostName),
    /// It begins once it is certain that it is not alive on this player any more.
    Predecessor(HostName),
    /// This flow is to bring it there: what its task waits for, the flow says.
    Flow(FlowId),
    /// Another flow follows once this one has ended.
    NextFlow(FlowId),
    /// A flow did not bring it there, and nobody has asked for anything since.
    GivenUp,
    /// Somebody paused the service.
    Paused,
    /// No flow can be made: the service's trouble says why.
    NoFlow,
    /// So many units are unhealthy together that this is not believed.
    Suspicious,
    /// It turns so often that it is left alone until it was quiet.
    Flapping,
    /// It is unhealthy, and its version says that nothing is done for that.
    Unhealthy,
    /// It gave up or ended, and only a person can help.
    GaveUp,
    /// It fails here, while its version is ready elsewhere: after this time it is tried on another
    /// player.
    Misfit(Millis),
    /// It has no lease.
    Lease,
    /// Nothing: its player goes on with it by itself.
    Itself,
}

impl Obstacle {
    /// The word for it, on the wire and in JSON.
    pub fn as_str(&self) -> &'static str {
        match self {
            Obstacle::Absent => "absent",
            Obstacle::Replacing(_) => "replacing",
            Obstacle::Room(_) => "room",
            Obstacle::Starting => "starting",
            Obstacle::Drained => "drained",
            Obstacle::TooOld => "too-old",
            Obstacle::Stranger => "stranger",
            Obstacle::Linked => "linked",
            Obstacle::Successor(_) => "successor",
            Obstacle::Predecessor(_) => "predecessor",
            Obstacle::Flow(_) => "flow",
            Obstacle::NextFlow(_) => "next-flow",
            Obstacle::GivenUp => "given-up",
            Obstacle::Paused => "paused",
            Obstacle::NoFlow => "no-flow",
            Obstacle::Suspicious => "suspicious",
            Obstacle::Flapping => "flapping",
            Obstacle::Unhealthy => "unhealthy",
            Obstacle::GaveUp => "gave-up",
            Obstacle::Misfit(_) => "misfit",
            Obstacle::Lease => "lease",
            Obstacle::Itself => "itself",
        }
    }

    /// The flow that is meant, if one is.
    pub fn flow(&self) -> Option<FlowId> {
        match self {
            Obstacle::Flow(flow) | Obstacle::NextFlow(flow) => Some(*flow),
            _ => None,
        }
    }
}

/// Hosts whose instances are kept by the same from being where and as they are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hindered {
    pub hosts: HostSet,
    pub by: Obstacle,
}
