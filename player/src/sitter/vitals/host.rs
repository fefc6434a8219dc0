//! What the kernel says of the host.

use std::{fs, path::Path};

use orchestra_model::{
    ByteSize,
    vitals::{Filled, HostVitals, Permille},
};

use super::{Elapsed, LONG_AGO_MS};
use crate::sitter::clock::BootMillis;

/// Looks at the host, and remembers what it saw last.
#[derive(Debug, Default)]
pub(super) struct HostMeter {
    before: Option<(BootMillis, CpuTimes)>,
}

/// Processor time since boot over all processors, in clock ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CpuTimes {
    used: u64,
    all: u64,
}

impl HostMeter {
    /// Takes a sample. `spool` is on the file system that is measured.
    pub(super) fn sample(&mut self, spool: &Path, now: BootMillis) -> HostVitals {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let memory = read("/proc/meminfo");
        let pressure = |of: &str| some_pressure(&read(&format!("/proc/pressure/{of}")));
        HostVitals {
            cpu: self.cpu(cpu_times(&read("/proc/stat")), now),
            cores: cores(&read("/sys/devices/system/cpu/online")),
            load: load(&read("/proc/loadavg")),
            memory: filled(&memory, "MemTotal:", "MemAvailable:"),
            swap: filled(&memory, "SwapTotal:", "SwapFree:").filter(|swap| swap.total.0 > 0),
            disk: disk(spool),
            cpu_pressure: pressure("cpu"),
            memory_pressure: pressure("memory"),
            io_pressure: pressure("io"),
        }
    }

    fn cpu(&mut self, times: Option<CpuTimes>, now: BootMillis) -> Option<Permille> {
        let times = times?;
        let (at, before) = self.before.replace((now, times))?;
        Elapsed::between(at, now, LONG_AGO_MS)?;
        // Idle time may run back a little.
        let used = times.used.saturating_sub(before.used);
        Permille::of(used, times.all.saturating_sub(before.all))
    }
}

/// Reads `/proc/stat`. The time of guests is contained in other times; stolen time counts as not
/// used.
fn cpu_times(text: &str) -> Option<CpuTimes> {
    let line = text.lines().next()?.strip_prefix("cpu ")?;
    let times: Option<Vec<u64>> =
        line.split_ascii_whitespace().take(8).map(|word| word.parse().ok()).collect();
    let times = times.filter(|times| times.len() == 8)?;
    let [user, nice, system, idle, iowait, irq, softirq, steal] = times[..] else { return None };
    let used = user + nice + system + irq + softirq;
    Some(CpuTimes { used, all: used + idle + iowait + steal })
}

/// Counts the processors of a list like `0-3,5`.
fn cores(list: &str) -> Option<u32> {
    let one = |range: &str| -> Option<u32> {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        Some(last.checked_sub(first)?.saturating_add(1))
    };
    list.trim().split(',').map(one).try_fold(0u32, |sum, n| sum.checked_add(n?))
}

/// Reads `/proc/loadavg`: the load over a minute, in hundredths.
fn load(text: &str) -> Option<u32> {
    hundredths(text.split_ascii_whitespace().next()?)
}

/// Reads a number with two decimals, in hundredths.
fn hundredths(text: &str) -> Option<u32> {
    let (whole, rest) = text.split_once('.')?;
    let rest: u32 = rest.parse().ok().filter(|_| rest.len() == 2)?;
    whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(rest)
}

/// Returns how much memory the host has; `None` if the kernel does not tell.
pub(in crate::sitter) fn host_memory() -> Option<ByteSize> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    filled(&text, "MemTotal:", "MemAvailable:").map(|memory| memory.total)
}

/// Reads `/proc/meminfo`.
fn filled(text: &str, total: &str, free: &str) -> Option<Filled> {
    let of = |name: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
    };
    let (total, free) = (of(total)?, of(free)?);
    Some(Filled { used: ByteSize(total.saturating_sub(free)), total: ByteSize(total) })
}

fn disk(spool: &Path) -> Option<Filled> {
    let found = rustix::fs::statvfs(spool).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
    let used = bytes(found.f_blocks.saturating_sub(found.f_bavail));
    Some(Filled { used: ByteSize(used), total: ByteSize(bytes(found.f_blocks)) })
}

/// Reads a file of `/proc/pressure`, which some kernels lack.
fn some_pressure(text: &str) -> Option<Permille> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let word = line.split_ascii_whitespace().find_map(|word| word.strip_prefix("avg10="))?;
    let share = u16::try_from(hundredths(word)? / 10).ok()?;
    Some(Permille(share.min(Permille::ALL.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_understood() {
        let stat = "cpu  10 1 5 80 4 2 3 1 7 7\ncpu0 1 1 1 1 1 1 1 1 1 1\n";
        assert_eq!(cpu_times(stat), Some(CpuTimes { used: 21, all: 106 }));
        for (list, count) in [("0\n", 1), ("0-3\n", 4), ("0-1,4,6-7\n", 5)] {
            assert_eq!(cores(list), Some(count), "{list}");
        }
        assert_eq!(load("1.52 0.90 0.7 1/200 99\n"), Some(152));
        let memory = "MemTotal:  1000 kB\nMemFree:  10 kB\nMemAvailable:  250 kB\n";
        let used = filled(memory, "MemTotal:", "MemAvailable:").unwrap();
        assert_eq!((used.used.0, used.share()), (750 << 10, Some(Permille(750))));
        let pressure = "some avg10=2.34 avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00\n";
        assert_eq!(some_pressure(pressure), Some(Permille(23)));
    }

    #[test]
    fn what_is_not_said_is_absent_and_not_0() {
        for text in ["", "\n", "cpu", "cpu 1 2 3", "x", "some", "1", "-1", "3-1", "1.2.3"] {
            assert_eq!(cpu_times(text), None, "{text}");
            assert_eq!(load(text), None, "{text}");
            assert_eq!(filled(text, "MemTotal:", "MemAvailable:"), None, "{text}");
            assert_eq!(some_pressure(text), None, "{text}");
        }
        assert_eq!(cores(""), None);
        assert_eq!(cores("3-1"), None);
    }

    #[test]
    fn a_share_of_processors_takes_two_looks() {
        let mut meter = HostMeter::default();
        let mut cpu = |used, all, at| meter.cpu(Some(CpuTimes { used, all }), BootMillis(at));
        assert_eq!(cpu(100, 1_000, 0), None);
        assert_eq!(cpu(150, 1_200, 10_000), Some(Permille(250)));
        assert_eq!(cpu(150, 1_200, 20_000), None, "no time has passed that anybody counts");
        assert_eq!(cpu(200, 1_400, 300_000), None, "it is too long ago");
    }

    #[test]
    fn this_host_is_known() {
        let vitals = HostMeter::default().sample(Path::new("/"), BootMillis(0));
        // Without /sys it is not known, and not told.
        let is_told = Path::new("/sys/devices/system/cpu/online").exists();
        assert_eq!(vitals.cores.is_some_and(|cores| cores > 0), is_told, "{vitals:?}");
        for filled in [vitals.memory, vitals.disk] {
            assert!(filled.is_some_and(|it| it.used <= it.total && it.used.0 > 0), "{vitals:?}");
        }
    }
}
