//! Places that overlap something take nothing: what is written for one must not end in another, nor in
//! what decides about this player.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use orchestra_model::names::PlaceName;

use super::{LocalPlace, PlaceFault};
use crate::config::Config;

/// Where configuration management puts what decides about daemons.
const CONFIGURATION: &str = "/etc/orchestra";

/// Disables every place that overlaps what is the player's own, and places that overlap each other:
/// nobody can know which of those is meant.
pub(super) fn disable(
    places: &mut BTreeMap<PlaceName, Result<LocalPlace, String>>,
    config: &Config,
) {
    let own = own(config);
    let there: Vec<(PlaceName, PathBuf)> = places
        .iter()
        .filter_map(|(name, place)| Some((name.clone(), place.as_ref().ok()?.real.clone())))
        .collect();
    for (name, place) in places {
        let Ok(found) = place else { continue };
        let others = there.iter().filter(|(other, _)| other != name);
        let others = others.map(|(other, path)| (format!("the place {other}"), path));
        let own = own.iter().map(|(what, path)| ((*what).to_owned(), path));
        let mut met = own.chain(others).filter(|(_, path)| overlap(&found.real, path));
        if let Some((what, path)) = met.next() {
            let what = format!("{what} ({})", path.display());
            *place = Err(PlaceFault::Overlap(what).to_string());
        }
    }
}

/// What no place may overlap.
fn own(config: &Config) -> Vec<(&'static str, PathBuf)> {
    let tls = &config.tls;
    let mut own = vec![
        ("the scores", real(&config.scores_dir)),
        ("the files of places", real(&config.places_dir)),
        ("the depot", real(&config.depot_dir)),
        ("the spool", real(&config.spool_dir)),
        ("run_dir", real(&config.run_dir)),
        ("services_dir", real(&config.services_dir)),
        ("the configuration", real(Path::new(CONFIGURATION))),
        ("the configuration", real(&config.file)),
    ];
    let files = [&tls.ca, &tls.cert, &tls.key].into_iter().chain(&tls.crl);
    own.extend(files.map(|file| ("the player's certificates", real(file))));
    own
}

/// Where a path leads. Of one that is not there, as much as is there is followed.
fn real(path: &Path) -> PathBuf {
    let found = path.ancestors().find_map(|above| {
        let real = std::fs::canonicalize(above).ok()?;
        let rest = path.strip_prefix(above).ok()?;
        // Joined with nothing, it would end in a slash.
        Some(if rest == Path::new("") { real } else { real.join(rest) })
    });
    found.unwrap_or_else(|| path.to_owned())
}

fn overlap(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}
