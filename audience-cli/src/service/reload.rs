//! `orc service reload`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::{change, on_hosts};
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service reload`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service reload web
  orc service reload web -w 'fe[1-3]'")]
pub(crate) struct Reload {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// Only on these of its hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
}

impl Verb for Reload {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        change(&self.name, &ServiceAsk::Reload(on_hosts(self.hosts)?), "reloaded", program)
    }
}
