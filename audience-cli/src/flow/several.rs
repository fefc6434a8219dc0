//! Several flows on one command line: each is dealt with, whatever became of the others, and what
//! many of them share is said once.

use std::collections::BTreeSet;

use orchestra_client::Exit;
use orchestra_model::ids::FlowId;

use crate::{
    console::narrate,
    error::{Failure, Render as _},
    flow::ids::folded,
};

/// What became of the flows so far.
pub(super) struct Several {
    /// What was attempted, for the flows that are told together: `cancelling flows`.
    what: &'static str,
    /// Whether more than one was named; of one, its own failure is the program's.
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

    /// How it is with one of them.
    pub(super) fn took(&mut self, exit: Exit) {
        self.exit = self.exit.worse(exit);
    }

    /// One of them could not be dealt with. Fails where the others could not either, or there are
    /// none.
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

    /// Tells what is told once, and gives the exit code of them all.
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
