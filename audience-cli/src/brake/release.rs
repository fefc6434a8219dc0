//! `orc brake release`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use crate::{error::Failure, program::Program, service::change, verb::Verb};

/// `orc brake release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc brake release web\n  orc brake release web --json")]
pub(crate) struct Release {
    /// Which service
    #[arg(value_name = "SERVICE")]
    service: ServiceName,
}

impl Verb for Release {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        change(&self.service, &ServiceAsk::ReleaseBrake, "brake_released", program)
    }
}
