//! `orc deployment`: deployments in force at the conductor, and files of deployments here.

mod check;
mod list;
mod show;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

/// `orc deployment`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  orc deployment show shop
  orc deployment check shop.yaml"
)]
pub(crate) struct Deployment {
    #[command(subcommand)]
    verb: Verbs,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// List those in force
    List(With<list::List>),
    /// Show one in its canonical form
    Show(With<show::Show>),
    /// Read files here, without the conductor, and tell what they mean or what is wrong
    Check(With<check::Check>),
}

impl Deployment {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            Verbs::List(verb) => verb.run(environment),
            Verbs::Show(verb) => verb.run(environment),
            Verbs::Check(verb) => verb.run(environment),
        }
    }
}
