//! `orc conductor reload`.

use orchestra_client::{Allowed, Exit};

use crate::{error::Failure, program::Program, verb::Verb};

/// `orc conductor reload`.
#[derive(Debug, clap::Args)]
pub(crate) struct Reload {
    /// Accept that a large part of the fleet goes, or limits that are in force
    #[arg(long)]
    allow_removal: bool,
    /// Let files of services.d take over services that somebody applied
    #[arg(long)]
    take_over: bool,
    /// Accept that policy.toml takes the right to reload from you
    #[arg(long)]
    allow_lockout: bool,
}

impl Verb for Reload {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let Self { allow_removal: removal, take_over, allow_lockout: lockout } = self;
            console.answer(client.reload(Allowed { removal, take_over, lockout }).await?)?;
            Ok(Exit::Ok)
        })
    }
}
