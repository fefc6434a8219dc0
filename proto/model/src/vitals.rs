//! Vitals: how much of itself a host uses, and what its units use of it.
//!
//! A sitter *samples*: once every [`SAMPLED_MS`] it looks at its host and at each of its units. What
//! cannot be known is absent, and never 0. Nothing of vitals is durable, and nothing is decided by
//! them.

use std::fmt;

use crate::{
    names::{HostName, ServiceName},
    service::{MilliCores, Ordinal},
    size::ByteSize,
    time::Millis,
};

/// How long after a sample the next one is taken, in milliseconds.
pub const SAMPLED_MS: u64 = 10_000;
/// How many samples are sent together while nobody looks.
pub const BATCH: usize = 6;
/// For how long somebody is taken to look who has asked once, in milliseconds: whoever goes on looking
/// asks again before.
pub const LOOKING_MS: u64 = 30_000;

/// A share, in thousandths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Permille(pub u16);

impl Permille {
    /// Everything.
    pub const ALL: Permille = Permille(1_000);

    /// How much `part` is of `whole`, at most all of it; `None` of nothing.
    pub fn of(part: u64, whole: u64) -> Option<Permille> {
        let share = u128::from(part.min(whole)) * 1_000;
        let share = share.checked_div(u128::from(whole))?;
        Some(Permille(u16::try_from(share).unwrap_or(1_000)))
    }
}

/// In whole percent, rounded down: `93%`.
impl fmt::Display for Permille {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 / 10)
    }
}

/// Bytes that are used, of how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filled {
    /// So many are used.
    pub used: ByteSize,
    /// Of so many.
    pub total: ByteSize,
}

impl Filled {
    /// The share that is used; `None` where there is nothing to use.
    pub fn share(&self) -> Option<Permille> {
        Permille::of(self.used.0, self.total.0)
    }
}

/// What a sample says of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostVitals {
    /// How much of the time of all processors was used since the sample before.
    pub cpu: Option<Permille>,
    /// How many processors there are.
    pub cores: Option<u32>,
    /// How many tasks wanted to run, on average over a minute: in hundredths.
    pub load: Option<u32>,
    /// Memory that cannot be had without taking it from somebody.
    pub memory: Option<Filled>,
    /// Absent also where the host has none.
    pub swap: Option<Filled>,
    /// Of the file system that the spool lies on; what only root may fill counts as used.
    pub disk: Option<Filled>,
    /// How much of the last ten seconds some task waited for a processor.
    pub cpu_pressure: Option<Permille>,
    /// How much of the last ten seconds some task waited for memory.
    pub memory_pressure: Option<Permille>,
    /// How much of the last ten seconds some task waited for a disk.
    pub io_pressure: Option<Permille>,
}

/// What a sample says of a unit's run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitVitals {
    /// What it used of processors since the sample before, on average.
    pub cpu: Option<MilliCores>,
    /// Of the periods since the sample before in which it ran, those in which it was held back for its
    /// limit of processors.
    pub throttled: Option<Permille>,
    /// What it has of memory.
    pub memory: Option<ByteSize>,
    /// The most that this run had.
    pub memory_peak: Option<ByteSize>,
    /// How many processes it has; where its cgroup counts them, threads are among them.
    pub processes: Option<u32>,
}

/// A unit whose vitals are told, under a number of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TalliedUnit {
    /// What the samples of the session call it.
    pub number: u32,
    /// The service.
    pub service: ServiceName,
    /// Which instance of it.
    pub ordinal: Ordinal,
    /// Most memory that it was to have by its last order.
    pub memory_limit: Option<ByteSize>,
    /// Most time of processors.
    pub cpu_limit: Option<MilliCores>,
}

/// One sample.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VitalsSample {
    /// How long before it was sent it was taken.
    pub age: Millis,
    /// Of the host.
    pub host: HostVitals,
    /// Of units, by their numbers.
    pub units: Vec<(u32, UnitVitals)>,
}

/// What a player sends of vitals at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VitalsBatch {
    /// Units that are new, or changed.
    pub units: Vec<TalliedUnit>,
    /// Oldest first.
    pub samples: Vec<VitalsSample>,
}

/// The vitals of a host, as somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostUsage {
    /// Its player.
    pub host: HostName,
    /// Whether that is attached.
    pub attached: bool,
    /// How long ago the newest sample was taken; `None`: none has come since the conductor started, or
    /// the player is of a release that takes none.
    pub age: Option<Millis>,
    /// The newest sample.
    pub now: HostVitals,
    /// The highest of the last ten minutes.
    pub highest: HighestShares,
    /// The highest mean of ten minutes within the last 24 hours.
    pub highest_of_day: HighestShares,
    /// Its units, in the order of their names.
    pub units: Vec<UnitUsage>,
}

/// Highest shares of a host that were used within some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HighestShares {
    /// Of the time of all processors.
    pub cpu: Option<Permille>,
    /// Of memory.
    pub memory: Option<Permille>,
}

/// The vitals of a unit, as somebody is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitUsage {
    /// The service.
    pub service: ServiceName,
    /// Which instance of it.
    pub ordinal: Ordinal,
    /// How long ago the newest sample was taken.
    pub age: Millis,
    /// The newest sample. Of its `throttled` the mean of the last minute.
    pub now: UnitVitals,
    /// The most that it used of processors for ten seconds, within the last ten minutes.
    pub cpu_highest: Option<MilliCores>,
    /// Most memory that it was to have by its last order.
    pub memory_limit: Option<ByteSize>,
    /// Most time of processors.
    pub cpu_limit: Option<MilliCores>,
}

/// From here on a unit is told to be held back for its limit of processors.
pub const THROTTLED: Permille = Permille(900);

impl UnitUsage {
    /// Whether it was held back for its limit of processors nearly all the time.
    pub fn is_throttled(&self) -> bool {
        self.now.throttled.is_some_and(|share| share >= THROTTLED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_never_more_than_all_and_of_nothing_there_is_none() {
        assert_eq!(Permille::of(1, 3), Some(Permille(333)));
        assert_eq!(Permille::of(4, 3), Some(Permille::ALL));
        assert_eq!(Permille::of(u64::MAX, u64::MAX), Some(Permille::ALL));
        assert_eq!(Permille::of(0, 0), None);
        assert_eq!(Permille(999).to_string(), "99%");
    }
}
