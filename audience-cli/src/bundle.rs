//! `orc bundle`: directories as bundles, in a depot of this machine. A conductor is asked by `register`,
//! `where`, and whoever says so alone.

mod diff;
mod gc;
mod list;
mod locate;
mod pin;
mod publish;
mod register;
mod show;
mod sign;
mod unpack;
mod verify;

use std::{io, path::PathBuf};

use orchestra_bundle::{Depot, DepotError, SourceError, StoredBundle};
use orchestra_certs::{LoadError, Publisher, good_signatures};
use orchestra_client::{Exit, config::Environment};
use orchestra_document::place;
use orchestra_model::{
    BundleName, HostName,
    bundle::{BundlePlace, BundleReference, Manifest, PlaceRefusal, PublisherKey},
};

use crate::{
    error::Failure,
    input::Inputs,
    program::{Program, now},
    verb::With,
    words::number,
};

/// `orc bundle`.
#[derive(Debug, clap::Args)]
#[command(
    disable_help_subcommand = true,
    after_help = "Examples:
  orc bundle publish site --name site --sign release.key
  orc bundle diff site@41 site@42"
)]
pub(crate) struct Bundle {
    #[command(subcommand)]
    verb: Verbs,
}

#[derive(Debug, clap::Subcommand)]
enum Verbs {
    /// Make a bundle of a directory, and put it into a depot
    Publish(With<publish::Publish>),
    /// Sign a bundle that is in a depot, as a further publisher
    Sign(With<sign::Sign>),
    /// List the bundles of a depot
    List(With<list::List>),
    /// Tell what is in a bundle, and who has signed it
    Show(With<show::Show>),
    /// Read every byte of bundles, and tell what is not as it was published
    Verify(With<verify::Verify>),
    /// Make the directory of a bundle again, all of it as it was published, or nothing
    Unpack(With<unpack::Unpack>),
    /// Tell what is different between two bundles
    Diff(With<diff::Diff>),
    /// Have the conductor know a bundle: what its publishers say, and that this machine has a copy
    Register(With<register::Register>),
    /// Tell which hosts have a bundle, and where it is active
    Where(With<locate::Where>),
    /// Have a bundle stay in a depot, whatever else is removed
    Pin(With<pin::Pin>),
    /// Let a bundle that was pinned be removed like all others
    Unpin(With<pin::Unpin>),
    /// Remove old bundles from a depot
    Gc(With<gc::Gc>),
}

impl Bundle {
    pub(crate) fn run(self, environment: Environment) -> Result<u8, Failure> {
        match self.verb {
            Verbs::Publish(verb) => verb.run(environment),
            Verbs::Sign(verb) => verb.run(environment),
            Verbs::List(verb) => verb.run(environment),
            Verbs::Show(verb) => verb.run(environment),
            Verbs::Verify(verb) => verb.run(environment),
            Verbs::Unpack(verb) => verb.run(environment),
            Verbs::Diff(verb) => verb.run(environment),
            Verbs::Register(verb) => verb.run(environment),
            Verbs::Where(verb) => verb.run(environment),
            Verbs::Pin(verb) => verb.run(environment),
            Verbs::Unpin(verb) => verb.run(environment),
            Verbs::Gc(verb) => verb.run(environment),
        }
    }
}

/// Which depot.
#[derive(Debug, clap::Args)]
struct DepotArgs {
    /// The directory that holds the bundles
    #[arg(long, value_name = "DIR", default_value = "/var/lib/orchestra-depot")]
    depot: PathBuf,
}

impl DepotArgs {
    fn depot(&self) -> Depot {
        Depot::at(&self.depot)
    }

    /// The bundle that is meant.
    fn find(&self, reference: &BundleReference) -> Result<StoredBundle, Failure> {
        let attempt = || format!("looking for {reference}");
        self.depot().find(reference).map_err(|error| failed(attempt(), error))
    }
}

/// Whose signatures are asked for.
#[derive(Debug, clap::Args)]
struct PublisherArgs {
    /// A public key; what too few of these have signed is not taken for good
    #[arg(long = "publisher", value_name = "KEY")]
    publishers: Vec<PublisherKey>,
    /// How many of the publishers have to have signed
    #[arg(long, value_name = "N", default_value_t = 1, requires = "publishers",
          value_parser = number(1..=16_usize))]
    threshold: usize,
}

impl PublisherArgs {
    /// Whether any publisher was named.
    fn is_empty(&self) -> bool {
        self.publishers.is_empty()
    }

    /// How many of those that were asked for are not among those whose signatures are good.
    fn missing(&self, good: &[PublisherKey]) -> usize {
        if self.publishers.is_empty() {
            return 0;
        }
        let signed = good.iter().filter(|key| self.publishers.contains(key)).count();
        self.threshold.saturating_sub(signed)
    }

    /// What is to be said where too few have signed.
    fn judge(&self, good: &[PublisherKey]) -> Result<(), String> {
        match self.missing(good) {
            0 => Ok(()),
            missing => Err(format!("{missing} of the given publishers have not signed it")),
        }
    }
}

/// The file of a place.
#[derive(Debug, clap::Args)]
struct PlaceArgs {
    /// A file that says what may be taken: by whom it is signed, how large it is, what is in it
    #[arg(long, value_name = "FILE", conflicts_with = "publishers")]
    place: Option<PathBuf>,
}

/// Largest file of a place, in bytes.
const PLACE_BYTES: usize = 64 << 10;

impl PlaceArgs {
    /// Reads the file, if one is given. `site.toml` is the place of `site` where it names nothing else.
    fn read(&self, program: &Program) -> Result<Option<Judge>, Failure> {
        let Some(path) = &self.place else { return Ok(None) };
        let mut stdin = io::stdin().lock();
        let text = Inputs::new(&mut stdin).file(path, "the place", PLACE_BYTES)?;
        let stem = path.file_stem().and_then(|stem| stem.to_str());
        let name = stem.and_then(|stem| BundleName::new(stem).ok());
        let place = place::parse(&text, name.as_ref()).map_err(|problems| {
            Failure::usage(format!("reading the place {}", path.display())).because(problems)
        })?;
        Ok(Some(Judge { place, domain: program.domain()? }))
    }
}

/// A place, and the fleet to which it belongs.
struct Judge {
    place: BundlePlace,
    domain: HostName,
}

impl Judge {
    /// By what is said of a bundle alone.
    fn judge_statement(&self, bundle: &StoredBundle) -> Result<(), PlaceRefusal> {
        let good = good_signatures(&bundle.seal);
        self.place.judge_statement(&bundle.seal.statement, &good, &self.domain, now())
    }

    fn judge_manifest(&self, manifest: &Manifest) -> Result<(), PlaceRefusal> {
        self.place.judge_manifest(manifest)
    }

    /// By all that it is. What of it cannot be read is no reason of the place.
    fn judge(&self, bundle: &StoredBundle) -> Result<(), String> {
        self.judge_statement(bundle).map_err(|why| why.to_string())?;
        match bundle.manifest() {
            Ok(manifest) => self.judge_manifest(&manifest).map_err(|why| why.to_string()),
            Err(_) => Ok(()),
        }
    }
}

/// The failure of something that was attempted with a depot.
fn failed(attempt: String, error: DepotError) -> Failure {
    let exit = match &error {
        DepotError::Unknown { .. } => Exit::NoSuchFlow,
        DepotError::Ambiguous { .. }
        | DepotError::SerialTaken { .. }
        | DepotError::Manifest { .. }
        | DepotError::Serial(_)
        | DepotError::Signatures(..)
        | DepotError::Source(SourceError::Top { .. } | SourceError::Problems { .. }) => Exit::Usage,
        DepotError::Io { .. }
        | DepotError::Damaged { .. }
        // These are of bundles that arrive, which no verb receives.
        | DepotError::Receiving(_)
        | DepotError::Whole(_)
        | DepotError::NoRoom { .. }
        | DepotError::Source(SourceError::Content { .. }) => Exit::Broken,
    };
    let hint = match &error {
        DepotError::Unknown { .. } => {
            Some("orc bundle list tells what there is; --depot says where")
        }
        DepotError::SerialTaken { .. } => Some("without --serial it gets the next one"),
        DepotError::Source(SourceError::Problems { .. }) => {
            Some("--exclude PATTERN leaves out what is not meant to be in the bundle")
        }
        _ => None,
    };
    let failure = Failure::new(exit, attempt).because(error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// Reads the private keys of publishers.
fn publishers(files: &[PathBuf]) -> Result<Vec<Publisher>, Failure> {
    let read = |file: &PathBuf| {
        Publisher::load(file).map_err(|error| {
            let failure = Failure::usage("reading a publisher's key");
            let is_there = !matches!(error, LoadError::Read { .. });
            let failure = failure.because(error);
            let hint = "orchestra-certs publisher --dir DIR NAME makes one";
            if is_there { failure } else { failure.hint(hint) }
        })
    };
    files.iter().map(read).collect()
}
