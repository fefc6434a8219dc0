//! Services, a line each.

use std::io;

use orchestra_client::{ServiceState, ready_hosts, wanted_hosts};
use orchestra_model::service::{FileStanding, ServiceFile, ServiceStatus, UnitState};
use serde::Serialize;

use super::json;
use crate::view::{Listing, Page, Style, one_line};

/// Services, a line each.
pub(crate) struct Services {
    /// Those alone that are not as they are wanted.
    pub(crate) unhealthy: bool,
}

impl Listing for Services {
    type Item = ServiceStatus;

    const NOUN: &'static str = "services";

    fn wants(&mut self, service: &ServiceStatus) -> bool {
        let is_wrong = matches!(
            ServiceState::of(service),
            ServiceState::Degraded | ServiceState::Stuck | ServiceState::Suspicious
        );
        let reports = service.instances.iter().filter_map(|instance| instance.report.as_ref());
        let mut sick = reports.filter(|it| it.flapping || it.state == UnitState::Unhealthy);
        !self.unhealthy || is_wrong || sick.next().is_some()
    }

    fn json(&self, service: &ServiceStatus) -> impl Serialize {
        json::Summary::from(service)
    }

    fn heading(&self, out: &mut dyn Page) -> io::Result<()> {
        writeln!(
            out,
            "{:<24} {:>7} {:<8} {:>11} {:<10} FLOW",
            "NAME", "VERSION", "GOAL", "READY", "STATE"
        )
    }

    fn text(&self, service: &ServiceStatus, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let record = &service.record;
        let ready = format!("{}/{}", ready_hosts(service), wanted_hosts(service));
        let flow = service.flow().map_or_else(|| "-".to_owned(), |flow| flow.to_string());
        let is_gone = |file: &&ServiceFile| file.standing == FileStanding::Gone;
        let gone = record.file.as_ref().filter(is_gone);
        let file = gone.map_or_else(String::new, |file| {
            style.warning(&format!(" (file gone: {})", one_line(&file.name))).to_string()
        });
        let drifted = match service.drifted().len() {
            0 => String::new(),
            hosts => style.warning(&format!(" (drifted: {hosts})")).to_string(),
        };
        writeln!(
            out,
            "{:<24} {:>7} {:<8} {ready:>11} {:<10} {flow}{drifted}{file}",
            record.name,
            record.version.0,
            record.goal,
            style.service(ServiceState::of(service))
        )
    }

    fn remark(&self, told: usize) -> Option<String> {
        let none = if self.unhealthy { "no service is unhealthy" } else { "no services" };
        (told == 0).then(|| none.to_owned())
    }
}
