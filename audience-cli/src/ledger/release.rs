//! `orc ledger release`.

use orchestra_client::Exit;

use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    words::{hosts, reason},
};

/// `orc ledger release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc ledger release fe3.east.example.com --reason 'restarted by hand, serves again'
  orc ledger release 'fe[1-6]' --reason 'taken out of the load balancer'")]
pub(crate) struct Release {
    /// Which; those that are not down stay as they are
    #[arg(value_name = "HOSTS", required = true)]
    hosts: Vec<String>,
    /// Why; others will read it
    #[arg(long, value_name = "WHY", value_parser = reason)]
    reason: String,
}

impl Verb for Release {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let hosts = hosts(&self.hosts)?;
        program.ask(async |client, console| {
            console.answer(client.release(hosts, self.reason).await?)?;
            Ok(Exit::Ok)
        })
    }
}
