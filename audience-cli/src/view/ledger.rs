//! Cells: how many hosts may hold each at once, who does, who waits.

use std::{collections::BTreeMap, io};

use orchestra_model::{
    hostset::HostSet,
    ids::{FlowId, JobId},
    ledger::{CellStatus, Holder},
    state::TaskState,
    time::Timestamp,
};
use serde::Serialize;

use super::style::{Style, when, when_about};

/// Writes a cell, and below it a line for all holders that are there for the same.
pub fn cell(out: &mut dyn io::Write, cell: &CellStatus, style: Style) -> io::Result<()> {
    let CellStatus { key, hosts, limit, holders, waiting } = cell;
    let held = match limit {
        None => format!("{} busy, no limit", holders.len()),
        Some(limit) => format!("{} of {limit} held", holders.len()),
    };
    let over = limit.is_some_and(|limit| holders.len() > limit as usize);
    let held = if over { style.warning(&held).to_string() } else { held };
    writeln!(out, "{key}: {held} ({hosts} {})", if *hosts == 1 { "host" } else { "hosts" })?;
    for line in holder_lines(holders, style) {
        writeln!(out, "  {line}")?;
    }
    if !waiting.is_empty() {
        let flow = |(flow, hosts): (&FlowId, &u32)| format!("{hosts} of flow {flow}");
        let flows: Vec<String> = waiting.iter().map(flow).collect();
        writeln!(out, "  waiting: {}", flows.join(", "))?;
    }
    Ok(())
}

/// `fe[1-2] (2) failed in 42.1.1, since 2025-11-21T08:00:00Z`: hosts folded that are there for the
/// same, since the first of them.
pub(super) fn holder_lines(holders: &[Holder], style: Style) -> Vec<String> {
    type For<'a> = (Option<TaskState>, &'a [JobId]);
    let mut folded: BTreeMap<For<'_>, (Timestamp, Vec<_>)> = BTreeMap::new();
    for Holder { host, jobs, since, down } in holders {
        let (first, hosts) = folded.entry((*down, jobs)).or_insert((*since, Vec::new()));
        *first = (*first).min(*since);
        hosts.push(host.clone());
    }
    let line = |((down, jobs), (since, hosts)): (For<'_>, (Timestamp, Vec<_>))| {
        let hosts = HostSet::from_names(hosts);
        let jobs: Vec<String> = jobs.iter().map(ToString::to_string).collect();
        let state = match down {
            Some(state) => style.task(state).to_string(),
            None => "busy".to_owned(),
        };
        let place =
            if jobs.is_empty() { String::new() } else { format!(" in {}", jobs.join(", ")) };
        format!("{} {state}{place}, since {}", hosts.counted(), when_about(since))
    };
    folded.into_iter().map(line).collect()
}

/// A cell in JSON.
#[derive(Serialize)]
pub struct OfCell<'a> {
    deployment: &'a str,
    env_type: &'a str,
    env_value: &'a str,
    app: &'a str,
    hosts: u32,
    limit: Option<u32>,
    holders: Vec<OfHolder<'a>>,
    /// How many hosts wait, by flow.
    waiting: BTreeMap<u64, u32>,
}

impl<'a> From<&'a CellStatus> for OfCell<'a> {
    fn from(cell: &'a CellStatus) -> Self {
        Self {
            deployment: cell.key.deployment.as_str(),
            env_type: cell.key.env_type.as_str(),
            env_value: cell.key.env_value.as_str(),
            app: cell.key.app.as_str(),
            hosts: cell.hosts,
            limit: cell.limit,
            holders: cell.holders.iter().map(OfHolder::from).collect(),
            waiting: cell.waiting.iter().map(|(flow, hosts)| (flow.0, *hosts)).collect(),
        }
    }
}

/// A host that holds its cells, in JSON.
#[derive(Serialize)]
pub(super) struct OfHolder<'a> {
    host: &'a str,
    jobs: Vec<String>,
    since: String,
    /// `null` while it merely runs.
    down: Option<TaskState>,
}

impl<'a> From<&'a Holder> for OfHolder<'a> {
    fn from(holder: &'a Holder) -> Self {
        Self {
            host: holder.host.as_str(),
            jobs: holder.jobs.iter().map(ToString::to_string).collect(),
            since: when(holder.since),
            down: holder.down,
        }
    }
}
