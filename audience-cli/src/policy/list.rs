//! `orc policy list`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, view::policy::Rules};

/// `orc policy list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc policy list\n  orc policy list --json")]
pub(crate) struct List;

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.list(Rules, client.policy().await?).await?;
            Ok(Exit::Ok)
        })
    }
}
