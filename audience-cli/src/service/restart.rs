//! `orc service restart`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb, words::hosts};

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
        let hosts = match self.hosts {
            Some(expression) => hosts(&[expression])?,
            None => String::new(),
        };
        change(&self.name, &ServiceAsk::Restart(hosts), "restarted", program)
    }
}
