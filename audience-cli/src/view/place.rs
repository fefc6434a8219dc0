//! Where hosts take bundles, and which releases are there.

use std::io;

use orchestra_model::bundle::{BundleRelease, HeldPlace, HeldTrouble, PlaceStanding, PlaceTrust};
use serde::Serialize;

use super::{
    Output, Page,
    style::{Style, one_line},
};

/// Places over players: who has which alike.
pub(crate) struct Places {
    /// Folded, the players that told their places. Others may have any.
    pub(crate) heard: String,
    pub(crate) held: Vec<HeldPlace>,
    /// What is wrong with directories of places.
    pub(crate) troubles: Vec<HeldTrouble>,
}

impl Output for Places {
    fn noun(&self) -> &'static str {
        "places"
    }

    fn json(self) -> impl Serialize {
        OfPlaces {
            heard: self.heard,
            places: self.held.iter().map(OfPlace::new).collect(),
            troubles: self.troubles.iter().map(OfTrouble::new).collect(),
        }
    }

    fn text(self, out: &mut dyn Page, style: Style) -> io::Result<()> {
        for HeldPlace { place, hosts, count } in &self.held {
            let (active, about) = match &place.state {
                Ok(standing) => (serial(standing.active), about(standing)),
                Err(why) => {
                    let told = format!("disabled: {}", one_line(why));
                    ("-".to_owned(), style.warning(&told).to_string())
                }
            };
            let hosts = one_line(hosts);
            writeln!(out, "{:<24} {active:<8} {hosts} ({count}) {about}", place.name.as_str())?;
        }
        for HeldTrouble { why, hosts } in &self.troubles {
            let told = format!("{}: {}", one_line(hosts), one_line(why));
            writeln!(out, "{}", style.warning(&told))?;
        }
        Ok(())
    }

    fn remark(&self) -> Option<String> {
        match (self.heard.is_empty(), self.held.is_empty() && self.troubles.is_empty()) {
            (true, _) => Some("no player has told its places yet".to_owned()),
            (false, true) => Some("no places".to_owned()),
            (false, false) => None,
        }
    }
}

/// The serial of a release, for people.
fn serial(release: Option<BundleRelease>) -> String {
    release.map_or_else(|| "-".to_owned(), |release| release.serial.to_string())
}

/// What people read of a place that is in order.
fn about(standing: &PlaceStanding) -> String {
    let mut text = format!("{}: takes {} ", one_line(&standing.path), standing.bundle);
    text += &match &standing.trust {
        PlaceTrust::Pins(ids) => format!("by {} pins", ids.len()),
        PlaceTrust::Publishers { keys, threshold } => {
            format!("signed by {threshold} of {}", keys.len())
        }
    };
    if !standing.kept.is_empty() {
        let kept: Vec<String> = standing.kept.iter().map(|one| one.serial.to_string()).collect();
        text += &format!("; has {}", kept.join(", "));
    }
    text
}

/// For programs.
#[derive(Serialize)]
struct OfPlaces {
    heard: String,
    places: Vec<OfPlace>,
    troubles: Vec<OfTrouble>,
}

#[derive(Serialize)]
struct OfTrouble {
    why: String,
    hosts: String,
}

impl OfTrouble {
    fn new(trouble: &HeldTrouble) -> Self {
        Self { why: trouble.why.to_string(), hosts: trouble.hosts.to_string() }
    }
}

#[derive(Serialize)]
struct OfPlace {
    name: String,
    hosts: String,
    count: u32,
    /// Why it takes nothing; `null` where it is in order.
    disabled: Option<String>,
    /// `null` where it is disabled.
    standing: Option<OfStanding>,
}

#[derive(Serialize)]
struct OfStanding {
    bundle: String,
    path: String,
    /// `null` where publishers are believed.
    pins: Option<Vec<String>>,
    publishers: Option<Vec<String>>,
    threshold: Option<usize>,
    active: Option<OfRelease>,
    kept: Vec<OfRelease>,
    highest: Option<OfRelease>,
}

#[derive(Serialize)]
struct OfRelease {
    serial: u64,
    id: String,
}

impl OfPlace {
    fn new(held: &HeldPlace) -> Self {
        let HeldPlace { place, hosts, count } = held;
        let (standing, disabled) = match &place.state {
            Ok(standing) => (Some(OfStanding::new(standing)), None),
            Err(why) => (None, Some(why.clone())),
        };
        let (name, hosts) = (place.name.to_string(), hosts.to_string());
        Self { name, hosts, count: *count, disabled, standing }
    }
}

impl OfStanding {
    fn new(standing: &PlaceStanding) -> Self {
        let (pins, publishers, threshold) = match &standing.trust {
            PlaceTrust::Pins(ids) => {
                (Some(ids.iter().map(ToString::to_string).collect()), None, None)
            }
            PlaceTrust::Publishers { keys, threshold } => {
                (None, Some(keys.iter().map(ToString::to_string).collect()), Some(*threshold))
            }
        };
        Self {
            bundle: standing.bundle.to_string(),
            path: standing.path.clone(),
            pins,
            publishers,
            threshold,
            active: standing.active.map(OfRelease::new),
            kept: standing.kept.iter().copied().map(OfRelease::new).collect(),
            highest: standing.highest.map(OfRelease::new),
        }
    }
}

impl OfRelease {
    fn new(release: BundleRelease) -> Self {
        Self { serial: release.serial.get(), id: release.id.to_string() }
    }
}
