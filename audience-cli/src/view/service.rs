//! Services: their states, instances, versions and events.

mod absence;
mod answer;
mod brakes;
mod diff;
mod endpoints;
mod events;
mod instances;
mod json;
mod list;
mod logs;
mod obstacles;
mod plan;
mod show;
mod spec;
mod strangers;
mod versions;
mod waves;
mod zones;

pub(crate) use answer::Asked;
pub(crate) use brakes::{BrakeReleased, Brakes};
pub(crate) use diff::Differences;
pub(crate) use endpoints::{Endpoints, Known, NewEndpoints};
pub(crate) use list::Services;
pub(crate) use logs::{LogLines, LogText, whole_characters};
pub(crate) use obstacles::ExplainedService;
pub(crate) use plan::Planned;
pub(crate) use show::{Shown, Standing};
pub(crate) use spec::Spec;
pub(crate) use strangers::Strangers;
pub(crate) use versions::Versions;
pub(crate) use zones::Zones;

use orchestra_model::HostSet;

use super::one_line;

/// Returns folded hosts with their number; unchanged if they cannot be read.
fn counted(folded: &str) -> String {
    match HostSet::parse_plain(folded) {
        Ok(hosts) => hosts.counted().to_string(),
        Err(_) => one_line(folded),
    }
}
