//! `orc bundle show`.

use orchestra_client::Exit;
use orchestra_model::bundle::BundleReference;

use super::{DepotArgs, failed};
use crate::{error::Failure, program::Program, verb::Verb, view::bundle::Shown};

/// `orc bundle show`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle show site
  orc bundle show site@42 --entries")]
pub(crate) struct Show {
    /// NAME, the newest of that name; NAME@SERIAL; or the beginning of an id
    #[arg(value_name = "BUNDLE")]
    bundle: BundleReference,
    /// Tell every file, directory and link, too
    #[arg(long)]
    entries: bool,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Verb for Show {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let bundle = self.depot.find(&self.bundle)?;
        let attempt = || format!("reading the manifest of {}", bundle.id);
        let manifest = bundle.manifest().map_err(|error| failed(attempt(), error))?;
        program.console.answer(Shown { bundle, manifest, with_entries: self.entries })?;
        Ok(Exit::Ok)
    }
}
