//! `orc undrain`.

use orchestra_client::Exit;

use crate::{
    error::Failure, program::Program, verb::Verb, view::player::DrainChange, words::hosts,
};

/// `orc undrain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc undrain fe3.east.example.com
  orc undrain @rack=r7")]
pub(crate) struct Undrain {
    /// Which players
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
}

impl Verb for Undrain {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let hosts = hosts(&self.hosts)?;
        program.ask(async |client, console| {
            let answer = client.undrain(hosts).await?;
            console.answer(DrainChange { what: "undrained", answer: &answer })?;
            Ok(Exit::Ok)
        })
    }
}
