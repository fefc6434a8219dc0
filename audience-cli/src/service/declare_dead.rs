//! `orc service declare-dead`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::{
    names::ServiceName,
    service::{InstanceId, Ordinal},
};

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service declare-dead`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service declare-dead web/3 --yes
  orc service declare-dead web/3 --yes --json")]
pub(crate) struct DeclareDead {
    /// Which instance, like web/3
    #[arg(value_name = "NAME/N", value_parser = instance)]
    instance: InstanceId,
    /// It is meant: nothing of it is alive, and will not be again
    #[arg(long)]
    yes: bool,
}

/// Reads `web/3`.
fn instance(text: &str) -> Result<InstanceId, String> {
    let expected = || format!("{text:?}: expected an instance like web/3");
    let (service, ordinal) = text.split_once('/').ok_or_else(expected)?;
    let service = ServiceName::new(service).map_err(|error| error.to_string())?;
    let ordinal = ordinal.parse().ok().filter(|ordinal| *ordinal > 0).ok_or_else(expected)?;
    Ok(InstanceId { service, ordinal: Ordinal(ordinal) })
}

impl Verb for DeclareDead {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let Self { instance, yes } = self;
        if !yes {
            let what = format!(
                "orc service declare-dead lets another instance take the place of {instance}; if \
                 that one is alive nevertheless, two are"
            );
            let meant = format!(
                "if its host is off, or its network is cut for good: orc service declare-dead \
                 {instance} --yes"
            );
            return Err(Failure::usage(what).hint(meant));
        }
        let InstanceId { service, ordinal } = instance;
        change(&service, &ServiceAsk::DeclareDead(ordinal), "declared", program)
    }
}
