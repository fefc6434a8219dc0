//! `orc conductor status`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb};

/// `orc conductor status`.
#[derive(Debug, clap::Args)]
pub(crate) struct Status;

impl Verb for Status {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.answer(&client.conductor().await?)?;
            Ok(Exit::Ok)
        })
    }
}
