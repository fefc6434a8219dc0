//! `orc ledger`: which hosts hold which cells.

mod release;
mod show;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

/// `orc ledger`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  orc ledger --deployment shop --all
  orc ledger release fe3.east.example.com --reason 'restarted by hand, serves again'"
)]
pub(crate) struct Ledger {
    /// What to do instead of showing it.
    #[command(subcommand)]
    verb: Option<Verbs>,
    #[command(flatten)]
    show: With<show::Show>,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// Let hosts that count as down hold their cells no more
    Release(With<release::Release>),
}

impl Ledger {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            Some(Verbs::Release(verb)) => verb.run(environment),
            None => self.show.run(environment),
        }
    }
}
