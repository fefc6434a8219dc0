//! `orc audit`: who did what, and whether the record of that is as it was written.

mod export;
mod head;
mod list;
mod verify;

use orchestra_client::config::Environment;

pub(crate) use self::list::since;
use crate::{error::Failure, verb::With};

/// `orc audit`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  orc audit --since 2d\n  orc audit --verb drain --host db3"
)]
pub(crate) struct Audit {
    #[command(subcommand)]
    verb: Option<Verbs>,
    #[command(flatten)]
    list: With<list::List>,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// Find lines that were removed or changed, and a tail that was cut
    Verify(With<verify::Verify>),
    /// Print all lines as JSON, oldest first, one a line
    Export(With<export::Export>),
    /// Print the newest line as JSON, for a later verify --head
    Head(With<head::Head>),
}

impl Audit {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            None => self.list.run(environment),
            Some(Verbs::Verify(verb)) => verb.run(environment),
            Some(Verbs::Export(verb)) => verb.run(environment),
            Some(Verbs::Head(verb)) => verb.run(environment),
        }
    }
}
