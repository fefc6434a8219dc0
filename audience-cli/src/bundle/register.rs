//! `orc bundle register`.

use orchestra_bundle::StoredBundle;
use orchestra_client::Exit;
use orchestra_model::{HostName, bundle::BundleReference};

use super::DepotArgs;
use crate::{error::Failure, program::Program, verb::Verb, view::bundle::Registered};

/// `orc bundle register`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle register site@42
  orc bundle register site --source build1.example.com")]
pub(crate) struct Register {
    /// Which bundle: NAME, NAME@SERIAL, or the beginning of an id
    #[arg(value_name = "BUNDLE")]
    bundle: BundleReference,
    #[command(flatten)]
    depot: DepotArgs,
    #[command(flatten)]
    source: SourceArgs,
}

/// Which host has a copy.
#[derive(Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// The host whose depot has it; this machine if not given
    #[arg(long = "source", value_name = "HOST")]
    host: Option<HostName>,
}

impl SourceArgs {
    /// The host that is told as having a copy.
    pub(super) fn host(&self) -> Result<HostName, Failure> {
        if let Some(host) = &self.host {
            return Ok(host.clone());
        }
        let own = rustix::system::uname();
        let own = own.nodename().to_string_lossy().to_lowercase();
        HostName::new(&own).map_err(|error| {
            let failure = Failure::usage("telling which host has the bundle").because(error);
            failure.hint("--source HOST names it as the players file does")
        })
    }
}

impl Verb for Register {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let bundle = self.depot.find(&self.bundle)?;
        register(program, &bundle, &self.source.host()?)
    }
}

/// Tells the conductor of a bundle.
fn register(
    program: &mut Program,
    bundle: &StoredBundle,
    source: &HostName,
) -> Result<Exit, Failure> {
    program.ask(async |client, console| {
        let (bundle, unchanged) = client.register_bundle(&bundle.seal, Some(source)).await?;
        console.answer(Registered { bundle, unchanged })?;
        Ok(Exit::Ok)
    })
}
