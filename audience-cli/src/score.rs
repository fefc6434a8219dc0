//! Scores: which player holds which version.

mod list;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// List scores: who holds which version
    Scores(With<list::List>),
}

impl Verb {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verb::Scores(verb) => verb.run(environment),
        }
    }
}
