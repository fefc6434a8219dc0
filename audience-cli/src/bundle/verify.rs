//! `orc bundle verify`.

use orchestra_bundle::verify;
use orchestra_client::Exit;
use orchestra_model::bundle::{BundleReference, PublisherKey};

use super::{DepotArgs, failed};
use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::bundle::{Checked, Judged},
    words::number,
};

/// `orc bundle verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle verify
  orc bundle verify site@42 --publisher \"$(cat release.pub)\"")]
pub(crate) struct Verify {
    /// NAME, NAME@SERIAL or the beginning of an id; all bundles of the depot if none is given
    #[arg(value_name = "BUNDLE")]
    bundles: Vec<BundleReference>,
    /// A public key; bundles that too few of these have signed count as wrong
    #[arg(long = "publisher", value_name = "KEY")]
    publishers: Vec<PublisherKey>,
    /// How many of the publishers have to have signed
    #[arg(long, value_name = "N", default_value_t = 1, requires = "publishers",
          value_parser = number(1..=16_usize))]
    threshold: usize,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Verb for Verify {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let mut checked = Checked { bundles: Vec::new(), damaged: Vec::new() };
        let mut bundles = Vec::new();
        if self.bundles.is_empty() {
            let attempt = || "listing bundles".to_owned();
            for listed in self.depot.depot().list().map_err(|error| failed(attempt(), error))? {
                match listed {
                    Ok(bundle) => bundles.push(bundle),
                    Err(damaged) => checked.damaged.push(damaged),
                }
            }
        }
        for reference in &self.bundles {
            bundles.push(self.depot.find(reference)?);
        }
        for bundle in bundles {
            let attempt = || format!("verifying {}", bundle.id);
            let verified = verify(&bundle).map_err(|error| failed(attempt(), error))?;
            let signed = verified.publishers.iter().filter(|key| self.publishers.contains(key));
            let missing = match self.publishers.is_empty() {
                true => 0,
                false => self.threshold.saturating_sub(signed.count()),
            };
            checked.bundles.push(Judged { bundle, verified, missing });
        }
        let exit = if checked.is_well() { Exit::Ok } else { Exit::NotOk };
        program.console.answer(checked)?;
        Ok(exit)
    }
}
