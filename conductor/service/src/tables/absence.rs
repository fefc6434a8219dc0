//! Since when players are away.

use orchestra_model::{HostName, Millis, Timestamp};

use super::in_order::HostsInOrder;

/// The moment from which a player's absence counts, in milliseconds. A conductor that has started
/// counts on from what was noted, so that this may lie before the beginning of its clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Away(i64);

impl Away {
    /// One that has lasted for so long by now.
    pub(crate) fn lasting(now: Timestamp, before: Millis) -> Self {
        Self(signed(now.0).saturating_sub(signed(before.0)))
    }

    /// For how long it has lasted.
    pub(crate) fn lasted(self, now: Timestamp) -> Millis {
        Millis(unsigned(signed(now.0).saturating_sub(self.0)))
    }

    /// When it will have lasted for so long.
    pub(crate) fn reaches(self, length: Millis) -> Timestamp {
        Timestamp(unsigned(self.0.saturating_add(signed(length.0))))
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

/// The hosts of a placed service whose players are away, those first that are away for longest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Absences(HostsInOrder<Away>);

impl Absences {
    /// Takes since when a host's player is away; `None` if it is not, or its instance is not wanted
    /// there.
    pub(crate) fn set(&mut self, host: &HostName, away: Option<Away>) {
        self.0.set(host, away);
    }

    pub(crate) fn get(&self, host: &HostName) -> Option<Away> {
        self.0.get(host)
    }

    /// Those that have lasted for at least so long, longest first.
    pub(crate) fn over(&self, length: Millis, now: Timestamp) -> impl Iterator<Item = &HostName> {
        self.0.until(Away::lasting(now, length))
    }

    /// Those that have not lasted for so long yet, longest first.
    pub(crate) fn under(
        &self,
        length: Millis,
        now: Timestamp,
    ) -> impl Iterator<Item = (Away, &HostName)> {
        self.0.after(Away::lasting(now, length))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn h(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    #[test]
    fn what_lasted_before_a_start_may_reach_further_back_than_the_clock() {
        let away = Away::lasting(Timestamp(10), Millis(300));
        assert_eq!(away.lasted(Timestamp(30)), Millis(320));
        assert_eq!(
            (away.reaches(Millis(400)), away.reaches(Millis(5))),
            (Timestamp(110), Timestamp(0))
        );
    }

    #[test]
    fn absences_are_told_by_how_long_they_have_lasted() {
        let mut absences = Absences::default();
        let now = Timestamp(1_000);
        for (host, lasted) in [("db1", 10), ("db2", 30), ("db3", 30), ("db4", 20)] {
            absences.set(&h(host), Some(Away::lasting(now, Millis(lasted))));
        }
        absences.set(&h("db3"), None);
        absences.set(&h("db4"), Some(Away::lasting(now, Millis(40))));
        let over: Vec<_> = absences.over(Millis(30), now).map(HostName::as_str).collect();
        assert_eq!(over, ["db4", "db2"]);
        let under: Vec<_> =
            absences.under(Millis(30), now).map(|(_, host)| host.as_str()).collect();
        assert_eq!(under, ["db1"]);
        let later = Timestamp(1_020);
        assert_eq!(absences.over(Millis(30), later).count(), 3);
        assert_eq!(absences.get(&h("db3")), None);
    }
}
