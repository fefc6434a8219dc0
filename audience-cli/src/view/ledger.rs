//! Cells: how many hosts may hold each at once, which do, and which wait.

use std::{collections::BTreeMap, io};

use orchestra_client::ReleasedHolds;
use orchestra_model::{
    hostset::HostSet,
    ids::{FlowId, JobId},
    ledger::{CellStatus, Holder},
    names::{HostName, ServiceName},
    service::{Unready, UnwellUnit},
    state::TaskState,
    status::Due,
    time::Timestamp,
};
use serde::Serialize;

use super::{
    Listing, Output, Page, absence,
    style::{Style, one_line, when, when_about},
};

/// The ledger, cell by cell.
pub(crate) struct Cells {
    all: bool,
    some_down: bool,
    some_gave_up: bool,
}

impl Cells {
    /// Returns the ledger with `all` of its cells, or only with those that hosts hold or wait for.
    pub(crate) fn new(all: bool) -> Self {
        Self { all, some_down: false, some_gave_up: false }
    }
}

impl Listing for Cells {
    type Item = CellStatus;

    const NOUN: &'static str = "cells";

    fn wants(&mut self, cell: &CellStatus) -> bool {
        self.some_down |= cell.holders.iter().any(|holder| holder.down.is_some());
        let gave_up = |unit: &UnwellUnit| unit.unready == Unready::GaveUp;
        self.some_gave_up |= cell.holders.iter().any(|holder| holder.units.iter().any(gave_up));
        true
    }

    fn json(&self, cell: &CellStatus) -> impl Serialize {
        OfCell::from(cell)
    }

    fn text(&self, cell: &CellStatus, out: &mut dyn Page, style: Style) -> io::Result<()> {
        write_cell(out, cell, style)
    }

    fn remark(&self, told: usize) -> Option<String> {
        let remark = match (told, self.all) {
            (0, true) => "no cells: no deployment limits anything",
            (0, false) => "no cell is held or waited for",
            _ if self.some_down => {
                "a host that is down holds its cells until a disruptive task succeeds there, or: \
                 orc ledger release HOSTS --reason WHY"
            }
            _ if self.some_gave_up => {
                "a host on which a service gave up holds its cells until its next run is ready, or: \
                 orc ledger release HOSTS --reason WHY"
            }
            _ => return None,
        };
        Some(remark.to_owned())
    }
}

/// Hosts that do not hold their cells any more.
impl Output for ReleasedHolds {
    fn noun(&self) -> &'static str {
        "released"
    }

    fn json(self) -> impl Serialize {
        OfReleased { hosts: self.hosts, count: self.count }
    }

    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        writeln!(out, "released {} ({})", one_line(&self.hosts), self.count)
    }

    fn remark(&self) -> Option<String> {
        (self.count == 0).then(|| "nothing changed: none of them counts as down".to_owned())
    }
}

#[derive(Serialize)]
struct OfReleased {
    hosts: String,
    count: u32,
}

/// Writes a cell, and below it a line for all holders that have one reason to hold it.
fn write_cell(out: &mut dyn io::Write, cell: &CellStatus, style: Style) -> io::Result<()> {
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

/// Why hosts hold a cell: the state that left them down, the jobs, the units that are not well, and
/// whether the hosts are away.
type Reason<'a> = (Option<TaskState>, &'a [JobId], &'a [UnwellUnit], bool);

/// Hosts that hold a cell for one reason.
struct Folded {
    /// Since when the first of them holds it.
    since: Timestamp,
    /// When the first of them is given up.
    lost: Option<Due>,
    hosts: Vec<HostName>,
}

/// Returns a line for each reason to hold a cell, with the hosts of that reason folded.
pub(super) fn holder_lines(holders: &[Holder], style: Style) -> Vec<String> {
    let mut folded: BTreeMap<Reason<'_>, Folded> = BTreeMap::new();
    for Holder { host, jobs, since, down, units, absence } in holders {
        let entry = folded.entry((*down, jobs, units, absence.is_some()));
        let those = entry.or_insert(Folded { since: *since, lost: None, hosts: Vec::new() });
        those.since = those.since.min(*since);
        let due = absence.and_then(|absence| absence.given_up);
        those.lost = those.lost.into_iter().chain(due).min_by_key(|due| due.at);
        those.hosts.push(host.clone());
    }
    folded.into_iter().map(|(reason, folded)| holder_line(reason, folded, style)).collect()
}

/// `fe[1-2] (2) failed in 42.1.1, since 2025-11-21T08:00:00Z`,
/// `db3 (1) web is not ready, since 2025-11-21T08:00:00Z`.
fn holder_line((down, jobs, units, away): Reason<'_>, folded: Folded, style: Style) -> String {
    let hosts = HostSet::from_names(folded.hosts);
    let jobs: Vec<String> = jobs.iter().map(ToString::to_string).collect();
    let state = match down {
        Some(state) => style.task(state).to_string(),
        None => "busy".to_owned(),
    };
    let place = if jobs.is_empty() { String::new() } else { format!(" in {}", jobs.join(", ")) };
    let is_for_units_alone = down.is_none() && jobs.is_empty() && !units.is_empty();
    let of_jobs = (!is_for_units_alone).then(|| format!("{state}{place}"));
    let of_units = units.iter().map(|unit| style.warning(&unit.to_string()).to_string());
    let why: Vec<String> = of_jobs.into_iter().chain(of_units).collect();
    let since = when_about(folded.since);
    let mut text = format!("{} {}, since {since}", hosts.counted(), why.join(", "));
    if away {
        text.push_str(&style.warning(", not attached").to_string());
    }
    if let Some(due) = folded.lost {
        let first = if hosts.len() == 1 { "" } else { "the first " };
        text.push_str(&format!(", {first}lost {}", absence::moment(due)));
    }
    text
}

/// A cell in JSON.
#[derive(Serialize)]
struct OfCell<'a> {
    /// `null` for a service's cell, as are the next three.
    deployment: Option<&'a str>,
    env_type: Option<&'a str>,
    env_value: Option<&'a str>,
    app: Option<&'a str>,
    /// `null` for an app's cell.
    service: Option<&'a str>,
    hosts: u32,
    limit: Option<u32>,
    holders: Vec<OfHolder<'a>>,
    /// How many hosts wait, by flow.
    waiting: BTreeMap<u64, u32>,
}

impl<'a> From<&'a CellStatus> for OfCell<'a> {
    fn from(cell: &'a CellStatus) -> Self {
        let of_app = cell.key.of_app();
        Self {
            deployment: of_app.map(|key| key.deployment.as_str()),
            env_type: of_app.map(|key| key.env_type.as_str()),
            env_value: of_app.map(|key| key.env_value.as_str()),
            app: of_app.map(|key| key.app.as_str()),
            service: cell.key.of_service().map(ServiceName::as_str),
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
    /// `null` where no attempt left it down.
    down: Option<TaskState>,
    /// Units that count as down.
    units: Vec<OfUnit<'a>>,
    absent: Option<absence::OfTask>,
}

impl<'a> From<&'a Holder> for OfHolder<'a> {
    fn from(holder: &'a Holder) -> Self {
        Self {
            host: holder.host.as_str(),
            jobs: holder.jobs.iter().map(ToString::to_string).collect(),
            since: when(holder.since),
            down: holder.down,
            units: holder.units.iter().map(OfUnit::from).collect(),
            absent: holder.absence.map(absence::OfTask::from),
        }
    }
}

/// A unit that counts as down, in JSON.
#[derive(Serialize)]
struct OfUnit<'a> {
    service: &'a str,
    /// `not-ready`, `untold`, `gave-up`.
    unready: &'static str,
}

impl<'a> From<&'a UnwellUnit> for OfUnit<'a> {
    fn from(unit: &'a UnwellUnit) -> Self {
        Self { service: unit.service.as_str(), unready: unit.unready.as_str() }
    }
}
