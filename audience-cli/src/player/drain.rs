//! `orc drain`.

use orchestra_client::Exit;

use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::player::{DrainChange, still_running},
    words::{hosts, reason},
};

/// `orc drain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc drain fe3.east.example.com --reason 'disk is replaced'
  orc drain @rack=r7 --reason 'power works, 14 h'")]
pub(crate) struct Drain {
    /// Which players
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    reason: String,
}

impl Verb for Drain {
    /// Players that were drained before stay so.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let hosts = hosts(&self.hosts)?;
        program.ask(async |client, console| {
            let answer = client.drain(hosts, self.reason).await?;
            console.answer(DrainChange { what: "drained", answer: &answer })?;
            if let Some(running) = still_running(answer.in_flight) {
                console.narrate(running);
            }
            Ok(Exit::Ok)
        })
    }
}
