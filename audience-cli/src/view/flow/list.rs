//! Many flows, a line each.

use std::io;

use orchestra_model::{
    state::NOT_OK,
    status::{Counts, FlowSummary},
    time::Timestamp,
};
use serde::Serialize;

use super::json;
use crate::view::{Listing, Page, Style, ago, elapsed, when_about};

/// Flows, a line each, newest first.
pub(crate) struct Flows {
    now: Timestamp,
}

impl Flows {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { now }
    }
}

impl Listing for Flows {
    type Item = FlowSummary;

    const NOUN: &'static str = "flows";

    fn json(&self, flow: &FlowSummary) -> impl Serialize {
        json::Flow::from(flow)
    }

    fn heading(&self, out: &mut dyn Page) -> io::Result<()> {
        // As wide as a time is here.
        let room = when_about(self.now).len();
        writeln!(
            out,
            "{:<8} {:<10} {:<room$} {:<10} {:<10} {:<11} {:<7} {:<12} NAME",
            "ID", "STATE", "SUBMITTED", "", "TOOK", "ENDED", "NOT-OK", "BY"
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
    let of = |counts: &Counts| {
        let not_ok = NOT_OK.iter().map(|state| counts.get(*state)).sum::<u32>();
        (format!("{}/{}", counts.finished(), counts.total()), not_ok.to_string())
    };
    // A conductor of the previous release does not count them.
    let (ended, not_ok) = flow.counts.as_ref().map_or_else(|| ("-".into(), "-".into()), of);
    writeln!(
        out,
        "{:<8} {:<10} {} {:<10} {took:<10} {ended:<11} {not_ok:<7} {:<12} {name}{absent}",
        flow.id,
        style.flow(flow.state),
        when_about(flow.submitted_at),
        ago(now, flow.submitted_at),
        flow.actor()
    )
}
