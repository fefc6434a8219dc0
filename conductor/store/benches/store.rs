//! What it costs to keep, to recover and to prune: `make bench-parts BENCH=commit`.
//!
//! The database is on the disk that holds the build; `ORC_BENCH_DIR` names another one. A batch is
//! durable when its commit returns, so `commit/1` is what that disk takes to promise anything, and
//! what a larger batch costs more is the store's own.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::{
    env,
    path::PathBuf,
    time::{Duration, Instant},
};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orchestra_model::{
    Asker, FlowId, FlowState, HostName, JobId, TaskState, Timestamp,
    delivery::{EndBytes, OrderNumber, RequestId, SpoolId},
    record::{EndRecord, FlowRecord, Impact, Op, PlayerRecord, Record, TaskRecord},
};
use orchestra_store::{SqliteStore, Store};
use tempfile::TempDir;

criterion_group! {
    name = store;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(3));
    targets = commit, recover, prune
}
criterion_main!(store);

/// Hosts that take turns.
const PLAYERS: u32 = 10_000;
/// Tasks that are recovered, pruned, or there already.
const TASKS: u32 = 100_000;
/// A short line of output and what surrounds it.
const END_BYTES: usize = 120;
/// Records that are removed in a step, as the conductor does.
const STEP: usize = 250;

/// Batches of so many tasks, by what is written of each.
fn commit(criterion: &mut Criterion) {
    type Records = fn(u32) -> Vec<Op>;
    let kinds: [(&str, Records); 2] = [("sent", sent), ("ended", ended)];
    let mut group = criterion.benchmark_group("commit");
    for (name, records) in kinds {
        let (_dir, mut store) = filled();
        // Of what was sent there are rows anew each time; of what ended there are rows already.
        let mut next = if name == "sent" { TASKS } else { 0 };
        for tasks in [1, 100, 1_000] {
            group.throughput(Throughput::Elements(tasks.into()));
            group.bench_function(BenchmarkId::new(name, tasks), |bench| {
                bench.iter_custom(|rounds| {
                    let batches: Vec<Vec<Op>> = (0..rounds)
                        .map(|_| {
                            let first = next;
                            next += tasks;
                            let place = |n| if name == "sent" { n } else { n % TASKS };
                            (first..next).flat_map(|n| records(place(n))).collect()
                        })
                        .collect();
                    let begun = Instant::now();
                    batches.iter().for_each(|batch| store.commit(batch).unwrap());
                    begun.elapsed()
                });
            });
        }
    }
    group.finish();
}

/// From the open database to every task of a living job.
fn recover(criterion: &mut Criterion) {
    let (_dir, store) = filled();
    let mut group = criterion.benchmark_group("recover");
    group.throughput(Throughput::Elements(TASKS.into()));
    group.bench_function("tasks", |bench| {
        bench.iter(|| {
            // All at once, as the flow scheduler takes them.
            let mut found = Vec::new();
            store.reader().unwrap().each_task(JOB, &mut |task| found.push(task)).unwrap();
            assert_eq!(found.len(), TASKS as usize);
        });
    });
    group.finish();
}

/// Hiding a flow, whole; and a step of removing what is left of it.
fn prune(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("prune");
    let timed = |rounds: u64, step: &dyn Fn(&mut SqliteStore) -> Duration| {
        (0..rounds).map(|_| step(&mut filled().1)).sum::<Duration>()
    };
    group.bench_function("hide", |bench| bench.iter_custom(|rounds| timed(rounds, &hide)));
    let step = |store: &mut SqliteStore| {
        hide(store);
        let mut steps = 0;
        let begun = Instant::now();
        while !store.sweep(STEP).unwrap() {
            steps += 1;
        }
        begun.elapsed() / steps
    };
    group.throughput(Throughput::Elements(STEP as u64));
    group.bench_function("step", |bench| bench.iter_custom(|rounds| timed(rounds, &step)));
    group.finish();
}

fn hide(store: &mut SqliteStore) -> Duration {
    let begun = Instant::now();
    store.commit(&[Op::PruneFlow(JOB.flow)]).unwrap();
    begun.elapsed()
}

/// A store with a flow of one job whose tasks were sent.
fn filled() -> (TempDir, SqliteStore) {
    let parent = env::var_os("ORC_BENCH_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    let dir = TempDir::new_in(parent).unwrap();
    let mut store = SqliteStore::open_or_make(&dir.path().join("store")).unwrap();
    store.commit(&[Op::Put(Record::Flow(flow()))]).unwrap();
    for first in (0..TASKS).step_by(10_000) {
        let batch: Vec<Op> = (first..first + 10_000).flat_map(sent).collect();
        store.commit(&batch).unwrap();
    }
    (dir, store)
}

const JOB: JobId = JobId { flow: FlowId(1), slot: 1, job: 1 };

fn sent(n: u32) -> Vec<Op> {
    vec![Op::Put(Record::Player(player(n))), Op::Put(Record::Task(task(n, TaskState::Sent)))]
}

fn ended(n: u32) -> Vec<Op> {
    vec![Op::Put(Record::Task(task(n, TaskState::Ok))), Op::Put(Record::End(end(n)))]
}

fn flow() -> FlowRecord {
    FlowRecord {
        id: JOB.flow,
        request: RequestId([1; 16]),
        audience: Asker::from_word("alice").unwrap(),
        by_keeper: false,
        name: None,
        state: FlowState::Running,
        submitted_at: Timestamp(1_700_000_000_000),
        ended_at: None,
        cancelled_by: None,
        cancel_reason: None,
        paused_by: None,
        retry_of: None,
        predecessor: None,
        request_mac: None,
    }
}

fn task(n: u32, state: TaskState) -> TaskRecord {
    let ended = state.is_final();
    let later = |ms: u64| Some(Timestamp(1_700_000_000_000 + ms + u64::from(n)));
    TaskRecord {
        job: JOB,
        index: n,
        host: HostName::new(&format!("host{n}.east.example.com")).unwrap(),
        state,
        attempt: 1,
        retries: 0,
        order: OrderNumber(u64::from(n) + 1),
        sent_at: later(0),
        started_at: later(10).filter(|_| ended),
        ended_at: later(500).filter(|_| ended),
        impact: Impact::Holds,
        before: None,
        exit: ended.then_some(0),
        signal: None,
        detail: None,
        time_limit: None,
        change: 0,
        parent: None,
    }
}

fn end(n: u32) -> EndRecord {
    EndRecord {
        job: JOB,
        host: HostName::new(&format!("host{n}.east.example.com")).unwrap(),
        attempt: 1,
        late: false,
        end: EndBytes::new([7; END_BYTES]).unwrap(),
    }
}

fn player(n: u32) -> PlayerRecord {
    PlayerRecord {
        host: HostName::new(&format!("host{}.east.example.com", n % PLAYERS)).unwrap(),
        spool: Some(SpoolId([7; 16])),
        last_order: OrderNumber(u64::from(n)),
        detached_at: None,
        removed: false,
        drained: None,
    }
}
