//! Places: where hosts take bundles.

mod list;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// List places: where hosts take bundles, and what is there
    Places(With<list::List>),
}

impl Verbs {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verbs::Places(verb) => verb.run(environment),
        }
    }
}
