//! Where a service is placed, and what waits for a player.

use std::collections::BTreeMap;

use orchestra_model::{
    names::{HostName, LabelKey, LabelValue},
    service::{Labels, Layout, MilliCores, Move, Need, Ordinal, PlaceRule, Room, Spread, Waiting},
    size::ByteSize,
};

use crate::{
    invalid::{InField, Invalid},
    v1,
};

/// Most labels that a service may require, and most zones that it may name.
const MOST: usize = 256;

impl From<&PlaceRule> for v1::PlaceRule {
    fn from(rule: &PlaceRule) -> Self {
        let label = |(key, value): (&LabelKey, &LabelValue)| (key.to_string(), value.to_string());
        Self {
            layout: Some((&rule.layout).into()),
            require: rule.require.iter().map(label).collect(),
            spread: rule.spread.to_string(),
        }
    }
}

impl TryFrom<&v1::PlaceRule> for PlaceRule {
    type Error = Invalid;

    fn try_from(rule: &v1::PlaceRule) -> Result<Self, Invalid> {
        if rule.require.len() > MOST {
            return Err(Invalid::field("PlaceRule.require"));
        }
        let label = |(key, value): (&String, &String)| {
            let key = LabelKey::new(key).in_field("PlaceRule.require")?;
            Ok((key, LabelValue::new(value).in_field("PlaceRule.require")?))
        };
        Ok(PlaceRule {
            layout: rule.layout.as_ref().in_field("PlaceRule.layout")?.try_into()?,
            require: rule.require.iter().map(label).collect::<Result<Labels, Invalid>>()?,
            spread: Spread::from_word(&rule.spread).in_field("PlaceRule.spread")?,
        })
    }
}

impl From<&Layout> for v1::Layout {
    fn from(layout: &Layout) -> Self {
        let layout = match layout {
            Layout::Count(count) => v1::layout::Layout::Count(*count),
            Layout::Zones(zones) => {
                let counts = zones.iter().map(|(zone, count)| (zone.to_string(), *count)).collect();
                v1::layout::Layout::Zones(v1::ZoneCounts { counts })
            }
        };
        Self { layout: Some(layout) }
    }
}

impl TryFrom<&v1::Layout> for Layout {
    type Error = Invalid;

    fn try_from(layout: &v1::Layout) -> Result<Self, Invalid> {
        Ok(match layout.layout.as_ref().in_field("Layout.layout")? {
            v1::layout::Layout::Count(count) => Layout::Count(*count),
            v1::layout::Layout::Zones(zones) if zones.counts.len() > MOST => {
                return Err(Invalid::field("ZoneCounts.counts"));
            }
            v1::layout::Layout::Zones(zones) => {
                let zone = |(zone, count): (&String, &u32)| {
                    Ok((LabelValue::new(zone).in_field("ZoneCounts.counts")?, *count))
                };
                let zones = zones.counts.iter().map(zone);
                Layout::Zones(zones.collect::<Result<BTreeMap<_, _>, Invalid>>()?)
            }
        })
    }
}

impl From<&Move> for v1::ServiceMove {
    fn from(moved: &Move) -> Self {
        Self { ordinal: moved.ordinal.0, from: moved.from.to_string(), to: moved.to.to_string() }
    }
}

impl TryFrom<&v1::ServiceMove> for Move {
    type Error = Invalid;

    fn try_from(moved: &v1::ServiceMove) -> Result<Self, Invalid> {
        Ok(Move {
            ordinal: Ordinal(moved.ordinal),
            from: HostName::new(&moved.from).in_field("ServiceMove.from")?,
            to: HostName::new(&moved.to).in_field("ServiceMove.to")?,
        })
    }
}

impl From<&Waiting> for v1::Waiting {
    fn from(waiting: &Waiting) -> Self {
        Self {
            count: waiting.count,
            zone: waiting.zone.as_ref().map(ToString::to_string).unwrap_or_default(),
            players: waiting.players,
            elsewhere: waiting.elsewhere,
            taken: waiting.taken,
            absent: waiting.absent,
            drained: waiting.drained,
            too_old: waiting.too_old,
            without_score: waiting.without_score,
            full: waiting.full,
            short_of_memory: waiting.short_of_memory,
            short_of_cpu: waiting.short_of_cpu,
            memory_bytes: waiting.need.memory.0,
            cpu_millicores: waiting.need.cpu,
        }
    }
}

impl TryFrom<&v1::Waiting> for Waiting {
    type Error = Invalid;

    fn try_from(waiting: &v1::Waiting) -> Result<Self, Invalid> {
        let zone = match waiting.zone.as_str() {
            "" => None,
            zone => Some(LabelValue::new(zone).in_field("Waiting.zone")?),
        };
        Ok(Waiting {
            count: waiting.count,
            zone,
            players: waiting.players,
            elsewhere: waiting.elsewhere,
            taken: waiting.taken,
            absent: waiting.absent,
            drained: waiting.drained,
            too_old: waiting.too_old,
            without_score: waiting.without_score,
            full: waiting.full,
            short_of_memory: waiting.short_of_memory,
            short_of_cpu: waiting.short_of_cpu,
            need: Need { memory: ByteSize(waiting.memory_bytes), cpu: waiting.cpu_millicores },
        })
    }
}

impl From<Room> for v1::Room {
    fn from(capacity: Room) -> Self {
        Self {
            memory_bytes: capacity.memory.map(|size| size.0),
            cpu_millicores: capacity.cpu.map(|cores| cores.0),
        }
    }
}

impl From<v1::Room> for Room {
    fn from(capacity: v1::Room) -> Self {
        Self {
            memory: capacity.memory_bytes.map(ByteSize),
            cpu: capacity.cpu_millicores.map(MilliCores),
        }
    }
}
