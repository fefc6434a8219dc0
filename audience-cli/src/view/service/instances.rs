//! Instances. Those that are alike share a line.

use std::{collections::BTreeMap, io};

use orchestra_model::{
    HostSet, Timestamp,
    service::{
        Exhausted, InstanceId, InstanceStatus, Replaceable, Replacing, RunEnd, ServiceStatus,
        UnitReport, Unready,
    },
};

use super::absence;
use crate::view::{Page, Style, one_line, vitals, when_about};

/// Most lines; beyond them instances are counted.
const LINES: usize = 40;

/// What makes instances alike, in the order of lines: what is down comes first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    /// Whether they are up. Those that are down need a person most.
    is_up: bool,
    down: std::cmp::Reverse<Option<Unready>>,
    attached: bool,
    state: &'static str,
    version: u64,
    /// How the last run ended.
    end: String,
    /// Why it is unhealthy.
    trouble: String,
    flapping: bool,
    drifted: bool,
    /// What has to happen before it may be replaced.
    waits: String,
    /// Since when its player is away, in seconds, and what becomes of it.
    absence: Option<(u64, Option<Replacing>)>,
}

impl Kind {
    fn of(instance: &InstanceStatus) -> Self {
        let report = instance.report.as_ref();
        let end = report.and_then(|report| report.last_end.as_ref());
        let trouble = report.and_then(|report| report.trouble.as_deref());
        Self {
            is_up: instance.unready.is_none(),
            down: std::cmp::Reverse(instance.unready),
            attached: instance.attached,
            state: report.map_or("untold", |report| report.state.as_str()),
            version: report.map_or(0, |report| report.version.0),
            end: end.map(kind_of_end).unwrap_or_default(),
            trouble: trouble.map(one_line).unwrap_or_default(),
            flapping: report.is_some_and(|report| report.flapping),
            drifted: instance.drifted == Some(true),
            waits: instance.replaceable.map(waits).unwrap_or_default(),
            absence: instance.absence.as_ref().map(|absence| {
                (absence.since.0 / 1_000, absence.replacing.clone().map(to_the_second))
            }),
        }
    }
}

/// Writes the instances of a service.
pub(super) fn write(out: &mut dyn Page, status: &ServiceStatus, style: Style) -> io::Result<()> {
    if status.instances.is_empty() {
        return Ok(());
    }
    let mut kinds: BTreeMap<Kind, Vec<&InstanceStatus>> = BTreeMap::new();
    for instance in &status.instances {
        kinds.entry(Kind::of(instance)).or_default().push(instance);
    }
    writeln!(out, "instances: {}", status.instances.len())?;
    for (kind, alike) in kinds.iter().take(LINES) {
        writeln!(out, "  {}", line(status, kind, alike, style))?;
    }
    let more: usize = kinds.values().skip(LINES).map(Vec::len).sum();
    if more > 0 {
        writeln!(out, "  and {more} more, of other kinds (--json tells all)")?;
    }
    Ok(())
}

/// `db[1-9] (9) ready, version 7, since …, run 1, last end: exited 1, uses cpu 0.25`.
fn line(status: &ServiceStatus, kind: &Kind, alike: &[&InstanceStatus], style: Style) -> String {
    let who = match alike {
        [one] => {
            let (service, ordinal) = (status.record.name.clone(), one.instance.ordinal);
            format!("{} {}", one.host, InstanceId { service, ordinal })
        }
        many => {
            let hosts = many.iter().map(|instance| instance.host.clone());
            HostSet::from_names(hosts).counted().to_string()
        }
    };
    let state =
        if kind.is_up { kind.state.to_owned() } else { style.warning(kind.state).to_string() };
    let mut text = format!("{who} {state}");
    if !kind.trouble.is_empty() {
        text += &format!(": {}", kind.trouble);
    }
    if kind.flapping {
        text += &style.warning(", flapping").to_string();
    }
    if kind.drifted {
        text += &style.warning(", drifted").to_string();
    }
    if !kind.attached {
        let since = kind.absence.as_ref().map(|(since, _)| Timestamp(since * 1_000));
        let since = since.map_or_else(String::new, |at| format!(" since {}", when_about(at)));
        text += &style.warning(&format!(", not attached{since}")).to_string();
    }
    if let Some((_, Some(replacing))) = &kind.absence {
        text += &format!(", {}", absence::told(replacing));
    }
    let reports: Vec<&UnitReport> =
        alike.iter().filter_map(|instance| instance.report.as_ref()).collect();
    text += &kind.waits;
    if !reports.is_empty() {
        text += &format!(", version {}{}", kind.version, counts(&reports));
    }
    if let Some(end) = worst_end(&reports) {
        text += &format!(", last end: {}", one_line(&end.to_string()));
    }
    let usages: Vec<_> = alike.iter().filter_map(|instance| instance.usage.as_ref()).collect();
    let used = vitals::used(&usages);
    if !used.is_empty() {
        text += &format!(", {used}");
    }
    if let Some(held_back) = vitals::held_back(&usages) {
        text += &format!(", {}", style.warning(&held_back));
    }
    text
}

/// Makes instances alike that are replaced within the same second.
fn to_the_second(replacing: Replacing) -> Replacing {
    match replacing {
        Replacing::At(at) => Replacing::At(Timestamp(at.0 / 1_000 * 1_000)),
        other => other,
    }
}

/// Says what has to happen before an instance is replaced whose player is away.
fn waits(replaceable: Replaceable) -> String {
    match replaceable {
        Replaceable::Now => ", may be replaced".to_owned(),
        Replaceable::At(at) => format!(", may be replaced at {}", when_about(at)),
        Replaceable::OnProof => {
            ", waiting-proof: it may be replaced when its player is back, or once it is declared dead \
             (orc service declare-dead)"
                .to_owned()
        }
    }
}

/// Returns the text by which ends count as alike. It leaves out how much memory a run had.
fn kind_of_end(end: &RunEnd) -> String {
    match end {
        RunEnd::OutOfMemory(had) => {
            RunEnd::OutOfMemory(Exhausted { peak: None, ..*had }).to_string()
        }
        end => one_line(&end.to_string()),
    }
}

/// Returns, of ends of one kind, the one with most memory.
fn worst_end<'a>(reports: &[&'a UnitReport]) -> Option<&'a RunEnd> {
    let ends = reports.iter().filter_map(|report| report.last_end.as_ref());
    ends.max_by_key(|end| match end {
        RunEnd::OutOfMemory(had) => had.peak,
        _ => None,
    })
}

/// Returns `, since T, run 3, restarts 2`: for several instances the first and the last values.
fn counts(reports: &[&UnitReport]) -> String {
    let (first, last) = ends(reports.iter().map(|report| when_about(report.since)));
    let mut text = if first == last {
        format!(", since {first}")
    } else {
        format!(", since {first} to {last}")
    };
    let (first, last) = ends(reports.iter().map(|report| report.run.0));
    text += &match (first, last) {
        (0, 0) => String::new(),
        (first, last) if first == last => format!(", run {first}"),
        (first, last) => format!(", runs {first}-{last}"),
    };
    text += &counted("restarts", reports.iter().map(|report| report.restarts));
    text += &counted("turns", reports.iter().map(|report| report.turns));
    text
}

/// `, restarts 2`, `, restarts 0-2`; nothing where there are none.
fn counted(what: &str, counts: impl Iterator<Item = u32> + Clone) -> String {
    match ends(counts) {
        (0, 0) => String::new(),
        (first, last) if first == last => format!(", {what} {first}"),
        (first, last) => format!(", {what} {first}-{last}"),
    }
}

/// Returns the least and the greatest value.
fn ends<T: Ord + Clone + Default>(values: impl Iterator<Item = T> + Clone) -> (T, T) {
    (values.clone().min().unwrap_or_default(), values.max().unwrap_or_default())
}
