//! What an apply would do.

use std::io;

use orchestra_client::AppliedVersion;
use orchestra_model::{
    Asker,
    names::ServiceName,
    service::{HostStep, PlannedAbsence, PlannedHosts, ServicePlan},
};
use serde::Serialize;

use super::{
    Differences,
    absence::{self, OfPlannedAbsence},
    json::OfWaiting,
    waves::Wave,
};
use crate::view::{Output, Page, Style, one_line};

/// What an apply would do.
pub(crate) struct Planned<'a> {
    pub(crate) name: &'a ServiceName,
    /// The version that is wanted now, if there is one, and the one that would be, if it differs.
    pub(crate) versions: &'a [AppliedVersion],
    pub(crate) plan: &'a ServicePlan,
}

impl Planned<'_> {
    /// In which waves it would be done; none where nothing would be.
    fn waves(&self) -> Vec<Wave> {
        let after = self.versions.last().filter(|_| !self.plan.unchanged);
        after.map(|after| Wave::of(self.plan, after)).unwrap_or_default()
    }

    fn differences(&self) -> Option<Differences> {
        match self.versions {
            [before, after] => Some(Differences::new(before, after, std::iter::once(after))),
            _ => None,
        }
    }
}

impl Output for Planned<'_> {
    fn noun(&self) -> &'static str {
        "plan"
    }

    fn json(self) -> impl Serialize {
        let differences = self.differences();
        let version = |version: &AppliedVersion| version.version.0;
        let (before, after) = match self.versions {
            [before, after] => (Some(version(before)), Some(version(after))),
            [only] if self.plan.unchanged => (Some(version(only)), Some(version(only))),
            [only] => (None, Some(version(only))),
            _ => (None, None),
        };
        OfPlan {
            service: self.name.as_str(),
            before,
            after,
            unchanged: self.plan.unchanged,
            taken_from: self.plan.taken_from.as_deref(),
            superseded: self.plan.superseded.map(|flow| flow.0),
            paused_by: self.plan.paused_by.as_ref().map(Asker::as_str),
            changed: differences.map(|it| it.names()).unwrap_or_default(),
            steps: self.plan.steps.iter().map(OfStep::from).collect(),
            waiting: self.plan.waiting.iter().map(OfWaiting::from).collect(),
            away: self.plan.absent.iter().map(OfPlannedAbsence::from).collect(),
            in_waves: self.waves(),
            other_score: self.plan.other_score.to_string(),
            prepare: self.plan.prepare.to_string(),
        }
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let name = self.name;
        match self.versions {
            [before, after] => {
                let (before, after) = (before.version, after.version);
                writeln!(out, "{name}: version {after} would follow version {before}")?;
            }
            [only] if self.plan.unchanged => {
                writeln!(out, "{name}: nothing differs from version {}", only.version)?;
            }
            [only] => writeln!(out, "{name}: version {} would be the first", only.version)?,
            _ => {}
        }
        if let Some(differences) = self.differences() {
            differences.text(out, style)?;
        }
        obstacles(out, name, self.plan, style)?;
        if !self.plan.prepare.is_empty() {
            writeln!(out, "prepare  {}, before anything changes", self.plan.prepare.counted())?;
        }
        let widest = self.plan.steps.iter().map(|it| it.step.as_str().len()).max().unwrap_or(0);
        self.plan.steps.iter().try_for_each(|it| writeln!(out, "{}", line(it, widest)))?;
        for PlannedAbsence { hosts, replacing } in &self.plan.absent {
            writeln!(out, "away: {}, {}", hosts.counted(), absence::told(replacing))?;
        }
        let mut waiting = self.plan.waiting.iter();
        waiting.try_for_each(|it| writeln!(out, "{}", style.warning(&it.to_string())))?;
        if !self.plan.other_score.is_empty() {
            let text = format!("another score: {}", self.plan.other_score.counted());
            let text = style.warning(&text);
            writeln!(out, "{text}: what is installed there is not what most of its hosts hold")?;
        }
        match self.waves() {
            waves if waves.is_empty() => Ok(()),
            waves => writeln!(out, "in waves: {}", Wave::text(&waves)),
        }
    }

    fn remark(&self) -> Option<String> {
        Some("nothing was done".to_owned())
    }
}

/// Writes what an apply would overtake, and what would delay it.
fn obstacles(
    out: &mut dyn Page,
    name: &ServiceName,
    plan: &ServicePlan,
    style: Style,
) -> io::Result<()> {
    if let Some(file) = &plan.taken_from {
        let text = format!("it would be taken over from {}", one_line(file));
        writeln!(out, "{}", style.warning(&text))?;
    }
    if let Some(flow) = plan.superseded {
        writeln!(out, "flow {flow}, which changes it now, would be cancelled first")?;
    }
    if let Some(by) = &plan.paused_by {
        let text = format!("paused by {by}: nothing would be done");
        writeln!(out, "{}; to go on: orc service resume {name}", style.warning(&text))?;
    }
    Ok(())
}

/// `update  db[1-3] (3), from version 6, first: they are not ready`.
fn line(planned: &PlannedHosts, widest: usize) -> String {
    let PlannedHosts { step, from, first, hosts } = planned;
    let mut text = format!("{step:<widest$}  {}", hosts.counted());
    if let Some(from) = from.filter(|_| *step == HostStep::Update) {
        text += &format!(", from version {from}");
    }
    if *first {
        text += ", first: not ready";
    }
    text += match step {
        HostStep::Start => ", no run is there",
        HostStep::Restart => ", it gave up or ended",
        HostStep::Leave => ", no longer wanted there",
        HostStep::Moving => ", when it is ready where it moves",
        HostStep::Keep => ", as it is",
        HostStep::Absent => ", when its player is back",
        HostStep::Drained => ", when it is drained no more",
        HostStep::Linked => ", when what it is linked to is ready there",
        HostStep::GivenUp => ", a flow did not bring it there: orc service resume",
        HostStep::TooOld => ", its player keeps no services",
        HostStep::Stranger => ", left alone: orc service list --strangers",
        HostStep::Update | HostStep::Stop => "",
    };
    text
}

#[derive(Serialize)]
struct OfPlan<'a> {
    service: &'a str,
    /// `null`: there is no such service yet.
    before: Option<u64>,
    after: Option<u64>,
    unchanged: bool,
    taken_from: Option<&'a str>,
    superseded: Option<u64>,
    paused_by: Option<&'a str>,
    /// The fields that differ, by their paths in a file.
    changed: Vec<String>,
    steps: Vec<OfStep>,
    /// Instances for which no player would have room.
    waiting: Vec<OfWaiting<'a>>,
    /// Instances whose players are away.
    away: Vec<OfPlannedAbsence<'a>>,
    in_waves: Vec<Wave>,
    /// Those of its hosts that hold another score than the version's.
    other_score: String,
    /// Hosts that would be prepared for the version before anything begins there.
    prepare: String,
}

#[derive(Serialize)]
struct OfStep {
    step: &'static str,
    hosts: String,
    count: usize,
    from: Option<u64>,
    first: bool,
}

impl From<&PlannedHosts> for OfStep {
    fn from(planned: &PlannedHosts) -> Self {
        Self {
            step: planned.step.as_str(),
            hosts: planned.hosts.to_string(),
            count: planned.hosts.len(),
            from: planned.from.map(|version| version.0),
            first: planned.first,
        }
    }
}
