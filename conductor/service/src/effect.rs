//! What the engine wants done, in the imperative. Plain, comparable data.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, FlowId, HostName, HostSet, Params, ServiceName,
    flow::FlowSpec,
    record::Op,
    service::{Cause, FileOutcome, ServiceVersion, UnwellUnit},
};

use crate::input::{Reply, ReplyId};

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Write it.
    Persist(Op),
    /// Take in a flow, at once, and say how that went ([`crate::Input::Submitted`]) before anything
    /// else is said.
    Submit(Box<UnitFlow>),
    /// Cancel a flow, at once, in the name of whoever wants something newer.
    Cancel(FlowId, Asker),
    /// The cells of services are others than before: [`crate::Services::cells`] has them.
    RecountCells,
    /// These are all units of a host that count as down.
    Unwell(HostName, Vec<UnwellUnit>),
    /// This came of the files that were loaded; once what is persisted is on disk.
    FilesTaken(Vec<FileOutcome>),
    /// Answer somebody, once what is persisted is on disk.
    Answer(ReplyId, Reply),
}

/// A flow that brings units where they are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFlow {
    /// Of which service.
    pub service: ServiceName,
    /// In whose name.
    pub audience: Asker,
    /// Nobody asked for it: the keeper does it by itself.
    pub by_keeper: bool,
    pub cause: Cause,
    /// Which version is wanted.
    pub version: ServiceVersion,
    /// What. Each of its jobs is about units.
    pub spec: FlowSpec,
    /// The host set of each job, slot by slot.
    pub targets: Vec<Vec<HostSet>>,
    /// The parameters of jobs that have any, by slot and job from 1.
    pub params: BTreeMap<(u16, u16), Params>,
}
