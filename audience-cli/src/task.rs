//! Tasks: what they wrote.

mod logs;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verb {
    /// Show what a task wrote, attempt by attempt
    Logs(With<logs::Logs>),
}

impl Verb {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verb::Logs(verb) => verb.run(environment),
        }
    }
}
