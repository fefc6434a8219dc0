//! `orc drain`.

use orchestra_client::Exit;

use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::player::{DrainChange, still_running},
    words::HostsAndReason,
};

/// `orc drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc drain fe3.east.example.com --reason 'disk is replaced'
  orc drain @rack=r7 --reason 'power works, 14 h'")]
pub(crate) struct Drain {
    #[command(flatten)]
    what: HostsAndReason,
}

impl Verb for Drain {
    /// Players that were drained before stay so.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (hosts, reason) = self.what.read()?;
        program.ask(async |client, console| {
            let answer = client.drain(hosts, reason).await?;
            console.answer(DrainChange { what: "drained", answer: &answer })?;
            if let Some(running) = still_running(answer.in_flight) {
                console.narrate(running);
            }
            Ok(Exit::Ok)
        })
    }
}
