//! `orc flows`, and `getstatus` without an id.

use orchestra_client::Exit;

use crate::{
    error::Failure,
    program::{Program, now},
    verb::Verb,
    view::flow::Flows,
};

/// `orc flows`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc flows --alive\n  orc flows -n 100 --json")]
pub(crate) struct List {
    /// Only those that have not ended
    #[arg(long)]
    alive: bool,
    /// At most so many
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    limit: u32,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        newest(self.limit, self.alive, program)
    }
}

/// Lists the newest flows, or those of them that have not ended; 0 is the conductor's own limit.
pub(super) fn newest(limit: u32, alive: bool, program: &mut Program) -> Result<Exit, Failure> {
    program.ask(async |client, console| {
        let pages = client.flows(limit, alive).await?;
        console.list(Flows { now: now() }, pages).await?;
        Ok(Exit::Ok)
    })
}
