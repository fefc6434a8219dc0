//! `orc service history`.

use orchestra_client::Exit;
use orchestra_model::names::ServiceName;

use super::show::find;
use crate::{error::Failure, program::Program, verb::Verb, view::service::Versions};

/// `orc service history`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc service history web\n  orc service history web --json")]
pub(crate) struct History {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
}

impl Verb for History {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let status = find(&self.name, client).await?;
            let versions = client.service_versions(&self.name).await?;
            console.answer(Versions { versions: &versions, status: &status })?;
            Ok(Exit::Ok)
        })
    }
}
