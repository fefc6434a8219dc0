//! `orc service start`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service start web\n  orc service start web --json")]
pub(crate) struct Start {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
}

impl Verb for Start {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        change(&self.name, &ServiceAsk::Start, "started", program)
    }
}
