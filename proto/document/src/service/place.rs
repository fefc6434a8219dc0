//! Where a service is placed.

use std::str::FromStr;

use orchestra_model::{
    names::LabelValue,
    service::{Labels, Layout, PlaceRule, Spread},
};

use super::names;
use crate::{Fields, Node, Problems};

/// `{count: 4, require: {disk: ssd}, spread: zone}`, or `zones: {east: 2}` instead of `count`; `None`
/// if it says not how many.
pub(super) fn place(node: &Node, problems: &mut Problems) -> Option<PlaceRule> {
    if let Node::Text(_) = node {
        problems.add("place", "it is a table: {count: 3} or {zones: {east: 2, west: 1}}");
        return None;
    }
    let mut fields = Fields::of(node, "place", problems)?;
    let known = problems.len();
    let count = fields.parsed("count", problems).map(|Amount(count)| Layout::Count(count));
    let zones = fields.get("zones", problems);
    let zones = zones.and_then(|node| {
        let pairs = pairs(node, "place.zones", problems, |Amount(count)| count)?;
        Some(Layout::Zones(pairs.into_iter().collect()))
    });
    let require = fields.get("require", problems);
    let require = require.and_then(|node| {
        let pairs = pairs(node, "place.require", problems, |value: LabelValue| value)?;
        Some(pairs.into_iter().collect::<Labels>())
    });
    fields.parsed::<One>("per_host", problems);
    let spread = fields.parsed("spread", problems).map(|Word(spread)| spread);
    fields.finish(names::PLACE, problems);
    let layout = match (count, zones) {
        (Some(_), Some(_)) => {
            problems.add("place", "count and zones exclude each other; give one");
            None
        }
        (count, zones) => count.or(zones),
    };
    if layout.is_none() && problems.len() == known {
        problems.add("place", "it says not how many: give count or zones");
    }
    Some(PlaceRule {
        layout: layout?,
        require: require.unwrap_or_default(),
        spread: spread.unwrap_or(Spread::Zone),
    })
}

/// Reads a table of names to values; `None` if one of them is wrong.
fn pairs<K, T, V>(
    node: &Node,
    place: &str,
    problems: &mut Problems,
    value: impl Fn(T) -> V,
) -> Option<Vec<(K, V)>>
where
    K: FromStr<Err: std::error::Error>,
    T: FromStr<Err: std::fmt::Display>,
{
    let Node::Map(fields) = node else {
        problems.add(place, "it is a table of names and values");
        return None;
    };
    let known = problems.len();
    let mut pairs = Vec::new();
    for (key, node) in fields {
        let at = format!("{place}.{}", &**key);
        let name = match key.parse::<K>() {
            Ok(name) => Some(name),
            Err(error) => {
                problems.add_at(key.line(), place, error);
                None
            }
        };
        let read = match node {
            Node::Text(text) => text.parse::<T>().map_err(|error| error.to_string()),
            Node::Whole(number) => {
                number.to_string().parse::<T>().map_err(|error| error.to_string())
            }
            other => Err(format!("expected a value, found {}", other.kind())),
        };
        match (name, read) {
            (Some(name), Ok(read)) => pairs.push((name, value(read))),
            (_, Err(problem)) => problems.add_at(key.line(), &at, problem),
            (None, Ok(_)) => {}
        }
    }
    (problems.len() == known).then_some(pairs)
}

/// How many instances.
struct Amount(u32);

impl FromStr for Amount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Amount).map_err(|_| "expected a whole number from 0 to 100000")
    }
}

/// How many instances a player may have. One is all that is offered, so nothing is kept of it.
struct One;

impl FromStr for One {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "1" => Ok(One),
            _ => Err("it is 1: a player has at most one instance of a service"),
        }
    }
}

/// How instances are spread.
struct Word(Spread);

impl FromStr for Word {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Spread::from_word(text).map(Word).ok_or("it is zone, host or pack")
    }
}
