//! `orc ledger` without a verb.

use orchestra_client::Exit;
use orchestra_model::names::DeploymentName;

use crate::{error::Failure, program::Program, verb::Verb, view::ledger::Cells};

// Flattened into `orc ledger`, whose help this is not.
#[derive(Debug, clap::Args)]
pub(crate) struct Show {
    /// Only the cells of this one
    #[arg(long, value_name = "NAME")]
    deployment: Option<DeploymentName>,
    /// Also cells that nobody holds or waits for
    #[arg(long)]
    all: bool,
}

impl Verb for Show {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let pages = client.ledger(self.deployment.as_ref(), !self.all).await?;
            console.list(Cells::new(self.all), pages).await?;
            Ok(Exit::Ok)
        })
    }
}
