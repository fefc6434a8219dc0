//! How much of its host a service's run may have, and how much is kept for it.

use std::{fmt, str::FromStr};

use super::upkeep::InvalidUpkeep;
use crate::{size::ByteSize, whole};

/// How much of its host a run may have, over all of its processes, and how much is kept for it. At least
/// one of these is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resources {
    /// Most memory, swap included; the kernel rounds it down to whole pages. A run that needs more
    /// has a process of it killed, and ends for that. 4 MiB to 1 PiB.
    pub memory: Option<ByteSize>,
    /// Memory that its player promises to nobody else: together its units' reserves are never more than
    /// the host has. Up to `memory`, or to 1 PiB where that has no limit; not 0.
    pub reserve: Option<ByteSize>,
    /// Most time of processors, in thousandths of one. A run that wants more is slowed down. 10 to
    /// 4,096,000.
    pub cpu: Option<MilliCores>,
    /// Most processes and threads. A run cannot make more. 1 to 4,194,304.
    pub processes: Option<u32>,
    /// Whether a player that cannot keep all of it refuses the service; otherwise it keeps what it can,
    /// and says so in its log.
    pub enforced: bool,
}

impl Resources {
    /// No limits yet, to be enforced.
    pub const NONE: Resources =
        Resources { memory: None, reserve: None, cpu: None, processes: None, enforced: true };
}

/// Thousandths of a processor's time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MilliCores(pub u32);

/// Least memory of a run. Less than that is used up before a program runs: what holds its arguments
/// and its page tables counts too.
const MEMORY_LEAST: ByteSize = ByteSize(4 << 20);
/// Most memory: far above what any host has, and what the kernel's own files take.
const MEMORY_MOST: ByteSize = ByteSize(1 << 50);
/// Least time, in thousandths of a processor: the kernel grants no less than 1 ms in 100.
const CPU_LEAST: MilliCores = MilliCores(10);
/// Most time, in thousandths of a processor: more processors than Linux can have.
const CPU_MOST: MilliCores = MilliCores(4_096_000);
/// Most processes: those that a Linux can have.
const PROCESSES_MOST: u32 = 4 << 20;

impl Resources {
    pub(super) fn check(&self) -> Result<(), InvalidUpkeep> {
        let wrong = |field, problem| Err(InvalidUpkeep { field, problem });
        let Resources { memory, reserve, cpu, processes, enforced: _ } = self;
        if (memory, reserve, cpu, processes) == (&None, &None, &None, &None) {
            return wrong(
                "resources",
                "it limits and reserves nothing: give memory, reserve, cpu or processes",
            );
        }
        if memory.is_some_and(|size| size < MEMORY_LEAST) {
            return wrong("resources.memory", "it is less than 4MiB, in which no program runs");
        }
        if memory.is_some_and(|size| size > MEMORY_MOST) {
            return wrong("resources.memory", "no host has as much; leave it out for no limit");
        }
        self.check_reserve()?;
        if cpu.is_some_and(|cores| cores < CPU_LEAST) {
            return wrong("resources.cpu", "it is less than 0.01, which the kernel cannot measure");
        }
        if cpu.is_some_and(|cores| cores > CPU_MOST) {
            return wrong("resources.cpu", "no host has as many; leave it out for no limit");
        }
        if processes.is_some_and(|most| !(1..=PROCESSES_MOST).contains(&most)) {
            return wrong(
                "resources.processes",
                "expected 1 to 4194304; leave it out for no limit",
            );
        }
        Ok(())
    }

    fn check_reserve(&self) -> Result<(), InvalidUpkeep> {
        let wrong = |problem| Err(InvalidUpkeep { field: "resources.reserve", problem });
        let Some(reserve) = self.reserve else { return Ok(()) };
        if reserve == ByteSize(0) {
            return wrong("it is 0; leave it out to reserve nothing");
        }
        if self.memory.is_some_and(|most| reserve > most) {
            return wrong("it is more than resources.memory, the most that a run may have");
        }
        if reserve > MEMORY_MOST {
            return wrong("no host has as much");
        }
        Ok(())
    }
}

/// Why a text is not [`MilliCores`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidMilliCores(String);

impl fmt::Display for InvalidMilliCores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(text) = self;
        write!(f, "{text:?}: expected a number of processors like 2 or 0.25, by thousandths")
    }
}

impl FromStr for MilliCores {
    type Err = InvalidMilliCores;

    fn from_str(text: &str) -> Result<Self, InvalidMilliCores> {
        let (cores, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let read = || {
            let is_fraction =
                (1..=3).contains(&fraction.len()) && fraction.bytes().all(|b| b.is_ascii_digit());
            let thousandths =
                format!("{fraction:0<3}").parse::<u32>().ok().filter(|_| is_fraction)?;
            whole::<u32>(cores)?.checked_mul(1_000)?.checked_add(thousandths)
        };
        read().map(MilliCores).ok_or_else(|| InvalidMilliCores(text.chars().take(40).collect()))
    }
}

/// In processors: `1.5`.
impl fmt::Display for MilliCores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 1_000, self.0 % 1_000) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, rest) => {
                let fraction = format!("{rest:03}");
                write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_read_by_thousandths() {
        for (text, thousandths, shown) in [
            ("1.5", 1_500, "1.5"),
            ("2", 2_000, "2"),
            ("2.0", 2_000, "2"),
            ("0.25", 250, "0.25"),
            ("0.005", 5, "0.005"),
            ("10.050", 10_050, "10.05"),
        ] {
            assert_eq!(text.parse(), Ok(MilliCores(thousandths)), "{text}");
            assert_eq!(MilliCores(thousandths).to_string(), shown);
        }
        for bad in ["", ".5", "5.", "1.0005", "-1", "+1", "1e3", "NaN", "200m", "50%", "9999999"] {
            assert!(bad.parse::<MilliCores>().is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_that_make_no_sense_are_refused() {
        let memory = |bytes| Resources { memory: Some(ByteSize(bytes)), ..Resources::NONE };
        let cpu = |cores| Resources { cpu: Some(MilliCores(cores)), ..Resources::NONE };
        let reserve = |bytes| Resources { reserve: Some(ByteSize(bytes)), ..memory(4 << 20) };
        let processes = |most| Resources { processes: Some(most), ..Resources::NONE };
        let bare = |bytes| Resources { memory: None, ..reserve(bytes) };
        for good in [
            memory(4 << 20),
            memory(1 << 50),
            reserve(1),
            reserve(4 << 20),
            bare(1 << 50),
            cpu(10),
            cpu(4_096_000),
            processes(1),
        ] {
            assert_eq!(good.check(), Ok(()), "{good:?}");
        }
        for (bad, field) in [
            (Resources::NONE, "resources"),
            (memory(0), "resources.memory"),
            (memory(4096), "resources.memory"),
            (memory((1 << 50) + 1), "resources.memory"),
            (reserve(0), "resources.reserve"),
            (reserve((4 << 20) + 1), "resources.reserve"),
            (bare((1 << 50) + 1), "resources.reserve"),
            (cpu(0), "resources.cpu"),
            (cpu(9), "resources.cpu"),
            (cpu(u32::MAX), "resources.cpu"),
            (processes(0), "resources.processes"),
            (processes((4 << 20) + 1), "resources.processes"),
        ] {
            assert_eq!(bad.check().map_err(|invalid| invalid.field), Err(field), "{bad:?}");
        }
    }
}
