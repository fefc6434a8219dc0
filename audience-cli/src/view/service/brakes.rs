//! Brakes that are engaged, a line each.

use std::io;

use orchestra_model::service::{ServiceStatus, Suspicion};
use serde::Serialize;

use crate::view::{Listing, Page, Style, when, when_about};

/// Services whose health is not believed.
pub(crate) struct Brakes;

/// A brake.
#[derive(Serialize)]
struct Brake<'a> {
    /// What is braked: `service/web`.
    on: String,
    service: &'a str,
    suspicion: OfSuspicion<'a>,
}

/// That the health of a service's units is not believed.
#[derive(Serialize)]
pub(super) struct OfSuspicion<'a> {
    since: String,
    why: String,
    /// How many units turned unhealthy together.
    failed: u32,
    /// Of how many.
    of: u32,
    /// The host whose unit was restarted last to find out whether that helps, and when; `null`: none
    /// was yet.
    tried: Option<&'a str>,
    tried_at: Option<String>,
}

impl<'a> From<&'a Suspicion> for OfSuspicion<'a> {
    fn from(suspicion: &'a Suspicion) -> Self {
        let tried = suspicion.tried.as_ref();
        Self {
            since: when(suspicion.at),
            why: suspicion.to_string(),
            failed: suspicion.failed,
            of: suspicion.of,
            tried: tried.map(|(host, _)| host.as_str()),
            tried_at: tried.map(|(_, at)| when(*at)),
        }
    }
}

impl Listing for Brakes {
    type Item = ServiceStatus;

    const NOUN: &'static str = "brakes";

    fn wants(&mut self, service: &ServiceStatus) -> bool {
        service.record.judged.suspicion.is_some()
    }

    fn json(&self, service: &ServiceStatus) -> impl Serialize {
        let name = service.record.name.as_str();
        service.record.judged.suspicion.as_ref().map(|suspicion| Brake {
            on: format!("service/{name}"),
            service: name,
            suspicion: suspicion.into(),
        })
    }

    fn heading(&self, out: &mut dyn Page) -> io::Result<()> {
        writeln!(out, "{:<24} {:<20} WHY", "BRAKE", "SINCE")
    }

    fn text(&self, service: &ServiceStatus, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let name = &service.record.name;
        let Some(suspicion) = &service.record.judged.suspicion else { return Ok(()) };
        let brake = format!("service/{name}");
        let why = format!("{suspicion}: no unit is restarted or withdrawn for its health");
        writeln!(out, "{brake:<24} {:<20} {}", when_about(suspicion.at), style.warning(&why))
    }

    fn remark(&self, told: usize) -> Option<String> {
        (told == 0).then(|| "no brake is engaged".to_owned())
    }
}
