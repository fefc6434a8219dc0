//! Answers about flows that were submitted, retried or awaited.

use std::io;

use orchestra_model::{ids::FlowId, status::FlowStatus};
use serde::Serialize;

use super::json;
use crate::view::{Output, Page, Style};

/// The id of a flow that was accepted.
pub(crate) struct Accepted(pub(crate) FlowId);

impl Output for Accepted {
    fn noun(&self) -> &'static str {
        "flow"
    }

    fn json(self) -> impl Serialize {
        json::Accepted { id: self.0.0 }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}", self.0)
    }
}

/// The flow that goes on after a retry: the old one itself, or a new one.
pub(crate) struct Retried {
    pub(crate) new: FlowId,
    pub(crate) old: FlowId,
    pub(crate) tasks: u32,
}

impl Output for Retried {
    fn noun(&self) -> &'static str {
        "flow"
    }

    fn json(self) -> impl Serialize {
        let Self { new, old, tasks } = self;
        json::Retried { id: new.0, retry_of: (new != old).then_some(old.0), tasks }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        writeln!(out, "{}", self.new)
    }
}

/// A flow that has ended, after waiting for it. A person is told it on standard error.
pub(crate) struct Verdict<'a>(pub(crate) &'a FlowStatus);

impl Output for Verdict<'_> {
    fn noun(&self) -> &'static str {
        "flow"
    }

    fn json(self) -> impl Serialize {
        json::WholeFlow::new(self.0)
    }

    fn text(self, _out: &mut dyn Page, _style: Style) -> io::Result<()> {
        Ok(())
    }
}
