//! `orc groups`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, view};

/// `orc groups`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc groups\n  orc groups --json")]
pub(crate) struct Groups;

impl Verb for Groups {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            console.list(view::hosts::Groups, client.groups().await?).await?;
            Ok(Exit::Ok)
        })
    }
}
