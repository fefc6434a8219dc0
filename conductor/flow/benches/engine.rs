//! What an event costs, by the number of waiting tasks, of flows and of cells; and what comes more
//! rarely: a player that goes and comes back, a plan, an explanation. `make bench-engine`.
//!
//! An event is an order's start or end. Figures are processor time of this thread. Those of one
//! group are to be compared: they should not grow. Parameters count what waits.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orchestra_model::{Deployments, Quantity, flow::JobSpec};

use crate::fleet::{Fleet, deployment, job, thread_time};

mod fleet;

criterion_group! {
    name = engine;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = waiting, flows, shared, contended, cells, flap, plan, explain
}
criterion_main!(engine);

/// 10,000 to 1,000,000 tasks of one flow that wait for its window, each for its own player.
fn waiting(criterion: &mut Criterion) {
    let cases = [10_000, 100_000, 1_000_000].map(|hosts| Case {
        name: "waiting".into(),
        hosts,
        flows: 1,
        apart: false,
        cells: Cells::None,
        parallel: Quantity::Percent(10),
    });
    events(criterion, "event/waiting", cases);
}

/// 1 to 1,000 flows with 1,000,000 tasks in all, each for its own player, and one window of 10,000
/// for all of them.
fn flows(criterion: &mut Criterion) {
    let cases = [1, 10, 100, 1_000].map(|flows| Case {
        name: format!("flows {flows}"),
        hosts: 1_000_000,
        flows,
        apart: true,
        cells: Cells::None,
        parallel: Quantity::Count(10_000 / flows),
    });
    events(criterion, "event/flows", cases);
}

/// As many tasks as in `flows`, for fewer players, which all of the flows share, so that many find them busy.
fn shared(criterion: &mut Criterion) {
    let cases = [1, 10, 100, 1_000].map(|flows| Case {
        name: format!("flows {flows}"),
        hosts: 1_000_000 / flows,
        flows,
        apart: false,
        cells: Cells::None,
        parallel: Quantity::Count(10_000 / flows),
    });
    events(criterion, "event/shared", cases);
}

/// As `shared`, where players are what is scarce: every task waits for a place on its own.
fn contended(criterion: &mut Criterion) {
    let cases = [10, 100, 1_000].map(|flows| Case {
        name: format!("flows {flows}"),
        hosts: 1_000,
        flows,
        apart: false,
        cells: Cells::None,
        parallel: Quantity::ALL,
    });
    events(criterion, "event/contended", cases);
}

/// Tasks that wait for room in the cells of their host: cells of ten deployments that cut the hosts
/// alike, at other places, or across each other.
fn cells(criterion: &mut Criterion) {
    let mut cases = Vec::new();
    for (flows, hosts) in [(1, 10_000), (100, 10_000), (1, 100_000)] {
        let cuts = [
            ("one cell", Cells::One),
            ("ten cells, alike", Cells::Alike),
            ("ten cells, elsewhere", Cells::Elsewhere),
            ("ten cells, across", Cells::Across),
        ];
        cases.extend(cuts.map(|(name, cells)| Case {
            name: format!("{name}, flows {flows}"),
            hosts,
            flows,
            apart: false,
            cells,
            parallel: Quantity::ALL,
        }));
    }
    events(criterion, "event/cells", cases);
}

/// A player goes and comes back, with as many tasks parked on it as there are flows.
fn flap(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("flap");
    for flows in [100, 1_000, 10_000] {
        let mut fleet = Fleet::new(100, Deployments::default());
        fleet.attach_all();
        fleet.submit_flows(flows, &job(Quantity::ALL));
        let player = fleet.players()[0];
        group.bench_function(BenchmarkId::from_parameter(flows), |bench| {
            bench.iter_custom(|n| {
                let begun = thread_time();
                for _ in 0..n {
                    fleet.detach(player);
                    fleet.attach_again(player);
                    fleet.settle();
                }
                thread_time() - begun
            });
        });
    }
    group.finish();
}

/// What a submission over 10,000 hosts in ten cells each would do. The first part is the owner's,
/// and holds up all events.
fn plan(criterion: &mut Criterion) {
    const HOSTS: u32 = 10_000;
    let mut group = criterion.benchmark_group("plan");
    for (name, cells) in [("one cell", Cells::One), ("ten cells", Cells::Elsewhere)] {
        let mut fleet = Fleet::new(HOSTS, cells.of(HOSTS));
        fleet.attach_all();
        let submission = fleet.submission(vec![job(Quantity::ALL)]);
        group.bench_function(BenchmarkId::new("overlay", name), |bench| {
            bench.iter_custom(|n| {
                let copies: Vec<_> = (0..n).map(|_| submission.clone()).collect();
                let begun = thread_time();
                for submission in copies {
                    std::hint::black_box(fleet.engine.overlay(submission));
                }
                thread_time() - begun
            });
        });
        group.bench_function(BenchmarkId::new("run", name), |bench| {
            bench.iter_custom(|n| {
                let overlay = fleet.engine.overlay(submission.clone());
                let begun = thread_time();
                for _ in 0..n {
                    assert!(overlay.clone().run().unwrap().waves.len() > 1);
                }
                thread_time() - begun
            });
        });
    }
    group.finish();
}

/// Why a flow of 100,000 tasks is where it is: all wait for its window, or for players that are away.
/// The owner answers, and so holds up all events.
fn explain(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("explain");
    for (name, attached) in [("window", true), ("absent", false)] {
        let mut fleet = Fleet::new(100_000, Deployments::default());
        if attached {
            fleet.attach_all();
        }
        fleet.submit_flows(1, &job(Quantity::Count(1)));
        let flow = fleet.engine.alive().next().unwrap();
        group.bench_function(name, |bench| {
            bench.iter_custom(|n| {
                let begun = thread_time();
                for _ in 0..n {
                    assert!(!fleet.engine.explain(flow, None, None).unwrap().is_empty());
                }
                thread_time() - begun
            });
        });
    }
    group.finish();
}

/// A fleet with work to do.
struct Case {
    name: String,
    hosts: u32,
    flows: u32,
    /// The flows are over hosts of their own; else each is over all.
    apart: bool,
    cells: Cells,
    /// Of each flow's one job.
    parallel: Quantity,
}

/// What cells a host is in.
#[derive(Clone, Copy)]
enum Cells {
    None,
    One,
    /// Ten that have the same hosts.
    Alike,
    /// Ten of sizes of their own, each of neighbours.
    Elsewhere,
    /// Ten of sizes of their own, each of hosts from everywhere: hardly two hosts are in the same ten.
    Across,
}

impl Cells {
    fn of(self, hosts: u32) -> Deployments {
        let hosts = Fleet::new(hosts, Deployments::default()).hosts;
        let (count, wider, scattered) = match self {
            Cells::None => (0, 0, false),
            Cells::One => (1, 0, false),
            Cells::Alike => (10, 0, false),
            Cells::Elsewhere => (10, 1, false),
            Cells::Across => (10, 1, true),
        };
        let named = |n: usize| deployment(&format!("d{n}"), &hosts, 10 + n * wider, scattered);
        Deployments::new((0..count).map(named)).unwrap()
    }
}

fn events(criterion: &mut Criterion, group: &str, cases: impl IntoIterator<Item = Case>) {
    let mut group = criterion.benchmark_group(group);
    group.throughput(Throughput::Elements(1));
    for Case { name, hosts, flows, apart, cells, parallel } in cases {
        let tasks = if apart { hosts } else { hosts * flows };
        let id = BenchmarkId::new(name, tasks);
        let mut events = None;
        group.bench_function(id, |bench| {
            let events = events.get_or_insert_with(|| {
                let mut fleet = Fleet::new(hosts, cells.of(hosts));
                fleet.attach_all();
                let job = JobSpec { success: Some(Quantity::Count(1)), ..job(parallel) };
                match apart {
                    true => fleet.submit_apart(flows, &job),
                    false => fleet.submit_flows(flows, &job),
                }
                Events::of(fleet, tasks)
            });
            bench.iter_custom(|n| events.time(n));
        });
    }
    group.finish();
}

/// A fleet in the middle of its work: it begins anew when half of that is done.
struct Events {
    begun: Fleet,
    now: Fleet,
    /// How many tasks have ended since it began.
    done: u64,
    most: u64,
}

impl Events {
    fn of(begun: Fleet, tasks: u32) -> Self {
        Self { now: begun.clone(), begun, done: 0, most: u64::from(tasks / 2) }
    }

    /// The time of at least `n` events.
    fn time(&mut self, n: u64) -> Duration {
        let mut took = Duration::ZERO;
        let mut left = n.div_ceil(2);
        while left > 0 {
            if self.done == self.most {
                (self.now, self.done) = (self.begun.clone(), 0);
            }
            let some = left.min(self.most - self.done);
            let begun = thread_time();
            for _ in 0..some {
                assert!(self.now.answer_one(), "an order is out");
            }
            took += thread_time() - begun;
            self.done += some;
            left -= some;
        }
        took
    }
}
