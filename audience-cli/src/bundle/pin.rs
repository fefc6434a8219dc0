//! `orc bundle pin` and `orc bundle unpin`.

use orchestra_bundle::{Depot, DepotError, StoredBundle};
use orchestra_client::Exit;
use orchestra_model::bundle::BundleReference;

use super::{DepotArgs, failed};
use crate::{error::Failure, program::Program, verb::Verb, view::bundle::Pinned};

/// `orc bundle pin`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle pin site@42
  orc bundle pin sha256-3f29ac01 --depot /srv/depot")]
pub(crate) struct Pin {
    #[command(flatten)]
    which: Which,
}

/// `orc bundle unpin`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle unpin site@42
  orc bundle unpin sha256-3f29ac01 --depot /srv/depot")]
pub(crate) struct Unpin {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, clap::Args)]
struct Which {
    /// NAME, the newest of that name; NAME@SERIAL; or the beginning of an id
    #[arg(value_name = "BUNDLE")]
    bundle: BundleReference,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Which {
    /// Changes whether the bundle stays, and tells how it is then. One that is so already is fine.
    fn change(
        self,
        program: &mut Program,
        doing: &str,
        change: impl FnOnce(&Depot, &StoredBundle) -> Result<bool, DepotError>,
    ) -> Result<Exit, Failure> {
        let bundle = self.depot.find(&self.bundle)?;
        let changed = change(&self.depot.depot(), &bundle);
        let is_new = changed.map_err(|error| failed(format!("{doing} {}", bundle.id), error))?;
        program.console.answer(Pinned { bundle, is_new })?;
        Ok(Exit::Ok)
    }
}

impl Verb for Pin {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        self.which.change(program, "pinning", Depot::pin)
    }
}

impl Verb for Unpin {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        self.which.change(program, "unpinning", Depot::unpin)
    }
}
