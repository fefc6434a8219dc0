//! `orc bundle sign`.

use std::path::PathBuf;

use orchestra_bundle::verify;
use orchestra_client::Exit;
use orchestra_model::bundle::BundleReference;

use super::{DepotArgs, failed, publishers};
use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::bundle::{Signed, problems},
};

/// `orc bundle sign`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle sign site@42 second.key
  orc bundle sign sha256-3f29ac01 second.key --depot /srv/depot")]
pub(crate) struct Sign {
    /// NAME, the newest of that name; NAME@SERIAL; or the beginning of an id
    #[arg(value_name = "BUNDLE")]
    bundle: BundleReference,
    /// The private keys of the publishers who sign it
    #[arg(value_name = "FILE", required = true)]
    keys: Vec<PathBuf>,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Verb for Sign {
    /// Reads all of the bundle first: nobody signs what is not there as it was published.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let publishers = publishers(&self.keys)?;
        let bundle = self.depot.find(&self.bundle)?;
        let attempt = || format!("signing {}", bundle.id);
        let verified = verify(&bundle).map_err(|error| failed(attempt(), error))?;
        if verified.wrong > 0 {
            return Err(Failure::new(Exit::NotOk, attempt()).because(problems(&verified)));
        }
        let signed = self.depot.depot().sign(&bundle, &publishers);
        let bundle = signed.map_err(|error| failed(attempt(), error))?;
        program.console.answer(Signed(bundle))?;
        Ok(Exit::Ok)
    }
}
