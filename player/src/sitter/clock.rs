//! The sitter's two clocks, read here and nowhere else.

use orchestra_model::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment of `CLOCK_BOOTTIME`, in milliseconds since boot: it counts through suspend and is
/// never set, so lengths are measured with it, and it means the same to every process of one boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootMillis(pub(crate) u64);

impl BootMillis {
    /// Now.
    pub(crate) fn now() -> Self {
        BootNanos::now().millis()
    }

    /// The moment so many milliseconds later.
    pub(crate) fn after(self, ms: u64) -> Self {
        BootMillis(self.0.saturating_add(ms))
    }

    /// As the kernel's timers take it.
    pub(crate) fn to_timespec(self) -> Timespec {
        let seconds = i64::try_from(self.0 / 1_000).unwrap_or(i64::MAX);
        Timespec { tv_sec: seconds, tv_nsec: (self.0 % 1_000 * 1_000_000) as _ }
    }
}

/// Wall time, for people and for records that outlive a boot.
pub(crate) fn wall() -> Timestamp {
    Timestamp(nanos(clock_gettime(ClockId::Realtime)) / NANOS_PER_MILLI)
}

/// A moment of `CLOCK_BOOTTIME`, exact enough to tell when a process was made as the kernel tells
/// it in field 22 of `/proc/PID/stat` (proc_pid_stat(5)): in whole ticks since boot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BootNanos(u64);

impl BootNanos {
    /// Clocks that the kernel and we read may differ by a rounding.
    const SLACK: u64 = 1_000;

    /// Now.
    pub(crate) fn now() -> Self {
        BootNanos(nanos(clock_gettime(ClockId::Boottime)))
    }

    /// The same moment, less exactly.
    pub(crate) fn millis(self) -> BootMillis {
        BootMillis(self.0 / NANOS_PER_MILLI)
    }

    /// The tick in which something happened between these two moments; `None` where there were
    /// several.
    pub(crate) fn tick_between(before: Self, after: Self) -> Option<u64> {
        let length = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let (first, last) = (before.0.saturating_sub(Self::SLACK), after.0 + Self::SLACK);
        let tick = first / length;
        (tick == last / length).then_some(tick)
    }
}

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Enough for 584 years.
fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::sitter::procfs::Stat;

    #[test]
    fn a_process_was_made_when_the_kernel_says_it_was() {
        let mut told = 0;
        while told < 20 {
            let before = BootNanos::now();
            let mut child = Command::new("true").spawn().unwrap();
            let tick = BootNanos::tick_between(before, BootNanos::now());
            let stat = Stat::of(child.id() as i32).unwrap();
            child.wait().unwrap();
            if let Some(tick) = tick {
                assert_eq!(tick, stat.start_ticks);
                told += 1;
            }
        }
    }

    #[test]
    fn between_two_ticks_nothing_is_said() {
        let length = 1_000_000_000 / rustix::param::clock_ticks_per_second();
        let at = |nanos| BootNanos(7 * length + nanos);
        assert_eq!(BootNanos::tick_between(at(5_000), at(length - 5_000)), Some(7));
        assert_eq!(BootNanos::tick_between(at(500), at(5_000)), None);
        assert_eq!(BootNanos::tick_between(at(5_000), at(length - 500)), None);
        assert_eq!(BootNanos::tick_between(at(5_000), at(length + 5_000)), None);
    }
}
