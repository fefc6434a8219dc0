//! What the players file says of players that instances of services are placed on: labels, and how
//! much of a host is for instances, which the labels `memory` and `cpu` say.

use std::{collections::BTreeMap, error::Error, fmt, str::FromStr, sync::Arc};

use orchestra_model::{
    HostName,
    names::{LabelKey, LabelValue},
    service::{MilliCores, PlayerFacts, Room},
    size::ByteSize,
};

use super::{Fleet, Labels};

/// The label that says how much memory of a host is for instances.
const MEMORY: &str = "memory";
/// The label that says how many processors of a host are for instances.
const CPU: &str = "cpu";

/// Why the value of a label says not how much there is of a host.
#[derive(Debug)]
pub(crate) struct InvalidRoom {
    /// The label's key.
    key: &'static str,
    cause: Box<dyn Error + Send + Sync>,
}

impl fmt::Display for InvalidRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "label {} says how much of a host is for instances of services", self.key)
    }
}

impl Error for InvalidRoom {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.cause)
    }
}

/// Checks a label that says how much there is of a host. Any other label is right.
pub(super) fn check_room(key: &str, value: &str) -> Result<(), InvalidRoom> {
    match key {
        MEMORY => read::<ByteSize>(MEMORY, value).map(drop),
        CPU => match read::<MilliCores>(CPU, value)? {
            MilliCores(0) => Err(InvalidRoom { key: CPU, cause: "it is 0".into() }),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn read<T>(key: &'static str, value: &str) -> Result<T, InvalidRoom>
where
    T: FromStr<Err: Error + Send + Sync + 'static>,
{
    value.parse().map_err(|cause: T::Err| InvalidRoom { key, cause: Box::new(cause) })
}

impl Fleet {
    /// Returns what is said of each player. Players of the same labels share them.
    pub(crate) fn facts(&self) -> BTreeMap<HostName, PlayerFacts> {
        // By the address of labels that many hosts share, which stay where they are meanwhile.
        let mut known: BTreeMap<usize, PlayerFacts> = BTreeMap::new();
        let none = Arc::new(Labels::new());
        let facts = |host: &HostName| {
            let labels = self.labels.get(host).unwrap_or(&none);
            let facts =
                known.entry(Arc::as_ptr(labels).addr()).or_insert_with(|| read_facts(labels));
            (host.clone(), facts.clone())
        };
        self.hosts.iter().map(facts).collect()
    }
}

/// Makes facts of labels, which were checked when they were read.
fn read_facts(labels: &Labels) -> PlayerFacts {
    let label = |(key, value): (&String, &String)| {
        Some((LabelKey::new(key).ok()?, LabelValue::new(value).ok()?))
    };
    let room = Room {
        memory: labels.get(MEMORY).and_then(|value| value.parse().ok()),
        cpu: labels.get(CPU).and_then(|value| value.parse().ok()),
    };
    PlayerFacts { labels: Arc::new(labels.iter().filter_map(label).collect()), room }
}

#[cfg(test)]
mod tests {
    use orchestra_model::hostset::Groups;

    use super::*;

    #[test]
    fn labels_say_how_much_of_a_host_there_is() {
        let mut fleet = Fleet::default();
        fleet.read_players("a[1-2] zone=east memory=64GiB\na1 cpu=0.5\nb1\n").unwrap();
        let facts = fleet.facts();
        let of = |name: &str| &facts[&HostName::new(name).unwrap()];
        assert_eq!(of("a1").room.memory, Some(ByteSize(64 << 30)));
        assert_eq!((of("a1").room.cpu, of("a2").room.cpu), (Some(MilliCores(500)), None));
        assert_eq!(of("a1").zone().map(LabelValue::as_str), Some("east"));
        assert_eq!((of("b1").zone(), of("b1").room), (None, Room::default()));
        assert_eq!(fleet.labelled("memory", "64GiB").unwrap().len(), 2, "it is a label as well");
    }
}
