//! The files of both versions, in pretended leaves; and the cost of a look at 1,000 runs, in real
//! ones.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use orchestra_harness::eventually;

use super::*;

/// A pretended leaf: plain files in place of the kernel's.
fn leaf(files: &[(&str, &str)]) -> (tempfile::TempDir, Leaf) {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(dir.path().join(name), text).unwrap();
    }
    let leaf = Leaf::of_v1(dir.path().to_owned());
    (dir, leaf)
}

fn sample(meter: &mut RunMeter, leaf: &Leaf, beside: &Leaf, at: u64) -> UnitVitals {
    let whose = Whose { leaf: Some(leaf), main: None };
    meter.sample(&whose, || vec![beside.clone()], BootMillis(at))
}

#[test]
fn a_leaf_of_v2_says_all_of_it() {
    let (dir, own) = leaf(&[
        ("cgroup.procs", ""),
        ("cpu.stat", "usage_usec 1000\nuser_usec 1\nnr_periods 10\nnr_throttled 1\n"),
        ("memory.current", "4096\n"),
        ("memory.peak", "8192\n"),
        ("pids.current", "3\n"),
    ]);
    let (_nothing, beside) = leaf(&[]);
    let mut meter = RunMeter::default();
    let first = UnitVitals {
        cpu: None,
        throttled: None,
        memory: Some(ByteSize(4_096)),
        memory_peak: Some(ByteSize(8_192)),
        processes: Some(3),
    };
    assert_eq!(sample(&mut meter, &own, &beside, 0), first);
    let stat = dir.path().join("cpu.stat");
    fs::write(&stat, "usage_usec 5001000\nnr_periods 110\nnr_throttled 96\n").unwrap();
    let second = sample(&mut meter, &own, &beside, 10_000);
    let throttled = Some(Permille(950));
    assert_eq!(second, UnitVitals { cpu: Some(MilliCores(500)), throttled, ..first });
    // A run that did not run has no share, and a look too long ago gives no rate.
    let third = sample(&mut meter, &own, &beside, 20_000);
    assert_eq!(third, UnitVitals { cpu: Some(MilliCores(0)), ..first });
    assert_eq!(sample(&mut meter, &own, &beside, 90_000), first);
}

#[test]
fn leaves_of_v1_are_put_together() {
    let (_own, own) = leaf(&[("cgroup.procs", ""), ("pids.current", "2\n")]);
    let (dir, beside) = leaf(&[
        ("cpuacct.usage", "0\n"),
        ("cpu.stat", "nr_periods 0\nnr_throttled 0\nthrottled_time 0\n"),
        ("memory.usage_in_bytes", "4096\n"),
        ("memory.max_usage_in_bytes", "4096\n"),
    ]);
    let mut meter = RunMeter::default();
    let first = sample(&mut meter, &own, &beside, 0);
    assert_eq!((first.memory, first.processes), (Some(ByteSize(4_096)), Some(2)));
    fs::write(dir.path().join("cpuacct.usage"), "20000000000\n").unwrap();
    let second = sample(&mut meter, &own, &beside, 10_000);
    assert_eq!((second.cpu, second.throttled), (Some(MilliCores(2_000)), None));
}

#[test]
fn what_nothing_counts_is_absent() {
    let (_own, own) = leaf(&[("cgroup.procs", "")]);
    let (_nothing, beside) = leaf(&[]);
    let mut meter = RunMeter::default();
    assert_eq!(sample(&mut meter, &own, &beside, 0), UnitVitals::default());
    assert_eq!(sample(&mut meter, &own, &beside, 10_000), UnitVitals::default());
}

#[test]
fn without_cgroups_its_processes_are_looked_at() {
    let mut children = Crowd::of(1);
    let main = children.0[0].id() as i32;
    let whose = Whose { leaf: None, main: Some(main) };
    if procfs::descendants(main, PROCESSES).is_none() {
        return eprintln!("SKIPPED: this kernel does not tell children");
    }
    // A process that has just executed its program has touched none of its memory yet.
    let (mut meter, first) = eventually("memory of its own", || {
        let mut meter = RunMeter::default();
        let first = meter.sample(&whose, Vec::new, BootMillis(0));
        first.memory.is_some_and(|memory| memory.0 > 0).then_some((meter, first))
    });
    assert_eq!(first.processes, Some(1));
    let second = meter.sample(&whose, Vec::new, BootMillis(10_000));
    assert!(second.cpu.is_some_and(|cpu| cpu.0 < 100), "{second:?}");
    children.end();
    let last = meter.sample(&whose, Vec::new, BootMillis(20_000));
    assert_eq!(last, UnitVitals::default());
}

#[test]
fn time_that_went_backwards_is_not_told() {
    let counters = |us, periods| Counters { cpu_us: Some(us), periods: Some(periods) };
    let (before, now) = (counters(10, (5, 5)), counters(9, (4, 5)));
    assert_eq!(rates(before, now, Elapsed(10_000)), (None, None));
}

/// Processes that sleep, and end with the test.
struct Crowd(Vec<Child>);

impl Crowd {
    fn of(count: usize) -> Self {
        let one = |_| Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        Crowd((0..count).map(one).collect())
    }

    fn end(&mut self) {
        for child in &mut self.0 {
            child.kill().unwrap();
            child.wait().unwrap();
        }
        self.0.clear();
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.end();
    }
}

/// Leaves of the test in a hierarchy, which are removed with this.
struct Leaves(Vec<PathBuf>);

impl Leaves {
    /// Makes leaves; `None` if they cannot be made there.
    fn of(hierarchy: &str, count: usize) -> Option<Self> {
        let mut made = Leaves(Vec::new());
        for n in 0..count {
            let name = format!("orchestra-vitals-test-{}-{n}", std::process::id());
            let dir = Path::new(hierarchy).join(name);
            fs::create_dir(&dir).ok()?;
            made.0.push(dir);
        }
        Some(made)
    }
}

impl Drop for Leaves {
    fn drop(&mut self) {
        for dir in &self.0 {
            let _ = fs::remove_dir(dir);
        }
    }
}

/// Returns how long the second of two rounds over these runs takes. The first round finds the
/// files.
fn took(runs: &[(Whose<'_>, Vec<Leaf>)]) -> Duration {
    let mut meters: Vec<RunMeter> = runs.iter().map(|_| RunMeter::default()).collect();
    let mut round = |at| {
        for (meter, (whose, beside)) in meters.iter_mut().zip(runs) {
            meter.sample(whose, || beside.clone(), BootMillis(at));
        }
    };
    round(0);
    let begin = Instant::now();
    round(10_000);
    begin.elapsed()
}

/// Prints the cost, and asserts only that it is below the time between two samples.
#[test]
fn a_sample_of_a_thousand_runs_is_cheap() {
    const RUNS: usize = 1_000;
    const BOUND: Duration = Duration::from_secs(1);
    let v1 = ["cpu,cpuacct", "memory", "pids"].map(|name| format!("/sys/fs/cgroup/{name}"));
    let v1: Option<Vec<Leaves>> = v1.iter().map(|dir| Leaves::of(dir, RUNS)).collect();
    if let Some(v1) = v1 {
        let leaf = |dir: &PathBuf| Leaf::of_v1(dir.clone());
        let own: Vec<Leaf> = v1[2].0.iter().map(leaf).collect();
        let beside = |n: usize| vec![leaf(&v1[0].0[n]), leaf(&v1[1].0[n])];
        let runs: Vec<_> = (own.iter().enumerate())
            .map(|(n, own)| (Whose { leaf: Some(own), main: None }, beside(n)))
            .collect();
        let took = took(&runs);
        println!("a sample of {RUNS} runs with leaves of cgroup v1: {took:?}");
        assert!(took < BOUND, "{took:?}");
    }
    let crowd = Crowd::of(RUNS / 10);
    let whose = |n: usize| Whose { leaf: None, main: Some(crowd.0[n % crowd.0.len()].id() as i32) };
    let runs: Vec<_> = (0..RUNS).map(|n| (whose(n), Vec::new())).collect();
    let took = took(&runs);
    println!("a sample of {RUNS} runs without cgroups: {took:?}");
    assert!(took < BOUND, "{took:?}");
}
