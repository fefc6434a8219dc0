//! `orc bundle diff`.

use orchestra_client::Exit;
use orchestra_model::bundle::{BundleDiff, BundleReference, Manifest};

use super::{DepotArgs, failed};
use crate::{error::Failure, program::Program, verb::Verb, view::bundle::Difference};

/// `orc bundle diff`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle diff site@41 site@42
  orc bundle diff site@41 site --json")]
pub(crate) struct Diff {
    /// The earlier one: NAME, NAME@SERIAL, or the beginning of an id
    #[arg(value_name = "BUNDLE")]
    earlier: BundleReference,
    /// The later one
    #[arg(value_name = "BUNDLE")]
    later: BundleReference,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Diff {
    fn manifest(&self, reference: &BundleReference) -> Result<Manifest, Failure> {
        let bundle = self.depot.find(reference)?;
        let attempt = || format!("reading the manifest of {}", bundle.id);
        bundle.manifest().map_err(|error| failed(attempt(), error))
    }
}

impl Verb for Diff {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let (earlier, later) = (self.manifest(&self.earlier)?, self.manifest(&self.later)?);
        program.console.answer(Difference(BundleDiff::between(&earlier, &later)))?;
        Ok(Exit::Ok)
    }
}
