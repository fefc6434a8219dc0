//! `orc ledger`.

use orchestra_model::names::DeploymentName;

use super::{Shared, hosts, reason};
use crate::{error::Failure, input::Inputs};

/// `orc ledger`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  orc ledger --deployment shop --all
  orc ledger release fe3.east.example.com --reason 'restarted by hand, serves again'"
)]
pub struct LedgerArgs {
    /// What to do instead of showing it.
    #[command(subcommand)]
    pub verb: Option<LedgerVerb>,
    /// Only the cells of this one
    #[arg(long, value_name = "NAME")]
    pub deployment: Option<DeploymentName>,
    /// Also cells that nobody holds or waits for
    #[arg(long)]
    pub all: bool,
    /// What every command takes.
    #[command(flatten)]
    shared: Shared,
}

impl LedgerArgs {
    /// What every command takes.
    pub fn shared(&self) -> &Shared {
        match &self.verb {
            Some(LedgerVerb::Release(args)) => &args.shared,
            None => &self.shared,
        }
    }
}

/// What is done with the ledger.
#[derive(Debug, clap::Subcommand)]
pub enum LedgerVerb {
    /// Let hosts that count as down hold their cells no more
    Release(ReleaseArgs),
}

/// `orc ledger release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc ledger release fe3.east.example.com --reason 'restarted by hand, serves again'
  orc ledger release 'fe[1-6]' --reason 'taken out of the load balancer'")]
pub struct ReleaseArgs {
    /// Which; those that are not down stay as they are
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    pub reason: String,
    /// What every command takes.
    #[command(flatten)]
    pub shared: Shared,
}

impl ReleaseArgs {
    /// Which hosts.
    pub fn hosts(&self, inputs: &mut Inputs<'_>) -> Result<String, Failure> {
        hosts(&self.hosts, inputs)
    }
}
