//! Sets of hosts, of which one may be all that there will ever be.

use std::fmt;

use orchestra_model::HostSet;

/// Which hosts something is allowed on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// On these.
    These(HostSet),
    /// On every host, whether it is a player or not, but for these.
    AllBut(HostSet),
}

impl Reach {
    /// Returns the reach of no host.
    pub fn nowhere() -> Self {
        Self::These(HostSet::default())
    }

    /// Returns the reach of every host.
    pub fn everywhere() -> Self {
        Self::AllBut(HostSet::default())
    }

    /// Returns whether no host is in it.
    pub fn is_nowhere(&self) -> bool {
        matches!(self, Self::These(hosts) if hosts.is_empty())
    }

    /// Returns whether every host is in it.
    pub fn is_everywhere(&self) -> bool {
        matches!(self, Self::AllBut(hosts) if hosts.is_empty())
    }

    /// Returns the hosts of both.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::These(a), Self::These(b)) => Self::These(a.union(b)),
            (Self::These(a), Self::AllBut(b)) | (Self::AllBut(b), Self::These(a)) => {
                Self::AllBut(b.minus(a))
            }
            (Self::AllBut(a), Self::AllBut(b)) => Self::AllBut(a.intersection(b)),
        }
    }

    /// Returns its hosts without those of another one.
    #[must_use]
    pub fn minus(&self, other: &Self) -> Self {
        match (self, other) {
            (Self::These(a), Self::These(b)) => Self::These(a.minus(b)),
            (Self::These(a), Self::AllBut(b)) => Self::These(a.intersection(b)),
            (Self::AllBut(a), Self::These(b)) => Self::AllBut(a.union(b)),
            (Self::AllBut(a), Self::AllBut(b)) => Self::These(b.minus(a)),
        }
    }

    /// Returns those of these hosts that are in it.
    pub fn of(&self, hosts: &HostSet) -> HostSet {
        match self {
            Self::These(these) => hosts.intersection(these),
            Self::AllBut(others) => hosts.minus(others),
        }
    }

    /// Returns those of these hosts that are not in it.
    pub fn missing(&self, hosts: &HostSet) -> HostSet {
        match self {
            Self::These(these) => hosts.minus(these),
            Self::AllBut(others) => hosts.intersection(others),
        }
    }
}

/// As a host set, or in words.
impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::These(hosts) if hosts.is_empty() => f.write_str("nowhere"),
            Self::These(hosts) => write!(f, "{hosts}"),
            Self::AllBut(hosts) if hosts.is_empty() => f.write_str("everywhere"),
            Self::AllBut(hosts) => write!(f, "everywhere but on {hosts}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::HostName;

    use super::*;

    /// What each way of writing a set says of three hosts, of which no set names the last one.
    #[test]
    fn it_is_what_sets_are() {
        let hosts = HostSet::parse_plain("a,b,z").unwrap();
        let sets = ["", "a", "b", "a,b"].map(|text| match text {
            "" => HostSet::default(),
            text => HostSet::parse_plain(text).unwrap(),
        });
        let these = sets.iter().cloned().map(Reach::These);
        let reaches: Vec<Reach> = these.chain(sets.iter().cloned().map(Reach::AllBut)).collect();
        let has = |reach: &Reach, host: &HostName| reach.of(&hosts).contains(host);
        for a in &reaches {
            assert_eq!(a.of(&hosts).union(&a.missing(&hosts)), hosts);
            assert!(a.of(&hosts).intersection(&a.missing(&hosts)).is_empty());
            assert_eq!(a.is_nowhere(), hosts.iter().all(|host| !has(a, host)));
            assert_eq!(a.is_everywhere(), hosts.iter().all(|host| has(a, host)));
            for b in &reaches {
                for host in &hosts {
                    assert_eq!(has(&a.union(b), host), has(a, host) || has(b, host), "{a} {b}");
                    assert_eq!(has(&a.minus(b), host), has(a, host) && !has(b, host), "{a} {b}");
                }
            }
        }
    }
}
