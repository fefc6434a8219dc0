//! `orc brake` without a verb.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, view::service::Brakes};

/// `orc brake`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show;

impl Verb for Show {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.list(Brakes, client.services().await?).await?;
            Ok(Exit::Ok)
        })
    }
}
