//! `orc zones`: the fleet by zones, and what holds replacements back there.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, view::service::Zones as Table};

/// `orc zones`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc zones
  orc zones --json")]
pub(crate) struct Zones;

impl Verb for Zones {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let fleet = client.zones().await?;
            console.answer(Table(&fleet))?;
            Ok(Exit::Ok)
        })
    }
}
