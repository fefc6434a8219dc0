//! The sitter's two clocks, read here and nowhere else.

use orchestra_model::Timestamp;
use rustix::time::{ClockId, Timespec, clock_gettime};

/// A moment of `CLOCK_BOOTTIME`, in milliseconds since boot. That clock counts through suspend and
/// is never set, so lengths are measured with it. A moment means the same to every process of one
/// boot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootMillis(pub(crate) u64);

impl BootMillis {
    /// Now.
    pub(crate) fn now() -> Self {
        BootMillis(nanos(clock_gettime(ClockId::Boottime)) / NANOS_PER_MILLI)
    }

    /// The moment so many milliseconds later.
    pub(crate) fn after(self, ms: u64) -> Self {
        BootMillis(self.0.saturating_add(ms))
    }

    /// Returns the moment as the kernel's timers take it.
    pub(crate) fn to_timespec(self) -> Timespec {
        let seconds = i64::try_from(self.0 / 1_000).unwrap_or(i64::MAX);
        Timespec { tv_sec: seconds, tv_nsec: (self.0 % 1_000 * 1_000_000) as _ }
    }
}

/// Wall time, for people and for records that outlive a boot.
pub(crate) fn wall() -> Timestamp {
    Timestamp(nanos(clock_gettime(ClockId::Realtime)) / NANOS_PER_MILLI)
}

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Returns nanoseconds, of which 64 bits are enough for 584 years.
fn nanos(time: Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(nanoseconds)
}
