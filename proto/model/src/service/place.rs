//! Where instances of a service that is placed may be, how many there are to be, and what players
//! have to offer them.

use std::{collections::BTreeMap, fmt, sync::Arc};

use crate::{
    names::{HostName, LabelKey, LabelValue},
    service::{MilliCores, Ordinal, Resources},
    size::ByteSize,
    state::kebab_enum,
};

/// The label whose value is a player's zone.
pub const ZONE_LABEL: &str = "zone";
/// Most instances of one service.
pub const INSTANCES: u32 = 100_000;

/// The labels of a player: one value a key.
pub type Labels = BTreeMap<LabelKey, LabelValue>;

/// Where a service's instances may be, and how many there are to be. Each player has at most one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlaceRule {
    /// How many.
    pub layout: Layout,
    /// The labels that a player has to have.
    pub require: Labels,
    /// How they are spread.
    pub spread: Spread,
}

/// How many instances there are to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// So many, in whichever zones.
    Count(u32),
    /// So many in each of these zones, and none elsewhere.
    Zones(BTreeMap<LabelValue, u32>),
}

kebab_enum!(
    /// How instances are spread over players.
    Spread {
        /// Evenly over zones, then over players: the one with the least reserved first.
        Zone = "zone",
        /// Over players alone: the one with the least reserved first.
        Host = "host",
        /// On as few players as there is room: the one with the most reserved first.
        Pack = "pack",
    }
);

/// What makes no sense of a [`PlaceRule`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {}", .field, .problem)]
pub struct InvalidPlace {
    /// The field: `place.count`.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl PlaceRule {
    /// Checks what no single field can.
    pub fn check(&self) -> Result<(), InvalidPlace> {
        let wrong = |field, problem| Err(InvalidPlace { field, problem });
        let by_zone = matches!(self.layout, Layout::Zones(_));
        if self.layout.total() > u64::from(INSTANCES) {
            let field = if by_zone { "place.zones" } else { "place.count" };
            return wrong(field, "it is more than 100000 instances");
        }
        if self.layout == Layout::Zones(BTreeMap::new()) {
            return wrong("place.zones", "it names no zone");
        }
        if by_zone && self.require.contains_key(ZONE_LABEL) {
            return wrong("place.require", "zone: place.zones says already which zones");
        }
        Ok(())
    }
}

impl Layout {
    /// How many instances there are to be, over all zones.
    pub fn total(&self) -> u64 {
        match self {
            Layout::Count(count) => u64::from(*count),
            Layout::Zones(zones) => zones.values().map(|count| u64::from(*count)).sum(),
        }
    }

    /// Each part of it: a zone with its count, or the whole count.
    pub fn parts(&self) -> Vec<(Option<&LabelValue>, u32)> {
        match self {
            Layout::Count(count) => vec![(None, *count)],
            Layout::Zones(zones) => {
                zones.iter().map(|(zone, count)| (Some(zone), *count)).collect()
            }
        }
    }

    /// This layout with another number in one of its parts. Fails if it has no such part: a layout by
    /// zones has none without a zone, and a count has none of a zone.
    pub fn scaled(&self, zone: Option<&LabelValue>, count: u32) -> Option<Layout> {
        match (self, zone) {
            (Layout::Count(_), None) => Some(Layout::Count(count)),
            (Layout::Zones(zones), Some(zone)) => {
                let mut zones = zones.clone();
                zones.insert(zone.clone(), count);
                Some(Layout::Zones(zones))
            }
            (Layout::Count(_), Some(_)) | (Layout::Zones(_), None) => None,
        }
    }
}

impl Layout {
    /// How many there are to be in a zone; `None`: if zones do not matter.
    pub fn count_in(&self, zone: Option<&LabelValue>) -> u32 {
        match (self, zone) {
            (Layout::Count(count), None) => *count,
            (Layout::Zones(zones), Some(zone)) => zones.get(zone).copied().unwrap_or(0),
            (Layout::Count(_), Some(_)) | (Layout::Zones(_), None) => 0,
        }
    }

    /// So many more: of zones the ones with most get one each, in turn.
    #[must_use]
    pub fn raised(&self, more: u32) -> Layout {
        match self {
            Layout::Count(count) => Layout::Count(count.saturating_add(more)),
            Layout::Zones(zones) => {
                let mut order: Vec<&LabelValue> = zones.keys().collect();
                order.sort_by_key(|zone| std::cmp::Reverse(zones.get(*zone)));
                let mut raised = zones.clone();
                let each = u32::try_from(order.len()).unwrap_or(u32::MAX).max(1);
                for (nth, zone) in (0..).zip(order) {
                    let rest = u32::from(nth < more % each);
                    if let Some(count) = raised.get_mut(zone) {
                        *count = count.saturating_add(more / each + rest);
                    }
                }
                Layout::Zones(raised)
            }
        }
    }
}

/// `4`, or `east=3, west=1`.
impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Layout::Count(count) => count.fmt(f),
            Layout::Zones(zones) => {
                for (n, (zone, count)) in zones.iter().enumerate() {
                    write!(f, "{}{zone}={count}", if n > 0 { ", " } else { "" })?;
                }
                Ok(())
            }
        }
    }
}

/// That an instance leaves a player for another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub ordinal: Ordinal,
    pub from: HostName,
    /// Where it is begun, by a new placement, before it is ended on the other one.
    pub to: HostName,
}

/// How much of a player is for instances. What is not known limits nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Memory.
    pub memory: Option<ByteSize>,
    /// Time of processors.
    pub cpu: Option<MilliCores>,
}

impl Room {
    /// The lesser of both, each part by itself.
    #[must_use]
    pub fn least(self, other: Room) -> Room {
        fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
            match (one, other) {
                (Some(one), Some(other)) => Some(one.min(other)),
                (one, other) => one.or(other),
            }
        }
        Room { memory: least(self.memory, other.memory), cpu: least(self.cpu, other.cpu) }
    }
}

/// What the conductor's own files say of a player.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlayerFacts {
    /// Its labels. Players of the same lines share them.
    pub labels: Arc<Labels>,
    /// How much of it is for instances.
    pub room: Room,
}

impl PlayerFacts {
    /// Its zone; `None` if it has no such label: all players without one are one zone.
    pub fn zone(&self) -> Option<&LabelValue> {
        self.labels.get(ZONE_LABEL)
    }
}

/// How much of a player an instance takes, by the reserve of its service, or by the limit where there
/// is no reserve. 0 where there is neither.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    /// Memory.
    pub memory: ByteSize,
    /// Time of processors, in thousandths of one.
    pub cpu: u64,
}

impl Need {
    /// What one instance needs under these limits.
    pub fn of(resources: Option<&Resources>) -> Need {
        let Some(resources) = resources else { return Need::default() };
        Need {
            memory: resources.reserve.or(resources.memory).unwrap_or_default(),
            cpu: resources.cpu.map_or(0, |cores| u64::from(cores.0)),
        }
    }

    /// Both together.
    #[must_use]
    pub fn plus(self, other: Need) -> Need {
        Need {
            memory: ByteSize(self.memory.0.saturating_add(other.memory.0)),
            cpu: self.cpu.saturating_add(other.cpu),
        }
    }

    /// This one without another that is in it.
    #[must_use]
    pub fn minus(self, other: Need) -> Need {
        Need {
            memory: ByteSize(self.memory.0.saturating_sub(other.memory.0)),
            cpu: self.cpu.saturating_sub(other.cpu),
        }
    }

    /// Whether a player has as much.
    pub fn fits(self, capacity: Room) -> bool {
        self.fits_memory(capacity) && self.fits_cpu(capacity)
    }

    /// Whether a player has as much memory.
    pub fn fits_memory(self, capacity: Room) -> bool {
        capacity.memory.is_none_or(|most| self.memory <= most)
    }

    /// Whether a player has as much time of processors.
    pub fn fits_cpu(self, capacity: Room) -> bool {
        capacity.cpu.is_none_or(|most| self.cpu <= u64::from(most.0))
    }
}

/// Instances of a service that wait for room, and why none of the players has any: each player is
/// counted once, at the first of these that keeps it out.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Waiting {
    /// How many wait.
    pub count: u32,
    /// The zone that they are for; `None`: whichever.
    pub zone: Option<LabelValue>,
    /// How many players there are at all. 0 while nobody looks for one, because the conductor has
    /// just started and gives players time to come back.
    pub players: u32,
    /// Players of another zone, or without a required label.
    pub elsewhere: u32,
    /// Players that have an instance already.
    pub taken: u32,
    /// Players that are not attached, or quarantined.
    pub absent: u32,
    /// Players that are drained.
    pub drained: u32,
    /// Players whose release keeps no units.
    pub too_old: u32,
    /// Players without the score, or where it is disabled.
    pub without_score: u32,
    /// Players that have not as much left as one instance needs.
    pub full: u32,
    /// Those of them that lack memory, and those that lack time of processors; some lack both.
    pub short_of_memory: u32,
    pub short_of_cpu: u32,
    /// What one instance needs, with those that are linked to it.
    pub need: Need,
}

/// `2 of zone east wait for room: of 10 players 4 are elsewhere, 6 have not 1GiB left`
impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, zone, players, .. } = self;
        write!(f, "{count}")?;
        if let Some(zone) = zone {
            write!(f, " of zone {zone}")?;
        }
        let waits = if *count == 1 { "waits" } else { "wait" };
        if *players == 0 {
            return write!(
                f,
                " {waits} until players had time to come back after the conductor's start"
            );
        }
        write!(f, " {waits} for room: {}", self.reasons())
    }
}

impl Waiting {
    /// Why no player has room: `of 10 players 4 are drained, 6 have not 1GiB left`.
    pub fn reasons(&self) -> String {
        let Self { players, need, .. } = self;
        let mut left = format!("have not {} left", need.memory);
        if need.cpu > 0 {
            let cpu = MilliCores(u32::try_from(need.cpu).unwrap_or(u32::MAX));
            left = match need.memory {
                ByteSize(0) => format!("have not {cpu} processors left"),
                memory => {
                    let (memories, cpus) = (self.short_of_memory, self.short_of_cpu);
                    let lack = format!("{memories} lack memory, {cpus} processors");
                    format!("have not {memory} and {cpu} processors left ({lack})")
                }
            };
        }
        let reasons = [
            (self.elsewhere, "are of another zone or lack a label"),
            (self.taken, "have an instance"),
            (self.absent, "are away"),
            (self.drained, "are drained"),
            (self.too_old, "keep no services"),
            (self.without_score, "do not offer the score"),
            (self.full, left.as_str()),
        ];
        let told: Vec<String> = reasons
            .iter()
            .filter(|(count, _)| *count > 0)
            .map(|(count, why)| format!("{count} {why}"))
            .collect();
        match told.is_empty() {
            true => format!("of {players} players none can be used"),
            false => format!("of {players} players {}", told.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &str) -> LabelValue {
        LabelValue::new(text).unwrap()
    }

    #[test]
    fn a_layout_that_makes_no_sense_is_refused() {
        let rule =
            |layout| PlaceRule { layout, require: Labels::new(), spread: Spread::Zone }.check();
        let zones = |count| Layout::Zones([(value("east"), count)].into());
        assert_eq!((rule(Layout::Count(0)), rule(zones(3))), (Ok(()), Ok(())));
        let field = |layout| rule(layout).map_err(|invalid| invalid.field);
        assert_eq!(field(Layout::Count(INSTANCES + 1)), Err("place.count"));
        assert_eq!(field(zones(u32::MAX)), Err("place.zones"));
        assert_eq!(field(Layout::Zones(BTreeMap::new())), Err("place.zones"));
        let require = [(LabelKey::new("zone").unwrap(), value("east"))].into();
        let both = PlaceRule { layout: zones(1), require, spread: Spread::Host };
        assert_eq!(both.check().map_err(|invalid| invalid.field), Err("place.require"));
    }

    #[test]
    fn a_part_of_a_layout_is_scaled() {
        let zones = Layout::Zones([(value("east"), 3)].into());
        assert_eq!(Layout::Count(3).scaled(None, 5), Some(Layout::Count(5)));
        assert_eq!(Layout::Count(3).scaled(Some(&value("east")), 5), None);
        assert_eq!(zones.scaled(None, 5), None);
        let more = zones.scaled(Some(&value("west")), 1).unwrap();
        assert_eq!((more.total(), more.to_string().as_str()), (4, "east=3, west=1"));
    }

    #[test]
    fn more_instances_go_to_the_zones_with_most_in_turn() {
        let east =
            Layout::Zones([(value("east"), 3), (value("west"), 1), (value("mid"), 3)].into());
        assert_eq!(east.raised(0), east);
        assert_eq!(east.raised(1).to_string(), "east=4, mid=3, west=1");
        assert_eq!(east.raised(5).to_string(), "east=5, mid=5, west=2");
        assert_eq!(Layout::Count(2).raised(1), Layout::Count(3));
        assert_eq!((east.count_in(Some(&value("west"))), east.count_in(None)), (1, 0));
        assert_eq!((Layout::Count(2).count_in(None), east.count_in(Some(&value("x")))), (2, 0));
    }

    #[test]
    fn who_waits_is_told_why() {
        let waiting = Waiting {
            count: 2,
            zone: Some(value("east")),
            players: 10,
            elsewhere: 4,
            full: 6,
            short_of_memory: 5,
            short_of_cpu: 2,
            need: Need { memory: ByteSize(1 << 30), cpu: 500 },
            ..Waiting::default()
        };
        let expected = "2 of zone east wait for room: of 10 players 4 are of another zone or lack a \
                        label, 6 have not 1GiB and 0.5 processors left (5 lack memory, 2 processors)";
        assert_eq!(waiting.to_string(), expected);
    }
}
