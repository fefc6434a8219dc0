//! What keeps instances from being where and as they are to be.

use std::{collections::BTreeMap, io};

use orchestra_client::{ServiceInstance, ServiceState, ready_hosts, wanted_hosts};
use orchestra_model::{
    HostSet,
    ids::FlowId,
    ledger::Explanation,
    names::{HostName, ServiceName},
    service::{Hindered, Obstacle, ServiceStatus},
};
use serde::Serialize;

use super::{
    absence::{in_the_way, told as absence_told},
    json::OfWaiting,
};
use crate::view::{Output, Page, Style, flow::OneExplained, one_line, when_about};

/// Most lines of `orc service show`.
const LINES: usize = 40;

/// What is in the way, in a sentence, with what helps.
fn told(by: &Obstacle, name: &ServiceName) -> String {
    match by {
        Obstacle::Absent => "the player is away".to_owned(),
        Obstacle::Replacing(why) => {
            format!("the player is away; to be replaced, {}", in_the_way(*why))
        }
        Obstacle::Room(waiting) => {
            format!("it is to leave, and no other player has room: {}", waiting.reasons())
        }
        Obstacle::Starting => {
            "it is to leave once players had their time to come back after the conductor's start"
                .to_owned()
        }
        Obstacle::Drained => "the player is drained (orc undrain)".to_owned(),
        Obstacle::TooOld => "the player is of a release that keeps no services".to_owned(),
        Obstacle::Stranger => {
            format!("a unit is there that this store never ordered (orc service adopt {name})")
        }
        Obstacle::Linked => {
            "it begins once the service that it is linked to is ready there".to_owned()
        }
        Obstacle::Successor(host) => format!("it ends once its instance is ready on {host}"),
        Obstacle::Predecessor(host) => {
            format!("it begins once it is certain that it is not alive on {host} any more")
        }
        Obstacle::Flow(flow) => format!("flow {flow} is to change it"),
        Obstacle::NextFlow(flow) => format!("another flow follows once flow {flow} has ended"),
        Obstacle::GivenUp => {
            format!("given up: a flow did not bring it there (orc service resume {name})")
        }
        Obstacle::Paused => format!("the service is paused (orc service resume {name})"),
        Obstacle::NoFlow => "no flow can be made for it".to_owned(),
        Obstacle::Suspicious => format!(
            "unhealthy, and not restarted while so many are together (orc brake release {name})"
        ),
        Obstacle::Flapping => "unhealthy, and left alone until it was quiet for 2m".to_owned(),
        Obstacle::Unhealthy => "unhealthy, and on_unhealthy asks for no new run".to_owned(),
        Obstacle::GaveUp => format!("it waits for a person (orc service restart {name})"),
        Obstacle::Misfit(left) => format!(
            "it fails here and its version is ready elsewhere: tried on another player in {left}"
        ),
        Obstacle::Lease => "it waits for a lease from the conductor".to_owned(),
        Obstacle::Itself => "its player goes on with it by itself".to_owned(),
    }
}

/// Writes, below what is wrong with the service, what keeps instances of which nothing else tells that.
pub(super) fn write(out: &mut dyn Page, status: &ServiceStatus) -> io::Result<()> {
    let is_told = |by: &Obstacle| {
        matches!(
            by,
            // The line of the instance tells it.
            Obstacle::Absent | Obstacle::Replacing(_) | Obstacle::Itself
            // Lines above tell it.
            | Obstacle::GivenUp | Obstacle::Stranger
        )
    };
    let name = &status.record.name;
    let others = status.hindered.iter().filter(|hindered| !is_told(&hindered.by));
    for Hindered { hosts, by } in others.clone().take(LINES) {
        let explain = by.flow().map_or_else(String::new, |_| format!(" (orc explain {name})"));
        writeln!(out, "{}: {}{explain}", hosts.counted(), one_line(&told(by, name)))?;
    }
    match others.skip(LINES).count() {
        0 => Ok(()),
        more => writeln!(out, "and {more} more reasons (--json tells all)"),
    }
}

/// A service, with what keeps its instances from being where and as they are to be.
pub(crate) struct ExplainedService<'a> {
    pub(crate) status: &'a ServiceStatus,
    /// Which instance is meant; `None`: all.
    pub(crate) of: Option<&'a ServiceInstance>,
    /// Why the flows wait that are to change instances.
    pub(crate) flows: &'a BTreeMap<FlowId, Vec<Explanation>>,
}

/// What keeps some hosts, with what the flow says for which they wait.
struct Part<'a> {
    hosts: HostSet,
    by: &'a Obstacle,
    /// Those that concern these hosts, reduced to them.
    explanations: Vec<Explanation>,
}

impl<'a> ExplainedService<'a> {
    /// The hosts of the instance that is meant. One that moves is on two.
    pub(crate) fn is_meant(status: &ServiceStatus, of: Option<&ServiceInstance>) -> HostSet {
        let placed = status.instances.iter().filter(|instance| match of {
            Some(ServiceInstance::Ordinal(ordinal)) => instance.instance.ordinal == *ordinal,
            _ => true,
        });
        let placed = HostSet::from_names(placed.map(|instance| instance.host.clone()));
        match of {
            None => placed.union(&status.record.hosts),
            Some(ServiceInstance::Ordinal(_)) => placed,
            Some(ServiceInstance::Host(host)) => {
                let host = HostSet::from_names([host.clone()]);
                placed.union(&status.record.hosts).intersection(&host)
            }
        }
    }

    fn parts(&self) -> Vec<Part<'a>> {
        let meant = Self::is_meant(self.status, self.of);
        let part = |hindered: &'a Hindered| {
            let hosts = hindered.hosts.intersection(&meant);
            let by = &hindered.by;
            let flow = by.flow().and_then(|flow| self.flows.get(&flow)).into_iter().flatten();
            let of_these = |told: &Explanation| {
                let common = told.hosts.intersection(&hosts);
                let is_of_all = told.hosts.is_empty();
                (is_of_all || !common.is_empty())
                    .then(|| Explanation { hosts: common, ..told.clone() })
            };
            let explanations = flow.filter_map(of_these).collect();
            (!hosts.is_empty()).then_some(Part { hosts, by, explanations })
        };
        self.status.hindered.iter().filter_map(part).collect()
    }

    /// What is told of the absence of the only host of a part.
    fn absence(&self, part: &Part<'_>) -> Option<String> {
        let host = Some(&part.hosts).filter(|hosts| hosts.len() == 1)?.iter().next()?;
        let is_it = |host: &HostName| self.status.instances.iter().find(|it| it.host == *host);
        let absence = is_it(host)?.absence.as_ref()?;
        let replacing = absence.replacing.as_ref();
        let then = replacing.map_or_else(String::new, |it| format!(", {}", absence_told(it)));
        Some(format!("not attached since {}{then}", when_about(absence.since)))
    }

    /// Hosts that are still to be cleaned up, where no instance is named: those have none.
    fn uncleaned(&self) -> Option<&'a HostSet> {
        let uncleaned = &self.status.uncleaned;
        (self.of.is_none() && !uncleaned.is_empty()).then_some(uncleaned)
    }
}

#[derive(Serialize)]
struct OfExplained<'a> {
    name: &'a str,
    version: u64,
    state: &'static str,
    /// Hosts that it has left and that were not cleaned up yet.
    uncleaned: String,
    waiting: Vec<OfWaiting<'a>>,
    hindered: Vec<OfHindered<'a>>,
}

/// Hosts whose instances are kept by the same from being where and as they are to be.
#[derive(Serialize)]
pub(super) struct OfHindered<'a> {
    hosts: String,
    count: usize,
    by: &'static str,
    text: String,
    /// What holds a replacement back.
    waits: Option<&'static str>,
    /// Why no other player has room.
    room: Option<OfWaiting<'a>>,
    flow: Option<u64>,
    /// The player on which the instance is to be ready first, and the one on which it may be alive yet.
    successor: Option<&'a str>,
    predecessor: Option<&'a str>,
    /// Why that flow waits; `null` where it was not asked.
    explanations: Option<Vec<OneExplained>>,
}

impl<'a> OfHindered<'a> {
    pub(super) fn new(hosts: &HostSet, by: &'a Obstacle, name: &ServiceName) -> Self {
        let (mut waits, mut room, mut successor, mut predecessor) = (None, None, None, None);
        match by {
            Obstacle::Replacing(why) => waits = Some(why.as_str()),
            Obstacle::Room(waiting) => room = Some((&**waiting).into()),
            Obstacle::Successor(host) => successor = Some(host.as_str()),
            Obstacle::Predecessor(host) => predecessor = Some(host.as_str()),
            _ => {}
        }
        Self {
            hosts: hosts.to_string(),
            count: hosts.len(),
            by: by.as_str(),
            text: told(by, name),
            waits,
            room,
            flow: by.flow().map(|flow| flow.0),
            successor,
            predecessor,
            explanations: None,
        }
    }
}

impl<'a> Output for ExplainedService<'a> {
    fn noun(&self) -> &'static str {
        "service_explained"
    }

    fn json(self) -> impl Serialize {
        let status = self.status;
        let name = &status.record.name;
        let hindered = |part: Part<'a>| {
            let explanations = part.explanations.iter().map(OneExplained::from).collect();
            let explanations = part.by.flow().map(|_| explanations);
            OfHindered { explanations, ..OfHindered::new(&part.hosts, part.by, name) }
        };
        // Whichever instance is meant, it is none of those that have no player.
        let waiting = status.waiting.iter().filter(|_| self.of.is_none());
        OfExplained {
            name: name.as_str(),
            version: status.record.version.0,
            state: ServiceState::of(status).as_str(),
            uncleaned: status.uncleaned.to_string(),
            waiting: waiting.map(Into::into).collect(),
            hindered: self.parts().into_iter().map(hindered).collect(),
        }
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let status = self.status;
        let name = &status.record.name;
        let state = style.service(ServiceState::of(status));
        let (ready, wanted) = (ready_hosts(status), wanted_hosts(status));
        writeln!(
            out,
            "{name} version {}: {state}, ready on {ready} of {wanted}",
            status.record.version
        )?;
        for waiting in status.waiting.iter().filter(|_| self.of.is_none()) {
            writeln!(out, "  {}", style.warning(&waiting.to_string()))?;
        }
        if let Some(uncleaned) = self.uncleaned() {
            let retry = match uncleaned.minus(&status.given_up).is_empty() {
                true => format!("; to try again: orc service resume {name}"),
                false => String::new(),
            };
            writeln!(out, "  {}: not cleaned up yet{retry}", uncleaned.counted())?;
        }
        for part in self.parts() {
            let why = match self.absence(&part) {
                Some(absence) if *part.by == Obstacle::Absent => absence,
                _ => told(part.by, name),
            };
            writeln!(out, "  {}: {}", part.hosts.counted(), one_line(&why))?;
            for Explanation { hosts, text, .. } in &part.explanations {
                let text = one_line(&text.to_string());
                match hosts.is_empty() || *hosts == part.hosts {
                    true => writeln!(out, "    {text}")?,
                    false => writeln!(out, "    {}: {text}", hosts.counted())?,
                }
            }
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        let waits = self.of.is_none() && !self.status.waiting.is_empty();
        let is_any = !self.parts().is_empty() || waits || self.uncleaned().is_some();
        (!is_any).then(|| "nothing of it is in another place or state than it is to be".to_owned())
    }
}
