//! `orc service revert`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::{names::ServiceName, service::ServiceVersion};

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb, words::number};

/// `orc service revert`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service revert web\n  orc service revert web 6")]
pub(crate) struct Revert {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// To this version [default: the newest that was ready everywhere]
    #[arg(value_name = "VERSION", value_parser = number(1..=u64::MAX))]
    version: Option<u64>,
}

impl Verb for Revert {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let version = self.version.map(ServiceVersion);
        change(&self.name, &ServiceAsk::Revert(version), "reverted", program)
    }
}
