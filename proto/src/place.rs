//! Places, and what is told of them.

use bytes::Bytes;
use orchestra_model::{
    BundleName,
    bundle::{
        BundleId, BundleRelease, BundleSerial, HeldPlace, HeldTrouble, PlaceReport, PlaceStanding,
        PlaceTrust, PlacesReport, PublisherKey,
    },
    limits,
    names::PlaceName,
};

use crate::{
    invalid::{InField, Invalid},
    v1,
};

/// Most pins, and most publishers, of one place.
const MOST_TRUSTED: usize = 64;
/// Most releases of one place: those that are kept, the active one, and one that is new.
const MOST_RELEASES: usize = limits::PLACE_RELEASES as usize + 2;

impl From<&PlacesReport> for v1::Places {
    fn from(report: &PlacesReport) -> Self {
        Self {
            places: report.places.iter().map(Into::into).collect(),
            troubles: report.troubles.clone(),
        }
    }
}

impl TryFrom<&v1::Places> for PlacesReport {
    type Error = Invalid;

    fn try_from(places: &v1::Places) -> Result<Self, Invalid> {
        let is_long = |text: &String| text.len() > limits::PLACE_REASON_BYTES;
        if places.places.len() > limits::PLACES {
            return Err(Invalid::field("Places.places"));
        }
        if places.troubles.len() > limits::PLACE_TROUBLES || places.troubles.iter().any(is_long) {
            return Err(Invalid::field("Places.troubles"));
        }
        let read: Vec<PlaceReport> =
            places.places.iter().map(TryInto::try_into).collect::<Result<_, _>>()?;
        if !read.windows(2).all(|pair| pair[0].name < pair[1].name) {
            return Err(Invalid::field("Places.places"));
        }
        Ok(Self { troubles: places.troubles.clone(), places: read })
    }
}

impl From<&PlaceReport> for v1::Place {
    fn from(place: &PlaceReport) -> Self {
        use v1::place::State;
        Self {
            name: place.name.to_string(),
            state: Some(match &place.state {
                Ok(standing) => State::Standing(standing.into()),
                Err(why) => State::Disabled(why.clone()),
            }),
        }
    }
}

impl TryFrom<&v1::Place> for PlaceReport {
    type Error = Invalid;

    fn try_from(place: &v1::Place) -> Result<Self, Invalid> {
        use v1::place::State;
        let state = match place.state.as_ref().in_field("Place.state")? {
            State::Standing(standing) => Ok(standing.try_into()?),
            State::Disabled(why) if why.len() <= limits::PLACE_REASON_BYTES => Err(why.clone()),
            State::Disabled(_) => return Err(Invalid::field("Place.disabled")),
        };
        Ok(Self { name: PlaceName::new(&place.name).in_field("Place.name")?, state })
    }
}

impl From<&PlaceStanding> for v1::PlaceStanding {
    fn from(standing: &PlaceStanding) -> Self {
        let mut wire = Self {
            bundle: standing.bundle.to_string(),
            path: standing.path.clone(),
            active: standing.active.map(Into::into),
            kept: standing.kept.iter().map(|release| (*release).into()).collect(),
            highest: standing.highest.map(Into::into),
            ..Self::default()
        };
        match &standing.trust {
            PlaceTrust::Pins(ids) => {
                wire.pins = ids.iter().map(|id| Bytes::copy_from_slice(&id.0)).collect();
            }
            PlaceTrust::Publishers { keys, threshold } => {
                wire.publishers = keys.iter().map(|key| Bytes::copy_from_slice(&key.0)).collect();
                wire.threshold = u32::try_from(*threshold).unwrap_or(u32::MAX);
            }
        }
        wire
    }
}

impl TryFrom<&v1::PlaceStanding> for PlaceStanding {
    type Error = Invalid;

    fn try_from(standing: &v1::PlaceStanding) -> Result<Self, Invalid> {
        if standing.path.len() > limits::PLACE_PATH_BYTES {
            return Err(Invalid::field("PlaceStanding.path"));
        }
        if standing.kept.len() > MOST_RELEASES {
            return Err(Invalid::field("PlaceStanding.kept"));
        }
        let release = |release: &Option<v1::Release>| -> Result<Option<BundleRelease>, Invalid> {
            release.as_ref().map(TryInto::try_into).transpose()
        };
        Ok(Self {
            bundle: BundleName::new(&standing.bundle).in_field("PlaceStanding.bundle")?,
            path: standing.path.clone(),
            trust: trust(standing)?,
            active: release(&standing.active)?,
            kept: standing.kept.iter().map(TryInto::try_into).collect::<Result<_, _>>()?,
            highest: release(&standing.highest)?,
        })
    }
}

fn trust(standing: &v1::PlaceStanding) -> Result<PlaceTrust, Invalid> {
    let (pins, keys) = (&standing.pins, &standing.publishers);
    if pins.len() > MOST_TRUSTED || keys.len() > MOST_TRUSTED {
        return Err(Invalid::field("PlaceStanding.publishers"));
    }
    let read = |bytes: &Bytes| -> Result<[u8; 32], Invalid> {
        bytes[..].try_into().in_field("PlaceStanding.publishers")
    };
    if keys.is_empty() {
        let ids = pins.iter().map(|id| read(id).map(BundleId));
        return Ok(PlaceTrust::Pins(ids.collect::<Result<_, _>>()?));
    }
    let keys = keys.iter().map(|key| read(key).map(PublisherKey));
    Ok(PlaceTrust::Publishers {
        keys: keys.collect::<Result<_, _>>()?,
        threshold: standing.threshold as usize,
    })
}

impl From<BundleRelease> for v1::Release {
    fn from(release: BundleRelease) -> Self {
        Self { serial: release.serial.get(), id: Bytes::copy_from_slice(&release.id.0) }
    }
}

impl TryFrom<&v1::Release> for BundleRelease {
    type Error = Invalid;

    fn try_from(release: &v1::Release) -> Result<Self, Invalid> {
        Ok(Self {
            serial: BundleSerial::new(release.serial).in_field("Release.serial")?,
            id: BundleId(release.id[..].try_into().in_field("Release.id")?),
        })
    }
}

impl From<&HeldPlace> for v1::HeldPlace {
    fn from(held: &HeldPlace) -> Self {
        let HeldPlace { place, hosts, count } = held;
        Self { place: Some(place.into()), hosts: hosts.to_string(), count: *count }
    }
}

impl TryFrom<&v1::HeldPlace> for HeldPlace {
    type Error = Invalid;

    fn try_from(held: &v1::HeldPlace) -> Result<Self, Invalid> {
        let place = held.place.as_ref().in_field("HeldPlace.place")?.try_into()?;
        Ok(Self { place, hosts: held.hosts.as_str().into(), count: held.count })
    }
}

impl From<&HeldTrouble> for v1::HeldTrouble {
    fn from(held: &HeldTrouble) -> Self {
        Self { why: held.why.to_string(), hosts: held.hosts.to_string() }
    }
}

impl From<v1::HeldTrouble> for HeldTrouble {
    fn from(held: v1::HeldTrouble) -> Self {
        Self { why: held.why.into(), hosts: held.hosts.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn release(serial: u64) -> BundleRelease {
        BundleRelease { serial: BundleSerial::new(serial).unwrap(), id: BundleId([7; 32]) }
    }

    fn report() -> PlacesReport {
        let keys = [PublisherKey([1; 32]), PublisherKey([2; 32])].into();
        let standing = |trust| PlaceStanding {
            bundle: BundleName::new("site").unwrap(),
            path: "/srv/site".to_owned(),
            trust,
            active: Some(release(41)),
            kept: vec![release(41), release(42)],
            highest: Some(release(42)),
        };
        let place = |name, state| PlaceReport { name: PlaceName::new(name).unwrap(), state };
        PlacesReport {
            troubles: vec!["x".to_owned()],
            places: vec![
                place("a", Err("writable by others".to_owned())),
                place("b", Ok(standing(PlaceTrust::Pins([BundleId([7; 32])].into())))),
                place("c", Ok(standing(PlaceTrust::Publishers { keys, threshold: 2 }))),
            ],
        }
    }

    #[test]
    fn what_is_told_of_places_is_read_as_it_was_said() {
        assert_eq!(PlacesReport::try_from(&v1::Places::from(&report())).unwrap(), report());
        let place = report().places.remove(1);
        let held = HeldPlace { place, hosts: "fe[1-2]".into(), count: 2 };
        assert_eq!(HeldPlace::try_from(&v1::HeldPlace::from(&held)).unwrap(), held);
        let trouble = HeldTrouble { why: "x".into(), hosts: "fe1".into() };
        assert_eq!(HeldTrouble::from(v1::HeldTrouble::from(&trouble)), trouble);
    }

    #[test]
    fn what_no_player_says_of_places_is_refused() {
        let wrong = |change: fn(&mut v1::Places)| {
            let mut wire = v1::Places::from(&report());
            change(&mut wire);
            assert!(PlacesReport::try_from(&wire).is_err(), "{wire:?}");
        };
        wrong(|wire| wire.places.swap(0, 1));
        wrong(|wire| wire.places[0].name.clear());
        wrong(|wire| wire.places[0].state = None);
        wrong(|wire| wire.troubles = vec![String::new(); limits::PLACE_TROUBLES + 1]);
        wrong(|wire| wire.troubles[0] = "x".repeat(limits::PLACE_REASON_BYTES + 1));
        wrong(|wire| {
            let why = "x".repeat(limits::PLACE_REASON_BYTES + 1);
            wire.places[0].state = Some(v1::place::State::Disabled(why));
        });
        wrong(|wire| wire.places = vec![wire.places[0].clone(); limits::PLACES + 1]);
        wrong(|wire| {
            let Some(v1::place::State::Standing(standing)) = &mut wire.places[1].state else {
                return;
            };
            standing.pins[0] = Bytes::from_static(b"short");
        });
    }
}
