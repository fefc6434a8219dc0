//! `orc places`: where hosts take bundles.

use orchestra_client::Exit;
use orchestra_model::names::PlaceName;

use crate::{error::Failure, program::Program, verb::Verb, view::place::Places};

/// `orc places`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  orc places\n  orc places site -w @frontend")]
pub(crate) struct List {
    /// Only this one
    #[arg(value_name = "PLACE")]
    place: Option<PlaceName>,
    /// Only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
}

impl Verb for List {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let hosts = self.hosts.as_deref().unwrap_or_default();
            let (heard, held, troubles) = client.places(hosts, self.place.as_ref()).await?;
            console.answer(Places { heard, held, troubles })?;
            Ok(Exit::Ok)
        })
    }
}
