//! Sets of hosts: what may stand in an expression, and what an expression means.

mod groups;
pub(crate) mod hostset;

use orchestra_client::config::Environment;

use crate::{error::Failure, verb::With};

#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// List what may stand after an @: groups, apps of deployments, labels
    Groups(With<groups::Groups>),
    /// Expand, fold or count a host set
    Hostset(With<hostset::Hostset>),
}

impl Verbs {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self {
            Verbs::Groups(verb) => verb.run(environment),
            Verbs::Hostset(verb) => verb.run(environment),
        }
    }
}
