//! Scores: which player holds which version.

mod list;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// List scores: who holds which version
    Scores(With<list::List>),
}

impl Verbs {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verbs::Scores(verb) => verb.run(environment),
        }
    }
}
