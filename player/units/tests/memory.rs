//! What a unit costs in memory. A program of its own, because it counts all that the allocator is asked
//! for.

#![expect(clippy::unwrap_used, reason = "a test says so by failing")]

use std::alloc::System;

use orchestra_model::{
    Asker, FlowId, JobId, Millis, Params, ScoreName, ServiceName, Timestamp,
    delivery::{AttemptKey, OrderNumber, SpoolId, StoreId},
    score::ScoreHash,
    service::{Instance, Ordinal, Placement, ServiceVersion, UnitOrder, Upkeep, Wanted},
};
use orchestra_units::{
    BootId, Capacity, Effect, Input, Now, Ordered, ProcessMark, RunEvent, Units,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const UNITS: u64 = 1_000;
const STORE: StoreId = StoreId([1; 16]);
const NOW: Now = Now { boot_ms: 1_000, wall: Timestamp(1_700_000_000_000) };
/// Far below what a unit may cost a sitter in all, of which most is pipes and descriptors.
const MOST: u64 = 4 << 10;

fn order(n: u64) -> Ordered {
    let unit = UnitOrder {
        service: ServiceName::new(&format!("service-{n}")).unwrap(),
        version: ServiceVersion(1),
        instance: Instance { ordinal: Ordinal(1), placement: Placement(1) },
        wanted: Wanted::Running,
        score: ScoreName::new("run-web").unwrap(),
        score_hash: Some(ScoreHash([6; 32])),
        audience: Asker::from_word("alice").unwrap(),
        params: Params::from_pairs([("port", "8080"), ("release", "7.2")]).unwrap(),
        upkeep: Upkeep::default(),
        healthy_for: Millis(0),
        deadline: Millis::minutes(10),
    };
    let job = JobId { flow: FlowId(n), slot: 1, job: 1 };
    let (key, order) = (AttemptKey { store: STORE, job, attempt: 1 }, OrderNumber(n));
    Ordered { key, order, unit, keep_params: true }
}

fn perform(units: &mut Units) {
    units.written();
    while let Some(effect) = units.poll_effect() {
        let input = match effect {
            Effect::Spawn { unit, run, .. } => {
                let process = ProcessMark {
                    pid: 1,
                    start_ticks: 1,
                    boot: BootId([4; 16]),
                    started_at: NOW.wall,
                    boot_ms: NOW.boot_ms,
                };
                Input::Run {
                    unit,
                    run,
                    event: RunEvent::Spawned { process, score: ScoreHash([6; 32]) },
                }
            }
            Effect::EndWatch { key, order, .. } => Input::WatchSettled { key, order },
            _ => continue,
        };
        units.handle(NOW, input);
        units.written();
    }
}

#[test]
fn a_unit_that_is_ready_costs_a_few_kibibytes() {
    let count = usize::try_from(UNITS).unwrap();
    let capacity = Capacity { units: count, memory: None };
    let mut units = Units::new(SpoolId([9; 16]), capacity, 1, NOW, BootId([4; 16]));
    let region = Region::new(ALLOCATOR);
    for n in 1..=UNITS {
        units.order(NOW, order(n)).unwrap();
        perform(&mut units);
    }
    assert_eq!(units.runs().filter(|(_, _, run)| run.ready_since().is_some()).count(), count);
    assert_eq!(units.next_wake(), None, "and wakes nobody");
    let change = region.change();
    let bytes = change.bytes_allocated.saturating_sub(change.bytes_deallocated) as u64;
    assert!(bytes / UNITS < MOST, "{} bytes a unit", bytes / UNITS);
}
