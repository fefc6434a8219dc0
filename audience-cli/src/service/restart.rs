//! `orc service restart`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::{change, on_hosts};
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service restart`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service restart web
  orc service restart web -w 'fe[1-3]'")]
pub(crate) struct Restart {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// Only on these of its hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
}

impl Verb for Restart {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        change(&self.name, &ServiceAsk::Restart(on_hosts(self.hosts)?), "restarted", program)
    }
}
