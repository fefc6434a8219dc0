//! What a task costs in memory, by what it waits for, and once it has ended:
//! `cargo run --release -p orchestra-flow --example memory`.
//!
//! Bytes that the engine has asked the allocator for after a case came about, less those before, by
//! task. Hosts, players and deployments were there before.

#![expect(clippy::print_stdout, reason = "an example")]

use std::alloc::System;

use orchestra_model::{Deployments, Quantity, flow::JobSpec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use crate::fleet::{Fleet, deployment, job};

#[expect(dead_code, reason = "benchmarks use more of it")]
#[path = "../benches/fleet/mod.rs"]
mod fleet;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() {
    println!("bytes a task   tasks     case");
    let waits = [
        ("waits for the window", Attached::All, 0, 1, 1_000_000, Quantity::Count(1)),
        ("parked on a player that is away", Attached::None, 0, 1, 1_000_000, Quantity::ALL),
        ("the same, two flows", Attached::None, 0, 2, 500_000, Quantity::ALL),
        ("the same, three flows", Attached::None, 0, 3, 300_000, Quantity::ALL),
        ("the same, 100 flows", Attached::None, 0, 100, 10_000, Quantity::ALL),
        ("waits for room in a cell", Attached::All, 1, 1, 1_000_000, Quantity::ALL),
        ("waits for room in ten cells", Attached::All, 10, 1, 100_000, Quantity::ALL),
        ("the same, 100 flows", Attached::All, 10, 100, 10_000, Quantity::ALL),
    ];
    for (case, attached, cells, flows, hosts, parallel) in waits {
        let mut fleet = fleet(hosts, cells, attached);
        let tasks = flows * hosts;
        let bytes = grown(|| fleet.submit_flows(flows, &job(parallel)));
        told(case, bytes, tasks);
    }
    let mut fleet = fleet(1_000_000, 0, Attached::All);
    let job = JobSpec { success: Some(Quantity::Count(1)), ..job(Quantity::Count(10_000)) };
    let ended = 900_000;
    let bytes = grown(|| {
        fleet.submit_flows(1, &job);
        (0..ended).for_each(|_| assert!(fleet.answer_one(), "an order is out"));
    });
    told("has ended", bytes, ended);
}

#[derive(Clone, Copy, PartialEq)]
enum Attached {
    All,
    None,
}

fn fleet(hosts: u32, cells: usize, attached: Attached) -> Fleet {
    let names = Fleet::new(hosts, Deployments::default()).hosts;
    let deployments = (0..cells).map(|n| deployment(&format!("d{n}"), &names, 10 + n, false));
    #[expect(clippy::unwrap_used, reason = "an example")]
    let mut fleet = Fleet::new(hosts, Deployments::new(deployments).unwrap());
    if attached == Attached::All {
        fleet.attach_all();
    }
    fleet.settle();
    fleet
}

/// How many bytes more there are after `act` than before.
fn grown(act: impl FnOnce()) -> usize {
    let region = Region::new(ALLOCATOR);
    act();
    let change = region.change();
    change.bytes_allocated.saturating_sub(change.bytes_deallocated)
}

fn told(case: &str, bytes: usize, tasks: u32) {
    println!("{:>12.1}   {tasks:>9}   {case}", bytes as f64 / f64::from(tasks));
}
