//! `orc bundle where`.

use std::collections::BTreeMap;

use orchestra_client::Exit;
use orchestra_model::{
    HostName, HostSet,
    bundle::{BundleReference, HeldPlace, RegisteredBundle},
    names::PlaceName,
    relay::FetchStage,
};

use crate::{
    error::Failure,
    program::Program,
    verb::Verb,
    view::bundle::{Located, Whereabouts},
};

/// `orc bundle where`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  orc bundle where site
  orc bundle where site@42 -w @frontend --json")]
pub(crate) struct Where {
    /// Which bundle: NAME, NAME@SERIAL, or the beginning of an id
    #[arg(value_name = "BUNDLE")]
    bundle: BundleReference,
    /// Only on these hosts
    #[arg(short = 'w', long = "on", value_name = "HOSTS")]
    hosts: Option<String>,
}

impl Verb for Where {
    fn run(self, program: &mut Program) -> Result<Exit, Failure> {
        program.ask(async |client, console| {
            let hosts = self.hosts.as_deref().unwrap_or_default();
            let known = client.bundles(None).await?;
            let bundle = meant(known, &self.bundle)?;
            let (_, places, _) = client.places(hosts, None).await?;
            let mut fetches = client.fetches(hosts, Some(bundle.seal.statement.id)).await?;
            fetches.retain(|told| told.stage == FetchStage::Fetching);
            console.answer(Whereabouts { located: located(&bundle, &places), fetches, bundle })?;
            Ok(Exit::Ok)
        })
    }
}

/// The one bundle that is meant.
fn meant(
    known: Vec<RegisteredBundle>,
    reference: &BundleReference,
) -> Result<RegisteredBundle, Failure> {
    let attempt = format!("looking for {reference}");
    let fits = |bundle: &RegisteredBundle| {
        let said = &bundle.seal.statement;
        reference.fits(said.id, &said.name, said.serial)
    };
    let mut fitting: Vec<RegisteredBundle> = known.into_iter().filter(fits).collect();
    let is_newest = matches!(reference, BundleReference::Newest(_));
    match fitting.pop() {
        None => Err(Failure::new(Exit::NoSuchFlow, attempt)
            .because("no such bundle is registered")
            .hint("orc bundle list --registered tells what there is")),
        // By name and serial, so that the newest of a name is the last.
        Some(last) if is_newest || fitting.is_empty() => Ok(last),
        Some(_) => Err(Failure::usage(attempt).because("several bundles begin so")),
    }
}

/// Which places have the bundle, and whether they are switched to it: the hosts of a place together,
/// whatever else differs there.
fn located(bundle: &RegisteredBundle, places: &[HeldPlace]) -> Vec<Located> {
    let id = bundle.seal.statement.id;
    let mut located: BTreeMap<(&PlaceName, bool), Vec<HostName>> = BTreeMap::new();
    for held in places {
        let Ok(standing) = &held.place.state else { continue };
        if standing.kept.iter().any(|release| release.id == id) {
            let is_active = standing.active.is_some_and(|release| release.id == id);
            // The conductor folded it.
            let hosts = HostSet::parse_plain(&held.hosts).unwrap_or_default();
            located.entry((&held.place.name, is_active)).or_default().extend(hosts);
        }
    }
    let told = |((place, active), hosts): ((&PlaceName, bool), Vec<HostName>)| Located {
        place: place.clone(),
        hosts: HostSet::from_names(hosts),
        active,
    };
    located.into_iter().map(told).collect()
}
