//! `orc conductor`: the conductor itself.

mod recover;
mod reload;
mod status;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

/// `orc conductor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc conductor status\n  orc conductor reload")]
pub(crate) struct Conductor {
    #[command(subcommand)]
    verb: Verbs,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// How it is
    Status(With<status::Status>),
    /// Read the configuration anew, as SIGHUP does
    Reload(With<reload::Reload>),
    /// Take up a store that was restored from a copy
    Recover(With<recover::Recover>),
}

impl Conductor {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            Verbs::Status(verb) => verb.run(environment),
            Verbs::Reload(verb) => verb.run(environment),
            Verbs::Recover(verb) => verb.run(environment),
        }
    }
}
