//! `orc service resume`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service resume`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service resume web\n  orc service resume web --json")]
pub(crate) struct Resume {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
}

impl Verb for Resume {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        change(&self.name, &ServiceAsk::Resume, "resumed", program)
    }
}
