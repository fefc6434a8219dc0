//! `orc brake`: what is left undone because too much seems wrong at once.

mod release;
mod show;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

/// `orc brake`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  orc brake
  orc brake release web"
)]
pub(crate) struct Brake {
    /// What to do instead of showing them.
    #[command(subcommand)]
    verb: Option<Verbs>,
    #[command(flatten)]
    show: With<show::Show>,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// Believe again: the checks of a service, or that players of a zone or of the fleet are away
    Release(With<release::Release>),
}

impl Brake {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            Some(Verbs::Release(verb)) => verb.run(environment),
            None => self.show.run(environment),
        }
    }
}
