//! `orc service stop`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::{change, only_if_meant};
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service stop`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc service stop web --yes\n  orc service stop web --yes --json"
)]
pub(crate) struct Stop {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// It is meant: no run of it is left
    #[arg(long)]
    yes: bool,
}

impl Verb for Stop {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        only_if_meant(self.yes, &self.name, "stop")?;
        change(&self.name, &ServiceAsk::Stop, "stopped", program)
    }
}
