//! `orc bundle gc`.

use orchestra_bundle::collect;
use orchestra_client::Exit;

use super::{DepotArgs, failed};
use crate::{error::Failure, program::Program, verb::Verb, view::bundle::Collected, words::number};

/// `orc bundle gc`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle gc --keep 5 --plan
  orc bundle gc --keep 5 --depot /srv/depot")]
pub(crate) struct Gc {
    /// How many bundles of each name stay, the newest
    #[arg(long, value_name = "N", value_parser = number(1..=usize::MAX))]
    keep: usize,
    /// Tell what would be removed, and remove nothing
    #[arg(long)]
    plan: bool,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Verb for Gc {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let collection = collect(&self.depot.depot(), self.keep, self.plan)
            .map_err(|error| failed("removing old bundles".to_owned(), error))?;
        program.console.answer(Collected { collection, is_plan: self.plan })?;
        Ok(Exit::Ok)
    }
}
