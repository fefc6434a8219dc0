//! `orc service endpoints`.

use orchestra_client::Exit;
use orchestra_model::names::ServiceName;

use super::show::find;
use crate::{error::Failure, program::Program, verb::Verb, view::service::Endpoints};

/// `orc service endpoints`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  orc service endpoints web\n  orc service endpoints web --json"
)]
pub(crate) struct EndpointsOf {
    /// Which
    #[arg(value_name = "NAME")]
    name: ServiceName,
}

impl Verb for EndpointsOf {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let status = find(&self.name, client).await?;
            let versions = client.service_versions(&self.name).await?;
            console.answer(Endpoints { status: &status, versions: &versions })?;
            Ok(Exit::Ok)
        })
    }
}
