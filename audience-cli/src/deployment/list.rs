//! `orc deployment list`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, view::deployment::InForce};

/// `orc deployment list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc deployment list\n  orc deployment list --json")]
pub(crate) struct List;

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.list(InForce, client.deployments(None).await?).await?;
            Ok(Exit::Ok)
        })
    }
}
