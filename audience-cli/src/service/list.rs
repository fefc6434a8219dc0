//! `orc service list`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, view::service::Services};

/// `orc service list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service list\n  orc service list --json")]
pub(crate) struct List;

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.list(Services, client.services().await?).await?;
            Ok(Exit::Ok)
        })
    }
}
