//! `orc service adopt`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb, words::hosts};

/// `orc service adopt`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service adopt web
  orc service adopt web -w 'fe[1-3]'")]
pub(crate) struct Adopt {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// Only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
}

impl Verb for Adopt {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let hosts = match self.hosts {
            Some(expression) => hosts(&[expression])?,
            None => String::new(),
        };
        change(&self.name, &ServiceAsk::Adopt(hosts), "adopted", program)
    }
}
