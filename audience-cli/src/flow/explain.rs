//! `orc explain`: why something waits, down to who holds what.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, words::ids::only};

/// `orc explain`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc explain last\n  orc explain 42/web@fe3.east.example.com")]
pub(crate) struct Explain {
    /// 42, last, 42.1, 42.1.2 or 42/NAME, also with @HOST
    #[arg(value_name = "ID")]
    id: String,
}

impl Verb for Explain {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let reference = only(&self.id, "orc explain takes one id, like 42 or 42.1.2@db3")?;
        program.ask(async |client, console| {
            console.answer(&client.explain(&reference).await?)?;
            Ok(Exit::Ok)
        })
    }
}
