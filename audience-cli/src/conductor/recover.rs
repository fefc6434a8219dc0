//! `orc conductor recover`.

use orchestra_client::Exit;

use crate::{error::Failure, program::Program, verb::Verb};

/// `orc conductor recover`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc conductor recover --plan
  orc conductor recover
  orc conductor recover --store 5ad3… --although-healthy")]
pub(crate) struct Recover {
    /// Tell what it would do; change nothing
    #[arg(long, conflicts_with_all = ["store", "although_healthy"])]
    plan: bool,
    /// The store that is meant, as `orc conductor status` shows it
    #[arg(long, value_name = "ID")]
    store: Option<String>,
    /// Also where nothing says that it is an old copy; needs --store
    #[arg(long, requires = "store")]
    although_healthy: bool,
}

impl Verb for Recover {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            if self.plan {
                console.answer(client.plan_recover().await?)?;
                return Ok(Exit::Ok);
            }
            let store = match self.store {
                Some(store) => store,
                None => client.conductor().await?.store_id,
            };
            console.answer(client.recover(store, self.although_healthy).await?)?;
            Ok(Exit::Ok)
        })
    }
}
