//! Brakes on the replacement of instances: when many players are away together, rather what connects
//! them is at fault than each of them.
//!
//! ```text
//!   more than 55 % of a zone's players are away, and at least 3 ─▶ its instances are replaced
//!                                                                  one by one, 10 s apart
//!   more than 55 % of all players are away, and at least 3 ──────▶ nothing is replaced
//!   fewer are, or a person releases the brake,
//!   or that of a zone has held for half an hour ─────────────────▶ all goes on as usual
//! ```

use std::{collections::BTreeMap, fmt};

use crate::{
    audit::Asker,
    names::{InvalidName, LabelValue},
    time::Timestamp,
};

/// More than so many of a hundred players are many.
const MANY_PERCENT: u64 = 55;
/// So many players are many at least. In a small fleet fewer may be away by chance.
const MANY: u32 = 3;

/// What a brake holds back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrakeScope {
    /// The whole fleet.
    Fleet,
    /// The players of a zone; `None`: those without the label.
    Zone(Option<LabelValue>),
}

/// That many players are away together: a brake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AbsenceBrake {
    /// Since when.
    pub at: Timestamp,
    /// How many were away then.
    pub absent: u32,
    /// Of how many that had been there.
    pub of: u32,
    /// Who released it. It stays until so many players are back that it would not be engaged.
    pub released_by: Option<Asker>,
}

/// Every brake of the fleet and of its zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Brakes(pub BTreeMap<BrakeScope, AbsenceBrake>);

/// A zone's players.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneStatus {
    /// `None`: players without the label.
    pub zone: Option<LabelValue>,
    /// How many the players file names.
    pub players: u32,
    pub attached: u32,
    /// How many are away that have been there before.
    pub absent: u32,
    pub brake: Option<AbsenceBrake>,
}

/// The fleet by zones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FleetZones {
    /// Those that have players, by name, behind players without a zone.
    pub zones: Vec<ZoneStatus>,
    /// The brake of the whole fleet.
    pub brake: Option<AbsenceBrake>,
}

impl AbsenceBrake {
    /// Returns whether so many absent players are too many to be believed.
    pub fn engages(absent: u32, of: u32) -> bool {
        absent >= MANY && u64::from(absent) * 100 > u64::from(of) * MANY_PERCENT
    }

    /// Whether it holds anything back: nobody has released it.
    pub fn is_engaged(&self) -> bool {
        self.released_by.is_none()
    }
}

/// `6 of 10 players are away`
impl fmt::Display for AbsenceBrake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} players are away", self.absent, self.of)
    }
}

impl BrakeScope {
    const FLEET: &str = "fleet";
    const ZONE: &str = "zone/";

    /// Reads what [`BrakeScope`] prints. `None` if it is the word for something else.
    pub fn from_word(word: &str) -> Option<Result<Self, InvalidName>> {
        match word.strip_prefix(Self::ZONE) {
            Some("") => Some(Ok(Self::Zone(None))),
            Some(zone) => Some(LabelValue::new(zone).map(|zone| Self::Zone(Some(zone)))),
            None => (word == Self::FLEET).then_some(Ok(Self::Fleet)),
        }
    }
}

/// `fleet`, `zone/east`, `zone/` for players without a zone.
impl fmt::Display for BrakeScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fleet => f.write_str(Self::FLEET),
            Self::Zone(zone) => {
                write!(f, "{}{}", Self::ZONE, zone.as_ref().map_or("", LabelValue::as_str))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_55_percent_and_at_least_three_are_many() {
        for (absent, of, engages) in [
            (2, 2, false),
            (3, 3, true),
            (3, 5, true),
            (3, 6, false),
            (55, 100, false),
            (56, 100, true),
        ] {
            assert_eq!(AbsenceBrake::engages(absent, of), engages, "{absent} of {of}");
        }
    }

    #[test]
    fn a_scope_is_read_back() {
        let east = LabelValue::new("east").unwrap();
        for scope in [BrakeScope::Fleet, BrakeScope::Zone(None), BrakeScope::Zone(Some(east))] {
            assert_eq!(BrakeScope::from_word(&scope.to_string()), Some(Ok(scope)));
        }
        assert_eq!(BrakeScope::from_word("web"), None);
        assert!(BrakeScope::from_word("zone/a b").unwrap().is_err());
    }
}
