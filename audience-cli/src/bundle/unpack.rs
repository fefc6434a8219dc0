//! `orc bundle unpack`.

use std::path::PathBuf;

use orchestra_bundle::{StoredBundle, UnpackError, unpack};
use orchestra_certs::good_signatures;
use orchestra_client::Exit;
use orchestra_model::bundle::BundleReference;

use super::{DepotArgs, PlaceArgs, PublisherArgs, failed};
use crate::{
    error::Failure,
    program::{Program, now},
    verb::Verb,
    view::{bundle::Unpacked, when_about},
};

/// `orc bundle unpack`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle unpack site /srv/site-42 --publisher \"$(cat release.pub)\"
  orc bundle unpack site@42 /srv/site-42 --place site.toml")]
pub(crate) struct Unpack {
    /// NAME, the newest of that name; NAME@SERIAL; or the beginning of an id
    #[arg(value_name = "BUNDLE")]
    bundle: BundleReference,
    /// The directory that it becomes; nothing is there yet, and its parent is
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    #[command(flatten)]
    publishers: PublisherArgs,
    #[command(flatten)]
    place: PlaceArgs,
    #[command(flatten)]
    depot: DepotArgs,
}

impl Verb for Unpack {
    /// Judges what is said of the bundle before anything else of it is read.
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        let judge = self.place.read(program)?;
        let bundle = self.depot.find(&self.bundle)?;
        let attempt = || format!("unpacking {}", bundle.id);
        let refused = |why: String| Failure::new(Exit::NotOk, attempt()).because(why);
        let said = match &judge {
            Some(judge) => judge.judge_statement(&bundle).map_err(|why| why.to_string()),
            None => self.judge(&bundle),
        };
        said.map_err(refused)?;
        let manifest = bundle.manifest().map_err(|error| failed(attempt(), error))?;
        if let Some(judge) = &judge {
            judge.judge_manifest(&manifest).map_err(|why| refused(why.to_string()))?;
        }
        unpack(&bundle, &manifest, &self.directory)
            .map_err(|error| not_unpacked(attempt(), error))?;
        let is_judged = judge.is_some() || !self.publishers.is_empty();
        program.console.answer(Unpacked { bundle, directory: self.directory, is_judged })?;
        Ok(Exit::Ok)
    }
}

impl Unpack {
    fn judge(&self, bundle: &StoredBundle) -> Result<(), String> {
        self.publishers.judge(&good_signatures(&bundle.seal))?;
        let now = now();
        match bundle.seal.statement.expires {
            Some(at) if at <= now => Err(format!(
                "it expired at {}; the clock of this machine says {}",
                when_about(at),
                when_about(now)
            )),
            _ => Ok(()),
        }
    }
}

fn not_unpacked(attempt: String, error: UnpackError) -> Failure {
    match error {
        UnpackError::Bundle(error) => failed(attempt, error),
        UnpackError::Exists(_) => Failure::usage(attempt).because(error),
        UnpackError::Content(_) => Failure::new(Exit::NotOk, attempt)
            .because(error)
            .hint("orc bundle verify tells all that is wrong"),
        UnpackError::Beside { .. } | UnpackError::Entry { .. } => {
            Failure::broken(attempt).because(error)
        }
    }
}
