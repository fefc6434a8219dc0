//! `orc policy diff`.

use std::io;

use orchestra_client::Exit;

use crate::{
    error::Failure, input::Inputs, program::Program, verb::Verb, view::policy::Differences,
};

/// Longest file, in bytes: what a conductor reads.
const FILE_BYTES: usize = 1 << 20;

/// `orc policy diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc policy diff new-policy.toml
  orc policy diff new-policy.toml --json")]
pub(crate) struct Diff {
    /// A policy.toml, which the conductor reads and does not put in force; - is standard input
    #[arg(value_name = "FILE")]
    file: String,
}

impl Verb for Diff {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let mut stdin = io::stdin();
        let mut inputs = Inputs::new(&mut stdin);
        let (_, text) = inputs.document(&self.file, "the policy", FILE_BYTES)?;
        program.ask(async |client, console| {
            console.list(Differences, client.diff_policy(text).await?).await?;
            Ok(Exit::Ok)
        })
    }
}
