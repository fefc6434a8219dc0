//! `orc service remove`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::{change, only_if_meant};
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service remove`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc service remove web --yes\n  orc service remove web --yes --json"
)]
pub(crate) struct Remove {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// It is meant: no run of it is left
    #[arg(long)]
    yes: bool,
}

impl Verb for Remove {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        only_if_meant(self.yes, &self.name, "remove")?;
        change(&self.name, &ServiceAsk::Remove, "removed", program)
    }
}
