//! Several flows on one command line: each is dealt with, even if others failed, and a failure that
//! many share is told once.

use std::collections::BTreeSet;

use orchestra_client::Exit;
use orchestra_model::ids::FlowId;

use crate::{
    console::narrate,
    error::{Failure, Render as _},
    words::ids::folded,
};

/// What became of the flows so far.
pub(super) struct Several {
    /// What was attempted, for the flows that are told together: `cancelling flows`.
    what: &'static str,
    /// Whether more than one was named. The failure of a single flow is the program's own.
    many: bool,
    exit: Exit,
    unknown: BTreeSet<FlowId>,
    ended: BTreeSet<FlowId>,
}

impl Several {
    pub(super) fn new(what: &'static str, named: usize) -> Self {
        Self {
            what,
            many: named > 1,
            exit: Exit::Ok,
            unknown: BTreeSet::new(),
            ended: BTreeSet::new(),
        }
    }

    /// Notes the exit code of a flow that was dealt with.
    pub(super) fn took(&mut self, exit: Exit) {
        self.exit = self.exit.worse(exit);
    }

    /// Notes a flow that could not be dealt with. Fails if no other flow was named, or if the
    /// others cannot be dealt with either.
    pub(super) fn failed(&mut self, flow: Option<FlowId>, failure: Failure) -> Result<(), Failure> {
        if !self.many || failure.exit == Exit::Away {
            return Err(failure);
        }
        self.took(failure.exit);
        match (failure.exit, flow) {
            (Exit::NoSuchFlow, Some(flow)) => drop(self.unknown.insert(flow)),
            (Exit::Ended, Some(flow)) => drop(self.ended.insert(flow)),
            _ => narrate(failure.render().trim_end()),
        }
        Ok(())
    }

    /// Tells the shared failures, and returns the exit code of all flows.
    pub(super) fn finish(self) -> Exit {
        let Self { what, exit, unknown, ended, .. } = self;
        for (flows, why) in [(unknown, "no such flow"), (ended, "ended already")] {
            if !flows.is_empty() {
                narrate(format_args!("error: {what}: {why}: {}", folded(&flows)));
            }
        }
        exit
    }
}
