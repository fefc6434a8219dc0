//! `orc conductor reload`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb};

/// `orc conductor reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    /// Accept that a large part of the fleet goes, or limits that are in force
    #[arg(long)]
    allow_removal: bool,
}

impl Verb for Reload {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.answer(client.reload(self.allow_removal).await?)?;
            Ok(Exit::Ok)
        })
    }
}
