//! `orc players release`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb, words::HostsAndReason};

/// `orc players release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is in flight to them is lost. Look at the hosts first: a player is quarantined
because it claims orders that this conductor cannot have given. Players that are not
quarantined stay as they are.

Examples:
  orc players release fe3 --reason 'its spool was copied from fe2; removed'
  orc players release 'fe[1-6]' --reason 'they were attached to a test conductor'")]
pub(crate) struct Release {
    #[command(flatten)]
    what: HostsAndReason,
}

impl Verb for Release {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (hosts, reason) = self.what.read()?;
        program.ask(async |client, console| {
            console.answer(client.release_players(hosts, reason).await?)?;
            Ok(Exit::Ok)
        })
    }
}
