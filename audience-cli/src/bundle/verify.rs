//! `orc bundle verify`.

use orchestra_bundle::verify;
use orchestra_client::Exit;
use orchestra_model::bundle::BundleReference;

use super::{DepotArgs, PlaceArgs, PublisherArgs, failed};
use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::bundle::{Checked, Judged},
};

/// `orc bundle verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle verify site --place site.toml
  orc bundle verify site@42 --publisher \"$(cat release.pub)\"")]
pub(crate) struct Verify {
    /// NAME, NAME@SERIAL or the beginning of an id; all bundles of the depot if none is given
    #[arg(value_name = "BUNDLE")]
    bundles: Vec<BundleReference>,
    #[command(flatten)]
    publishers: PublisherArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Verb for Verify {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let judge = self.place.read(program)?;
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
            let refused = match &judge {
                Some(judge) => judge.judge(&bundle),
                None => self.publishers.judge(&verified.publishers),
            };
            let refused = refused.err();
            checked.bundles.push(Judged { bundle, verified, refused });
        }
        let exit = if checked.is_well() { Exit::Ok } else { Exit::NotOk };
        program.console.answer(checked)?;
        Ok(exit)
    }
}
