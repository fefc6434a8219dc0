//! `orc brake` without a verb.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, view::service::Brakes};

/// `orc brake`.
#[derive(Debug, clap::Args)]
pub(crate) struct Show;

impl Verb for Show {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let fleet = client.zones().await?;
            let mut pages = client.services().await?;
            let mut services = Vec::new();
            while let Some(page) = pages.next().await? {
                services.extend(page.into_iter().filter(Brakes::concern));
            }
            console.answer(Brakes { fleet: &fleet, services: &services })?;
            Ok(Exit::Ok)
        })
    }
}
