//! `orc players release`.

use orchestra_client::Exit;

use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    words::{hosts, reason},
};

/// `orc players release`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What is in flight to them is lost. Look at the hosts first: a player is quarantined
because it claims orders that this conductor cannot have given.

Examples:
  orc players release fe3 --reason 'its spool was copied from fe2; removed'
  orc players release 'fe[1-6]' --reason 'they were attached to a test conductor'")]
pub(crate) struct Release {
    /// Which; those that are not quarantined stay as they are
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
            console.answer(client.release_players(hosts, self.reason).await?)?;
            Ok(Exit::Ok)
        })
    }
}
