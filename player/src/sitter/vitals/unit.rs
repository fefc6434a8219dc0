//! What a run uses: from its cgroups if they count it, else from its processes.
//!
//! ```text
//!             v2, the leaf          v1, a leaf beside it            processes
//! cpu         cpu.stat usage_usec   cpuacct.usage                   time of those that live, and of
//!                                                                   children that they waited for
//! throttled   cpu.stat nr_…         cpu.stat nr_…                   not known
//! memory      memory.current        memory.usage_in_bytes           resident, what is shared each time
//! its peak    memory.peak           memory.max_usage_in_bytes       not known
//! processes   pids.current          pids.current                    counted
//! ```
//!
//! Without a cgroup a run's processes are the first one and its descendants. A daemon that has left
//! its parent is not among them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use orchestra_model::{
    ByteSize,
    service::MilliCores,
    vitals::{Permille, UnitVitals},
};

use super::{Elapsed, LONG_AGO_MS};
use crate::sitter::{cgroup::Leaf, clock::BootMillis, procfs};

/// Most processes of a run that are looked at one by one. If a run has more and no cgroup counts
/// them, nothing is told: the looks would cost too much.
const PROCESSES: usize = 64;

/// Looks at one run, and remembers what it saw last.
#[derive(Debug, Default)]
pub(in crate::sitter) struct RunMeter {
    /// The files that count, found by the first look.
    sources: Option<Sources>,
    before: Option<(BootMillis, Counters)>,
}

/// Files that count what a run uses.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    cpu: Option<CpuFile>,
    /// The file with `nr_periods` and `nr_throttled`.
    periods: Option<PathBuf>,
    memory: Option<PathBuf>,
    memory_peak: Option<PathBuf>,
    processes: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
enum CpuFile {
    /// `usage_usec` of `cpu.stat`.
    Stat(PathBuf),
    /// `cpuacct.usage`, in nanoseconds.
    Accounted(PathBuf),
}

/// Numbers that only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counters {
    /// Processor time, in microseconds.
    cpu_us: Option<u64>,
    /// Periods in which it ran, and those in which it was held back.
    periods: Option<(u64, u64)>,
}

/// What is in use now.
#[derive(Clone, Copy, Debug, Default)]
struct Levels {
    memory: Option<ByteSize>,
    memory_peak: Option<ByteSize>,
    processes: Option<u32>,
}

/// How to find the processes of a run.
pub(super) struct Whose<'a> {
    pub(super) leaf: Option<&'a Leaf>,
    /// The run's first process, while it lives.
    pub(super) main: Option<i32>,
}

impl Sources {
    /// Finds the files that count a run in these directories: its leaf, and the leaves beside it.
    fn find<'a>(dirs: &(impl Iterator<Item = &'a Path> + Clone)) -> Self {
        let first = |name: &str| {
            let mut files = dirs.clone().map(|dir| dir.join(name));
            files.find(|file| file.exists())
        };
        let says =
            |file: &Path, word: &str| fs::read_to_string(file).is_ok_and(|it| it.contains(word));
        let mut stats = dirs.clone().map(|dir| dir.join("cpu.stat"));
        let stat = stats.clone().find(|file| says(file, "usage_usec ")).map(CpuFile::Stat);
        Self {
            cpu: stat.or_else(|| first("cpuacct.usage").map(CpuFile::Accounted)),
            periods: stats.find(|file| says(file, "nr_periods ")),
            memory: first("memory.current").or_else(|| first("memory.usage_in_bytes")),
            memory_peak: first("memory.peak").or_else(|| first("memory.max_usage_in_bytes")),
            processes: first("pids.current"),
        }
    }

    fn counters(&self) -> Counters {
        let periods = |file: &PathBuf| {
            let text = fs::read_to_string(file).ok()?;
            Some((word(&text, "nr_periods ")?, word(&text, "nr_throttled ")?))
        };
        let cpu_us = match &self.cpu {
            Some(CpuFile::Stat(file)) => {
                let text = fs::read_to_string(file).ok();
                text.and_then(|text| word(&text, "usage_usec "))
            }
            Some(CpuFile::Accounted(file)) => number(file).map(|nanoseconds| nanoseconds / 1_000),
            None => None,
        };
        Counters { cpu_us, periods: self.periods.as_ref().and_then(periods) }
    }

    fn levels(&self) -> Levels {
        let size = |file: &Option<PathBuf>| file.as_deref().and_then(number).map(ByteSize);
        let processes = self.processes.as_deref().and_then(number);
        Levels {
            memory: size(&self.memory),
            memory_peak: size(&self.memory_peak),
            processes: processes.and_then(|count| u32::try_from(count).ok()),
        }
    }
}

impl RunMeter {
    /// Takes a sample. `beside` are the leaves of v1 that stand beside the run's own.
    pub(super) fn sample(
        &mut self,
        whose: &Whose<'_>,
        beside: impl FnOnce() -> Vec<Leaf>,
        now: BootMillis,
    ) -> UnitVitals {
        let sources = self.sources.get_or_insert_with(|| {
            let beside = beside();
            Sources::find(&whose.leaf.into_iter().chain(&beside).map(Leaf::dir))
        });
        let (mut counters, mut levels) = (sources.counters(), sources.levels());
        let is_known =
            counters.cpu_us.is_some() && levels.memory.is_some() && levels.processes.is_some();
        if !is_known && let Some(used) = whose.processes().and_then(|pids| of_processes(&pids)) {
            counters.cpu_us = counters.cpu_us.or(Some(used.cpu_us));
            levels.memory = levels.memory.or(Some(used.resident));
            levels.processes = levels.processes.or(Some(used.count));
        }
        let before = self.before.replace((now, counters));
        let (cpu, throttled) = before.map_or((None, None), |(at, before)| {
            Elapsed::between(at, now, LONG_AGO_MS)
                .map_or((None, None), |elapsed| rates(before, counters, elapsed))
        });
        let Levels { memory, memory_peak, processes } = levels;
        UnitVitals { cpu, throttled, memory, memory_peak, processes }
    }
}

/// Returns what was used between two looks. A number that has fallen was not counted completely,
/// and gives no rate.
fn rates(
    before: Counters,
    now: Counters,
    elapsed: Elapsed,
) -> (Option<MilliCores>, Option<Permille>) {
    let grown = |before: Option<u64>, now: Option<u64>| now?.checked_sub(before?);
    let cpu = grown(before.cpu_us, now.cpu_us)
        .and_then(|us| u32::try_from(us / elapsed.0).ok())
        .map(MilliCores);
    let throttled = before.periods.zip(now.periods).and_then(|(before, now)| {
        let periods = now.0.checked_sub(before.0)?;
        Permille::of(now.1.checked_sub(before.1)?, periods)
    });
    (cpu, throttled)
}

impl Whose<'_> {
    /// Returns its processes; `None` if they are not known, or are too many.
    fn processes(&self) -> Option<Vec<i32>> {
        let pids = match (self.leaf, self.main) {
            (Some(leaf), _) => leaf.processes(),
            (None, Some(main)) => procfs::descendants(main, PROCESSES)?,
            (None, None) => return None,
        };
        Some(pids).filter(|pids| !pids.is_empty() && pids.len() <= PROCESSES)
    }
}

/// What processes use together.
struct OfProcesses {
    cpu_us: u64,
    resident: ByteSize,
    count: u32,
}

/// Sums up what processes use; `None` if none of them is left.
fn of_processes(pids: &[i32]) -> Option<OfProcesses> {
    let ticks_a_second = rustix::param::clock_ticks_per_second().max(1);
    let (mut ticks, mut pages, mut count) = (0, 0, 0);
    for usage in pids.iter().filter_map(|pid| procfs::Usage::of(*pid)) {
        ticks += usage.cpu_ticks;
        pages += usage.resident_pages;
        count += 1;
    }
    (count > 0).then(|| OfProcesses {
        cpu_us: ticks * 1_000_000 / ticks_a_second,
        resident: ByteSize(pages * rustix::param::page_size() as u64),
        count,
    })
}

/// Returns the number that follows a word at the beginning of a line.
fn word(text: &str, word: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(word))?.trim().parse().ok()
}

/// Reads a file that is one number.
fn number(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests;
