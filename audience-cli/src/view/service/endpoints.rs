//! Where instances of a service take connections.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
};

use orchestra_client::AppliedVersion;
use orchestra_model::service::{
    InstanceId, InstanceStatus, ServiceStatus, ServiceVersion, UnitReport, UnitState,
};
use serde::Serialize;

use crate::view::{Output, Page, Style};

/// Ports of instances that are ready and reliable.
pub(crate) struct Endpoints<'a> {
    pub(crate) status: &'a ServiceStatus,
    /// Each has ports of its own.
    pub(crate) versions: &'a [AppliedVersion],
}

/// Endpoints that are followed, when some have come or gone.
pub(crate) struct NewEndpoints<'a> {
    pub(crate) endpoints: Endpoints<'a>,
    /// What was told before; `None` at first.
    pub(crate) before: Option<&'a Known>,
}

/// Endpoints as they were told: each as a line, with the version of its instance.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known(BTreeSet<(String, u64)>);

impl Endpoints<'_> {
    /// Returns what is to be compared with what comes next.
    pub(crate) fn known(&self) -> Known {
        let all = of(self.status, self.versions).into_iter();
        Known(all.map(|endpoint| (endpoint.line(), endpoint.version)).collect())
    }
}

/// A port of an instance.
#[derive(Serialize)]
struct Endpoint<'a> {
    id: String,
    /// The player's name, of which the network knows the address.
    host: &'a str,
    /// The service's name for the port.
    name: String,
    port: u16,
    version: u64,
}

impl Output for Endpoints<'_> {
    fn noun(&self) -> &'static str {
        "endpoints"
    }

    fn json(self) -> impl Serialize {
        let all: Vec<Endpoint<'_>> = of(self.status, self.versions);
        all
    }

    /// `web/3 http fe3.example.com:8003`.
    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        of(self.status, self.versions)
            .iter()
            .try_for_each(|endpoint| writeln!(out, "{}", endpoint.line()))
    }

    fn remark(&self) -> Option<String> {
        let has_ports = self.versions.iter().any(|version| !version.spec.upkeep.ports.is_empty());
        let why = match has_ports {
            true => "no instance is ready that has ports",
            false => "no version of it has ports",
        };
        of(self.status, self.versions).is_empty().then(|| why.to_owned())
    }
}

impl Output for NewEndpoints<'_> {
    fn noun(&self) -> &'static str {
        self.endpoints.noun()
    }

    fn json(self) -> impl Serialize {
        self.endpoints.json()
    }

    /// `+ web/3 http fe3.example.com:8003`.
    fn text(self, out: &mut dyn Page, _style: Style) -> io::Result<()> {
        let lines = |known: &Known| -> BTreeSet<String> {
            known.0.iter().map(|(line, _)| line.clone()).collect()
        };
        let now = lines(&self.endpoints.known());
        let before = self.before.map(lines).unwrap_or_default();
        before.difference(&now).try_for_each(|line| writeln!(out, "- {line}"))?;
        now.difference(&before).try_for_each(|line| writeln!(out, "+ {line}"))
    }

    fn remark(&self) -> Option<String> {
        self.endpoints.remark().filter(|_| self.before.is_none())
    }
}

impl Endpoint<'_> {
    fn line(&self) -> String {
        let Self { id, host, name, port, .. } = self;
        format!("{id} {name} {host}:{port}")
    }
}

/// All endpoints, in the order of hosts and of the names of ports.
fn of<'a>(status: &'a ServiceStatus, versions: &[AppliedVersion]) -> Vec<Endpoint<'a>> {
    let versions: BTreeMap<ServiceVersion, &AppliedVersion> =
        versions.iter().map(|version| (version.version, version)).collect();
    let is_suspicious = status.record.judged.suspicion.is_some();
    let of_instance = |instance: &'a InstanceStatus| {
        let report = reliable(instance, is_suspicious)?;
        let ports = &versions.get(&report.version)?.spec.upkeep.ports;
        let (service, ordinal) = (status.record.name.clone(), instance.instance.ordinal);
        let id = InstanceId { service, ordinal }.to_string();
        let endpoint = |(name, port): (&orchestra_model::service::PortName, u16)| Endpoint {
            id: id.clone(),
            host: instance.host.as_str(),
            name: name.to_string(),
            port,
            version: report.version.0,
        };
        let own = ports.iter().filter_map(|(name, rule)| Some((name, rule.of(ordinal)?)));
        Some(own.map(endpoint).collect::<Vec<_>>())
    };
    status.instances.iter().filter_map(of_instance).flatten().collect()
}

/// Returns the report of an instance that is ready and reliable: its player is attached, and it
/// does not flap. If the health of its service is not believed, so is one that is unhealthy.
fn reliable(instance: &InstanceStatus, is_suspicious: bool) -> Option<&UnitReport> {
    let report = instance.report.as_ref().filter(|_| instance.attached)?;
    let is_reliable = match report.state {
        UnitState::Ready => is_suspicious || !report.flapping,
        UnitState::Unhealthy => is_suspicious,
        _ => false,
    };
    is_reliable.then_some(report)
}
