//! Units that the conductor's store knows nothing of, a line each.

use std::io;

use orchestra_model::service::{InstanceId, Stranger};
use serde::Serialize;

use crate::view::{Listing, Page, Style, when, when_about};

/// Strangers, a line each.
pub(crate) struct Strangers;

impl Listing for Strangers {
    type Item = Stranger;

    const NOUN: &'static str = "strangers";

    fn json(&self, stranger: &Stranger) -> impl Serialize {
        OfStranger::from(stranger)
    }

    fn heading(&self, out: &mut dyn Page) -> io::Result<()> {
        writeln!(out, "{:<24} {:<24} {:>7} {:<15} SINCE", "HOST", "INSTANCE", "VERSION", "STATE")
    }

    fn text(&self, stranger: &Stranger, out: &mut dyn Page, style: Style) -> io::Result<()> {
        let Stranger { host, report, is_known } = stranger;
        let unknown = match is_known {
            true => String::new(),
            false => style.warning(" (no such service)").to_string(),
        };
        writeln!(
            out,
            "{host:<24} {:<24} {:>7} {:<15} {}{unknown}",
            instance(stranger),
            report.version.0,
            report.state,
            when_about(report.since),
        )
    }

    fn remark(&self, told: usize) -> Option<String> {
        Some(match told {
            0 => "no strangers".to_owned(),
            _ => {
                "to take them over: orc service adopt NAME; to end them: orc service stop-stranger \
                  NAME"
                    .to_owned()
            }
        })
    }
}

fn instance(stranger: &Stranger) -> String {
    let (service, ordinal) = (stranger.report.service.clone(), stranger.report.instance.ordinal);
    InstanceId { service, ordinal }.to_string()
}

#[derive(Serialize)]
struct OfStranger<'a> {
    host: &'a str,
    service: &'a str,
    /// The store has a service of that name.
    known: bool,
    id: String,
    placement: u64,
    version: u64,
    state: &'static str,
    since: String,
    run: u64,
}

impl<'a> From<&'a Stranger> for OfStranger<'a> {
    fn from(stranger: &'a Stranger) -> Self {
        let Stranger { host, report, is_known } = stranger;
        Self {
            host: host.as_str(),
            service: report.service.as_str(),
            known: *is_known,
            id: instance(stranger),
            placement: report.instance.placement.0,
            version: report.version.0,
            state: report.state.as_str(),
            since: when(report.since),
            run: report.run.0,
        }
    }
}
