//! Memory of vitals: rings of values, each over an equal length of time.

use orchestra_model::{
    ByteSize, Millis, ServiceName,
    service::{MilliCores, Ordinal},
    vitals::{HighestShares, HostVitals, Permille, SAMPLED_MS, TalliedUnit, UnitUsage, UnitVitals},
};

/// How many samples are kept one by one: those of ten minutes.
const SAMPLES: usize = 60;
/// How many samples make one mean: those of ten minutes.
const MEAN: u64 = 60;
/// How many means are kept: those of 24 hours.
const MEANS: usize = 144;
/// How many samples make a minute, over which it is told how much a unit was held back.
const MINUTE: u64 = 6;

/// A moment of the conductor, counted in samples since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tick(u64);

impl Tick {
    /// Returns the tick of a moment, which is in milliseconds since the start.
    pub(super) fn of(ms: u64) -> Self {
        // Ticks begin at 1, so that 0 is before all of them.
        Self(ms / SAMPLED_MS + 1)
    }
}

/// The newest `N` values, each at the number of its time.
#[derive(Clone, Debug)]
struct Ring<T, const N: usize> {
    places: [T; N],
    newest: u64,
}

impl<T: Copy, const N: usize> Ring<T, N> {
    /// Returns a ring in which nothing is known.
    fn new(nothing: T) -> Self {
        Self { places: [nothing; N], newest: 0 }
    }

    /// Notes a value. The times between the newest value and this one count as not known.
    fn put(&mut self, time: u64, nothing: T, value: T) {
        let skipped = time.saturating_sub(self.newest).saturating_sub(1).min(N as u64);
        for time in time - skipped.min(time)..time {
            self.places[place::<N>(time)] = nothing;
        }
        self.newest = self.newest.max(time);
        // A value that is too old would overwrite a newer one.
        if time + N as u64 > self.newest {
            self.places[place::<N>(time)] = value;
        }
    }

    /// Returns the known values of the last `count` times up to `now`.
    fn last(&self, count: u64, now: u64) -> impl Iterator<Item = T> {
        let oldest =
            (now + 1).saturating_sub(count).max((self.newest + 1).saturating_sub(N as u64));
        (oldest..=self.newest.min(now)).map(|time| self.places[place::<N>(time)])
    }
}

fn place<const N: usize>(time: u64) -> usize {
    (time % N as u64) as usize
}

/// A share in two bytes; the largest number stands for not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PackedShare(u16);

impl PackedShare {
    const UNKNOWN: Self = Self(u16::MAX);

    fn pack(share: Option<Permille>) -> Self {
        share.map_or(Self::UNKNOWN, |share| Self(share.0))
    }

    fn unpack(self) -> Option<Permille> {
        (self != Self::UNKNOWN).then_some(Permille(self.0))
    }
}

/// The shares of processors and memory of a host that are in use.
#[derive(Clone, Copy, Debug)]
struct HostShares {
    cpu: PackedShare,
    memory: PackedShare,
}

impl HostShares {
    const UNKNOWN: Self = Self { cpu: PackedShare::UNKNOWN, memory: PackedShare::UNKNOWN };
}

/// The sum of shares, for their mean.
#[derive(Clone, Copy, Debug, Default)]
struct SumOfShares {
    sum: u32,
    count: u16,
}

impl SumOfShares {
    fn add(&mut self, share: Option<Permille>) {
        if let Some(share) = share {
            self.sum += u32::from(share.0);
            self.count += 1;
        }
    }

    fn mean(self) -> Option<Permille> {
        let mean = self.sum.checked_div(self.count.into())?;
        u16::try_from(mean).ok().map(Permille)
    }
}

/// What is remembered of a host.
#[derive(Clone, Debug)]
pub(super) struct HostRing {
    /// When the newest sample was taken, in milliseconds since the conductor's start.
    taken: u64,
    now: HostVitals,
    samples: Ring<HostShares, SAMPLES>,
    means: Ring<HostShares, MEANS>,
    /// The number of the time whose mean is being made.
    making: u64,
    cpu: SumOfShares,
    memory: SumOfShares,
}

impl HostRing {
    /// Returns the memory of a host, from its first sample.
    pub(super) fn new(taken: u64, vitals: HostVitals) -> Self {
        let mut ring = Self {
            taken,
            now: vitals,
            samples: Ring::new(HostShares::UNKNOWN),
            means: Ring::new(HostShares::UNKNOWN),
            making: 0,
            cpu: SumOfShares::default(),
            memory: SumOfShares::default(),
        };
        ring.put(taken, vitals);
        ring
    }

    /// Notes a sample that is not older than the earlier ones.
    pub(super) fn put(&mut self, taken: u64, vitals: HostVitals) {
        if taken < self.taken {
            return;
        }
        (self.taken, self.now) = (taken, vitals);
        let (Tick(tick), memory) = (Tick::of(taken), vitals.memory.and_then(|it| it.share()));
        let shares = |cpu, memory| HostShares {
            cpu: PackedShare::pack(cpu),
            memory: PackedShare::pack(memory),
        };
        self.samples.put(tick, HostShares::UNKNOWN, shares(vitals.cpu, memory));
        if self.making != tick / MEAN {
            self.making = tick / MEAN;
            (self.cpu, self.memory) = (SumOfShares::default(), SumOfShares::default());
        }
        self.cpu.add(vitals.cpu);
        self.memory.add(memory);
        let mean = shares(self.cpu.mean(), self.memory.mean());
        self.means.put(self.making, HostShares::UNKNOWN, mean);
    }

    /// Returns the newest sample, and its age.
    pub(super) fn now(&self, now: u64) -> (HostVitals, Millis) {
        (self.now, Millis(now.saturating_sub(self.taken)))
    }

    /// Returns the highest values of ten minutes, and the highest means of 24 hours.
    pub(super) fn highest(&self, now: u64) -> [HighestShares; 2] {
        let Tick(tick) = Tick::of(now);
        [
            highest(self.samples.last(SAMPLES as u64, tick)),
            highest(self.means.last(MEANS as u64, tick / MEAN)),
        ]
    }
}

fn highest(shares: impl Iterator<Item = HostShares>) -> HighestShares {
    shares.fold(HighestShares::default(), |most, shares| HighestShares {
        cpu: most.cpu.max(shares.cpu.unpack()),
        memory: most.memory.max(shares.memory.unpack()),
    })
}

/// One sample of a unit.
#[derive(Clone, Copy, Debug)]
struct UnitSample {
    /// In thousandths of a processor; the largest number stands for not known.
    cpu: u32,
    /// In KiB; the largest number stands for not known.
    memory: u32,
    throttled: PackedShare,
}

impl UnitSample {
    const UNKNOWN: Self = Self { cpu: u32::MAX, memory: u32::MAX, throttled: PackedShare::UNKNOWN };

    fn pack(vitals: &UnitVitals) -> Self {
        let most = u64::from(u32::MAX - 1);
        let packed = |value: u64| u32::try_from(value.min(most)).unwrap_or(u32::MAX);
        Self {
            cpu: vitals.cpu.map_or(u32::MAX, |cpu| packed(cpu.0.into())),
            memory: vitals.memory.map_or(u32::MAX, |memory| packed(memory.0 >> 10)),
            throttled: PackedShare::pack(vitals.throttled),
        }
    }

    fn cpu(self) -> Option<MilliCores> {
        (self.cpu != u32::MAX).then_some(MilliCores(self.cpu))
    }

    fn memory(self) -> Option<ByteSize> {
        (self.memory != u32::MAX).then(|| ByteSize(u64::from(self.memory) << 10))
    }
}

/// What is remembered of a unit.
#[derive(Clone, Debug)]
pub(super) struct UnitRing {
    ordinal: Ordinal,
    memory_limit: Option<ByteSize>,
    cpu_limit: Option<MilliCores>,
    /// The newest sample, and when it was taken; `None` before the first.
    newest: Option<(u64, UnitVitals)>,
    samples: Ring<UnitSample, SAMPLES>,
}

impl UnitRing {
    /// Returns the memory of a unit without samples.
    pub(super) fn new(unit: &TalliedUnit) -> Self {
        let TalliedUnit { ordinal, memory_limit, cpu_limit, .. } = *unit;
        let samples = Ring::new(UnitSample::UNKNOWN);
        Self { ordinal, memory_limit, cpu_limit, newest: None, samples }
    }

    /// Notes a sample that is not older than the earlier ones, and how the unit was told.
    pub(super) fn put(&mut self, taken: u64, unit: &TalliedUnit, vitals: UnitVitals) {
        if self.newest.is_some_and(|(before, _)| taken < before) {
            return;
        }
        let TalliedUnit { ordinal, memory_limit, cpu_limit, .. } = *unit;
        (self.ordinal, self.memory_limit, self.cpu_limit) = (ordinal, memory_limit, cpu_limit);
        self.newest = Some((taken, vitals));
        let Tick(tick) = Tick::of(taken);
        self.samples.put(tick, UnitSample::UNKNOWN, UnitSample::pack(&vitals));
    }

    /// Returns whether a sample was taken within the last ten minutes.
    pub(super) fn is_recent(&self, now: u64) -> bool {
        self.newest.is_some_and(|(taken, _)| now < taken + SAMPLES as u64 * SAMPLED_MS)
    }

    /// Returns what the unit uses; `None` before the first sample.
    pub(super) fn usage(&self, service: &ServiceName, now: u64) -> Option<UnitUsage> {
        let (taken, mut newest) = self.newest?;
        let Tick(tick) = Tick::of(now);
        let Tick(last) = Tick::of(taken);
        let samples = || self.samples.last(SAMPLES as u64, tick);
        let mut throttled = SumOfShares::default();
        let minute = self.samples.last(MINUTE, last);
        minute.for_each(|sample| throttled.add(sample.throttled.unpack()));
        newest.throttled = throttled.mean();
        newest.memory_peak =
            newest.memory_peak.or_else(|| samples().filter_map(UnitSample::memory).max());
        Some(UnitUsage {
            service: service.clone(),
            ordinal: self.ordinal,
            age: Millis(now.saturating_sub(taken)),
            now: newest,
            cpu_highest: samples().filter_map(UnitSample::cpu).max(),
            memory_limit: self.memory_limit,
            cpu_limit: self.cpu_limit,
        })
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::vitals::Filled;

    use super::*;

    const MINUTES: u64 = 60_000;

    fn host(cpu: u16) -> HostVitals {
        let memory = Filled { used: ByteSize(cpu.into()), total: ByteSize(1_000) };
        HostVitals { cpu: Some(Permille(cpu)), memory: Some(memory), ..HostVitals::default() }
    }

    fn shares(cpu: Option<u16>) -> HighestShares {
        HighestShares { cpu: cpu.map(Permille), memory: cpu.map(Permille) }
    }

    #[test]
    fn the_highest_of_a_host_is_forgotten_in_time() {
        let mut ring = HostRing::new(0, host(900));
        for n in 1..=60 {
            ring.put(n * SAMPLED_MS, host(100));
        }
        assert_eq!(ring.now(10 * MINUTES + 5), (host(100), Millis(5)));
        // The first sample is ten minutes old and left out, but its mean is not.
        let mean = (900 + 58 * 100) / 59;
        assert_eq!(ring.highest(10 * MINUTES), [shares(Some(100)), shares(Some(mean))]);
        assert_eq!(ring.highest(21 * MINUTES), [shares(None), shares(Some(mean))]);
        assert_eq!(ring.highest(25 * 60 * MINUTES), [shares(None), shares(None)]);
        // There are no samples of the hours in between.
        ring.put(25 * 60 * MINUTES, host(50));
        let both = ring.highest(25 * 60 * MINUTES);
        assert_eq!(both, [shares(Some(50)), shares(Some(50))]);
        ring.put(0, host(999));
        assert_eq!(ring.now(25 * 60 * MINUTES).0, host(50), "what is late is of no use");
    }

    #[test]
    fn any_time_has_its_own_place_and_what_was_skipped_is_unknown() {
        let mut ring: Ring<u64, 4> = Ring::new(0);
        for time in [1, 2, 3, 4, 5, 9, 10] {
            ring.put(time, 0, time);
        }
        assert_eq!(ring.last(4, 10).collect::<Vec<_>>(), [0, 0, 9, 10]);
        assert_eq!(ring.last(2, 10).collect::<Vec<_>>(), [9, 10]);
        assert_eq!(ring.last(9, 11).collect::<Vec<_>>(), [0, 0, 9, 10]);
        ring.put(2, 0, 2);
        assert_eq!(ring.last(4, 10).collect::<Vec<_>>(), [0, 0, 9, 10], "too old");
        ring.put(1_000, 0, 1);
        assert_eq!(ring.last(4, 1_000).collect::<Vec<_>>(), [0, 0, 0, 1]);
    }

    #[test]
    fn what_a_unit_uses_is_told_with_its_highest_and_what_held_it_back() {
        let name = ServiceName::new("web").unwrap();
        let unit = TalliedUnit {
            number: 1,
            service: name.clone(),
            ordinal: Ordinal(3),
            memory_limit: None,
            cpu_limit: Some(MilliCores(500)),
        };
        let mut ring = UnitRing::new(&unit);
        assert_eq!(ring.usage(&name, 0), None);
        for (n, cpu) in [(1, 400), (2, 500), (3, 500), (4, 20)] {
            let throttled = Some(Permille(if cpu == 500 { 1_000 } else { 500 }));
            let memory = Some(ByteSize(u64::from(cpu) << 20));
            let cpu = Some(MilliCores(cpu));
            let vitals = UnitVitals { cpu, throttled, memory, ..Default::default() };
            ring.put(n * SAMPLED_MS, &unit, vitals);
        }
        let usage = ring.usage(&name, 45_000).unwrap();
        assert_eq!((usage.age, usage.now.cpu), (Millis(5_000), Some(MilliCores(20))));
        assert_eq!(usage.cpu_highest, Some(MilliCores(500)));
        assert_eq!(usage.now.memory_peak, Some(ByteSize(500 << 20)), "as far as anybody saw");
        assert_eq!(usage.now.throttled, Some(Permille(750)));
        assert!(!usage.is_throttled());
        assert!(ring.is_recent(10 * MINUTES) && !ring.is_recent(11 * MINUTES));
        let later = ring.usage(&name, 20 * MINUTES).unwrap();
        assert_eq!((later.cpu_highest, later.now.cpu), (None, Some(MilliCores(20))));
    }
}
