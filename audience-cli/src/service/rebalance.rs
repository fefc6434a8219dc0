//! `orc service rebalance`.

use orchestra_client::{Exit, ServiceAsk};
use orchestra_model::names::ServiceName;

use super::change::change;
use crate::{error::Failure, program::Program, verb::Verb};

/// `orc service rebalance`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc service rebalance web --plan
  orc service rebalance web")]
pub(crate) struct Rebalance {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
    /// Tell what would move, and do nothing
    #[arg(long)]
    plan: bool,
}

impl Verb for Rebalance {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let what = if self.plan { "rebalance_planned" } else { "rebalanced" };
        change(&self.name, &ServiceAsk::Rebalance { plan: self.plan }, what, program)
    }
}
