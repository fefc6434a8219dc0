//! What a stretch of time cost, and what limited it: read from `/proc`.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::param::clock_ticks_per_second;

use crate::{
    figures::Report,
    trouble::{During as _, Result, Trouble},
};

/// A thread that used more than this part of a core had no more to give.
const FULL: f64 = 0.85;

/// Counters at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    at: Instant,
    /// CPU seconds of the conductor, if there is one that can be looked into, and of ourselves.
    conductor: Option<Process>,
    own: Process,
    /// CPU seconds of the machine: busy with anything, and in all.
    machine: (f64, f64),
}

#[derive(Clone, Debug, Default)]
struct Process {
    cpu: f64,
    /// By thread: its id, its name, its CPU seconds.
    threads: Vec<(u32, String, f64)>,
}

impl Usage {
    /// Now.
    pub(crate) fn now(conductor: Option<u32>) -> Result<Self> {
        Ok(Self {
            at: Instant::now(),
            conductor: conductor.map(Process::read).transpose()?,
            own: Process::read(std::process::id())?,
            machine: machine()?,
        })
    }

    /// From then to now. A conductor that was not there then has been started since.
    pub(crate) fn since(self, conductor: Option<u32>) -> Result<Spent> {
        let now = Self::now(conductor)?;
        let time = now.at - self.at;
        let of = |before: &Process, after: &Process| Share::between(before, after, time);
        Ok(Spent {
            time,
            conductor: now.conductor.as_ref().map(|c| of(&self.conductor.unwrap_or_default(), c)),
            own: of(&self.own, &now.own),
            busy: (now.machine.0 - self.machine.0) / (now.machine.1 - self.machine.1).max(1e-9),
        })
    }
}

/// What was spent between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Spent {
    time: Duration,
    conductor: Option<Share>,
    own: Share,
    /// What part of the machine was busy, 0 to 1.
    busy: f64,
}

#[derive(Clone, Debug)]
struct Share {
    /// CPU seconds.
    cpu: f64,
    /// The busiest thread, and what part of a core it used.
    busiest: (String, f64),
}

impl Share {
    fn between(before: &Process, after: &Process, time: Duration) -> Self {
        let spent = |(id, name, cpu): &(u32, String, f64)| {
            let was = before.threads.iter().find(|(other, ..)| other == id);
            let spent = cpu - was.map_or(0.0, |(.., cpu)| *cpu);
            (name.clone(), spent / time.as_secs_f64().max(1e-9))
        };
        let threads = after.threads.iter().map(spent);
        let busiest = threads.max_by(|a, b| a.1.total_cmp(&b.1)).unwrap_or_default();
        Self { cpu: after.cpu - before.cpu, busiest }
    }
}

impl Spent {
    /// CPU seconds of the conductor; 0 where it cannot be looked into.
    pub(crate) fn conductor(&self) -> f64 {
        self.conductor.as_ref().map_or(0.0, |share| share.cpu)
    }

    /// Adds who used what, and what limited it.
    pub(crate) fn tell(&self, report: &mut Report) {
        let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
        let seconds = self.time.as_secs_f64().max(1e-9);
        let percent = |cpu: f64| 100.0 * cpu / (cores * seconds);
        report.number("conductor_cpu_s", "conductor, CPU seconds", self.conductor());
        report.number("emulator_cpu_s", "emulator, CPU seconds", self.own.cpu);
        let full = |share: &Share| Some(share.busiest.clone()).filter(|(_, part)| *part > FULL);
        let conductor = self.conductor.as_ref().and_then(full);
        let limit = if self.busy > 0.93 {
            format!("the CPU: all {cores} cores are busy")
        } else if let Some((thread, _)) = conductor {
            format!("one thread of the conductor ({thread})")
        } else if let Some((thread, _)) = full(&self.own) {
            format!("one thread of the emulator ({thread})")
        } else {
            "waiting: for timers, the disk or each other".to_owned()
        };
        let text = format!(
            "{limit}; machine {:.0} % busy, conductor {:.0} %, emulator {:.0} %",
            100.0 * self.busy,
            percent(self.conductor()),
            percent(self.own.cpu)
        );
        report.text("limited_by", "limited by", &text);
    }
}

/// Resident memory of a process, in KiB.
pub(crate) fn resident_kib(pid: u32) -> Result<f64> {
    status_kib(pid, "VmRSS:")
}

/// The most that it ever was.
pub(crate) fn peak_kib(pid: u32) -> Result<f64> {
    status_kib(pid, "VmHWM:")
}

fn status_kib(pid: u32, key: &str) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).during("reading /proc")?;
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let kib = line.and_then(|line| line.trim().split(' ').next()?.parse().ok());
    kib.ok_or_else(|| Trouble::new(format!("no {key} in /proc/PID/status")))
}

/// How many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

impl Process {
    fn read(pid: u32) -> Result<Self> {
        let (_, cpu) = stat(&format!("/proc/{pid}/stat"))
            .ok_or_else(|| Trouble::new(format!("process {pid} cannot be looked into")))?;
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).during("reading /proc")?;
        let threads = tasks.flatten().filter_map(|task| {
            let id = task.file_name().to_str()?.parse().ok()?;
            // A thread may have ended meanwhile.
            let (name, cpu) = stat(task.path().join("stat").to_str()?)?;
            Some((id, name, cpu))
        });
        Ok(Self { cpu, threads: threads.collect() })
    }
}

/// Name and CPU seconds from a `stat` file.
fn stat(path: &str) -> Option<(String, f64)> {
    let text = fs::read_to_string(path).ok()?;
    let (head, rest) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // Fields 14 and 15 of proc(5), user and system time; `rest` begins before field 3.
    let mut fields = rest.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some((name.to_owned(), (user + system) / clock_ticks_per_second() as f64))
}

/// Busy and all CPU seconds of the machine.
fn machine() -> Result<(f64, f64)> {
    let text = fs::read_to_string("/proc/stat").during("reading /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal, then guests, who are in user already.
    let ticks: Vec<f64> =
        line.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    let idle = ticks.get(3).copied().unwrap_or(0.0) + ticks.get(4).copied().unwrap_or(0.0);
    let per_second = clock_ticks_per_second() as f64;
    Ok(((all - idle) / per_second, all / per_second))
}
