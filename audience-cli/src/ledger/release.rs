//! `orc ledger release`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, words::HostsAndReason};

/// `orc ledger release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Hosts that are not down stay as they are.

Examples:
  orc ledger release fe3.east.example.com --reason 'restarted by hand, serves again'
  orc ledger release 'fe[1-6]' --reason 'taken out of the load balancer'")]
pub(crate) struct Release {
    #[command(flatten)]
    what: HostsAndReason,
}

impl Verb for Release {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (hosts, reason) = self.what.read()?;
        program.ask(async |client, console| {
            console.answer(client.release(hosts, reason).await?)?;
            Ok(Exit::Ok)
        })
    }
}
