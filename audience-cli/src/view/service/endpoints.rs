//! Where instances of a service take connections.

use std::{collections::BTreeMap, io};

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
        for Endpoint { id, host, name, port, .. } in of(self.status, self.versions) {
            writeln!(out, "{id} {name} {host}:{port}")?;
        }
        Ok(())
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
