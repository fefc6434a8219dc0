//! Tasks: what they wrote.

mod logs;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// Show what a task wrote, attempt by attempt
    Logs(With<logs::Logs>),
}

impl Verbs {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verbs::Logs(verb) => verb.run(environment),
        }
    }
}
