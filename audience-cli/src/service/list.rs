//! `orc service list`.

use orchestra_client::Exit;

use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::service::{Services, Strangers},
};

/// `orc service list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service list --unhealthy\n  orc service list --strangers")]
pub(crate) struct List {
    /// Those alone that are degraded or stuck, or have an instance that is unhealthy or flapping
    #[arg(long, conflicts_with = "strangers")]
    unhealthy: bool,
    /// Units that the conductor's store knows nothing of, instead of services
    #[arg(long)]
    strangers: bool,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            match self.strangers {
                true => console.list(Strangers, client.strangers().await?).await?,
                false => {
                    let services = Services { unhealthy: self.unhealthy };
                    console.list(services, client.services().await?).await?;
                }
            }
            Ok(Exit::Ok)
        })
    }
}
