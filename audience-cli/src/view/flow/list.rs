//! Many flows, a line each.

use std::io;

use orchestra_model::{status::FlowSummary, time::Timestamp};
use serde::Serialize;

use super::json;
use crate::view::{Listing, Page, Style, elapsed, when_about};

/// Flows, a line each, newest first.
pub(crate) struct Flows<W> {
    now: Timestamp,
    wanted: W,
    limit: u32,
    since: Timestamp,
    told: u32,
    is_over: bool,
}

impl<W: Fn(&FlowSummary) -> bool> Flows<W> {
    /// Those that are wanted, however many and however old.
    pub(crate) fn new(now: Timestamp, wanted: W) -> Self {
        Self { now, wanted, limit: u32::MAX, since: Timestamp(0), told: 0, is_over: false }
    }

    /// At most so many, and none that was submitted before.
    pub(crate) fn until(self, limit: u32, since: Timestamp) -> Self {
        Self { limit, since, ..self }
    }
}

impl<W: Fn(&FlowSummary) -> bool> Listing for Flows<W> {
    type Item = FlowSummary;

    const NOUN: &'static str = "flows";

    fn wants(&mut self, flow: &FlowSummary) -> bool {
        self.is_over |= flow.submitted_at < self.since;
        let wanted = !self.is_over && (self.wanted)(flow);
        self.told += u32::from(wanted);
        self.is_over |= self.told >= self.limit;
        wanted
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn json(&self, flow: &FlowSummary) -> impl Serialize {
        json::Flow::from(flow)
    }

    fn heading(&self, out: &mut dyn Page) -> io::Result<()> {
        writeln!(
            out,
            "{:<8} {:<10} {:<20} {:<10} {:<12} NAME",
            "ID", "STATE", "SUBMITTED", "TOOK", "BY"
        )
    }

    fn text(&self, flow: &FlowSummary, out: &mut dyn Page, style: Style) -> io::Result<()> {
        summary(out, flow, self.now, style)
    }

    fn remark(&self, told: usize) -> Option<String> {
        (told == 0).then(|| "no flows".to_owned())
    }
}

/// Writes a flow as a line.
fn summary(
    out: &mut dyn io::Write,
    flow: &FlowSummary,
    now: Timestamp,
    style: Style,
) -> io::Result<()> {
    let took = elapsed(flow.ended_at.unwrap_or(now).since(flow.submitted_at));
    let name = flow.name.as_ref().map_or("-", |name| name.as_str());
    let absent = match flow.absent {
        0 => String::new(),
        1 => style.warning(" (1 task on an absent player)").to_string(),
        n => style.warning(&format!(" ({n} tasks on absent players)")).to_string(),
    };
    writeln!(
        out,
        "{:<8} {:<10} {:<20} {took:<10} {:<12} {name}{absent}",
        flow.id,
        style.flow(flow.state),
        when_about(flow.submitted_at),
        flow.actor()
    )
}
