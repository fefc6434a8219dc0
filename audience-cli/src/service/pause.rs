//! `orc service pause`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service pause`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service pause web\n  orc service pause web --json")]
pub(crate) struct Pause {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
}

impl Verb for Pause {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        change(&self.name, &ServiceAsk::Pause, "paused", program)
    }
}
