//! What the engine wants done, in the imperative, as plain, comparable data.

use std::{collections::BTreeMap, fmt};

use orchestra_model::{
    Asker, FlowId, HostName, HostSet, Params, ServiceName,
    flow::FlowSpec,
    record::Op,
    service::{
        AbsenceBrake, BrakeScope, Cause, FileOutcome, ServiceVersion, Suspicion, UnwellUnit,
    },
};

use crate::input::{Reply, ReplyId};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write it.
    Persist(Op),
    /// Have the flow engine take a flow at once, and give the outcome ([`crate::Input::Submitted`])
    /// before any other input.
    Submit(Box<UnitFlow>),
    /// Cancel a flow at once, in the name of the asker of something newer.
    Cancel(FlowId, Asker),
    /// The cells of services have changed: [`crate::Services::cells`] has them.
    RecountCells,
    /// These are all units of a host that count as down.
    Unwell(HostName, Vec<UnwellUnit>),
    /// Log that the health of a service is not believed any more, so that nothing is done for it.
    Suspected(ServiceName, Suspicion),
    /// Log that it is believed again.
    Believed(ServiceName, Released),
    /// Log that many players are away, so that replacements are held back.
    Braked(BrakeScope, AbsenceBrake),
    /// Log that replacements are held back no more: somebody asked for it, or so many players are back.
    Unbraked(BrakeScope, Option<Asker>),
    /// Tell what came of the files that were loaded, once the records before are on disk.
    FilesTaken(Vec<FileOutcome>),
    /// Answer an asker, once the records before are on disk.
    Answer(ReplyId, Reply),
}

/// A flow that brings units where they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFlow {
    /// What it changes, in the order of services; at least one.
    pub services: Vec<FlowService>,
    /// The one in whose name it is submitted.
    pub audience: Asker,
    /// Whether the keeper begins it by itself.
    pub by_keeper: bool,
    /// The flow's spec. Each of its jobs is about units of one service, or does a recipe of it.
    pub spec: FlowSpec,
    /// The host set of each job, slot by slot.
    pub targets: Vec<Vec<HostSet>>,
    /// The parameters of jobs that have any, by slot and job from 1.
    pub params: BTreeMap<(u16, u16), Params>,
}

/// A service that a flow changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowService {
    pub name: ServiceName,
    pub cause: Cause,
    /// The version that is wanted.
    pub version: ServiceVersion,
}

/// Why the health of a service is believed again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// So many units are ready again that the others are not suspicious.
    Recovered,
    /// A unit that was restarted to find out whether that helps stayed ready.
    RestartHelped,
    /// Somebody asked for it.
    ByPerson,
    /// Another version is wanted, or no runs are.
    Changed,
}

/// `its checks are believed again: so many succeed`
impl fmt::Display for Released {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = match self {
            Self::Recovered => "so many succeed",
            Self::RestartHelped => "a unit that was restarted stayed ready",
            Self::ByPerson => "somebody released the brake",
            Self::Changed => "something else is wanted of the service",
        };
        write!(f, "its checks are believed again: {why}")
    }
}
