//! What a restart costs: 1,000,000 tasks of living flows, half of them ended, 70,000 sent, the rest
//! waiting, from their records in memory: `cargo run --release -p orchestra-flow --example recover`.
//!
//! Reading the records from the disk is the store's part, and not in these figures.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]

use std::time::Duration;

use orchestra_flow::{Engine, RecoveredFlow, RecoveredJob, Recovery};
use orchestra_model::{
    Asker, Deployments, FlowId, FlowState, HostSet, JobId, JobState, Params, Quantity, TaskState,
    Timestamp,
    delivery::{OrderNumber, RequestId, SpoolId},
    flow::{FlowSpec, SlotSpec},
    record::{FlowRecord, Impact, JobRecord, PlayerRecord, TaskRecord},
    status::Counts,
    tree::TreeShape,
};

use crate::fleet::{NOW, deployment, empty_store, job, settings, thread_time};

#[expect(dead_code, reason = "benchmarks use more of it")]
#[path = "../benches/fleet/mod.rs"]
mod fleet;

const TASKS: u32 = 1_000_000;

fn main() {
    println!("flows   players   cells   players   restore   resume   total");
    for (flows, cells) in [(1, 0), (100, 0), (100, 1), (100, 10), (1_000, 0)] {
        measure(flows, cells);
    }
}

fn measure(flows: u32, cells: usize) {
    let hosts = HostSet::parse_plain(&format!("h[1-{}].east.example.com", TASKS / flows)).unwrap();
    let named = |n| deployment(&format!("d{n}"), &hosts, 10 + n, false);
    let recovery = Recovery {
        next_flow: FlowId(u64::from(flows) + 1),
        players: hosts.iter().map(|host| player(host, flows)).collect(),
        requests: (1..=flows).map(|flow| request(FlowId(flow.into()))).collect(),
        ..empty_store(Deployments::new((0..cells).map(named)).unwrap())
    };
    let stored: Vec<_> = (1..=flows).map(|flow| stored(FlowId(flow.into()), &hosts)).collect();
    let times = [thread_time()];
    let mut engine = Engine::recover(settings(), recovery);
    let times = [times[0], thread_time()];
    stored.into_iter().for_each(|flow| engine.restore(flow));
    let restored = thread_time();
    engine.resume(NOW);
    while engine.has_work() {
        engine.advance(NOW);
        engine.effects().for_each(drop);
    }
    let parts = [times[1] - times[0], restored - times[1], thread_time() - restored];
    let [players, restore, resume] = parts.map(|part| format!("{} ms", part.as_millis()));
    let total = parts.iter().sum::<Duration>().as_millis();
    println!(
        "{flows:>5}   {:>7}   {cells:>5}   {players:>7}   {restore:>7}   {resume:>6}   {total} ms",
        hosts.len()
    );
}

fn player(host: &orchestra_model::HostName, flows: u32) -> PlayerRecord {
    PlayerRecord {
        host: host.clone(),
        spool: Some(SpoolId([1; 16])),
        last_order: OrderNumber(flows.into()),
        detached_at: None,
        removed: false,
        drained: None,
    }
}

fn request(flow: FlowId) -> (Asker, RequestId, FlowId, FlowState) {
    (Asker::from_word("alice").unwrap(), request_of(flow), flow, FlowState::Running)
}

fn request_of(flow: FlowId) -> RequestId {
    RequestId(u128::from(flow.0).to_be_bytes())
}

/// A flow of one job that is half done, with the host set as the store has it: names of its own.
fn stored(id: FlowId, hosts: &HostSet) -> RecoveredFlow {
    let targets = HostSet::parse_plain(&hosts.to_string()).unwrap();
    let spec = job(Quantity::Percent(7));
    let total = u32::try_from(targets.len()).unwrap();
    let job = JobId { flow: id, slot: 1, job: 1 };
    let sent = total / 2 + 7 * total / 100;
    let tasks = (0..sent).zip(&targets).map(|(index, host)| TaskRecord {
        job,
        index,
        host: host.clone(),
        state: if index < total / 2 { TaskState::Ok } else { TaskState::Sent },
        attempt: 1,
        retries: 0,
        order: OrderNumber(id.0),
        sent_at: Some(NOW),
        started_at: Some(NOW),
        ended_at: (index < total / 2).then_some(NOW),
        impact: Impact::Holds,
        before: None,
        exit: (index < total / 2).then_some(0),
        signal: None,
        detail: None,
        time_limit: None,
        change: 0,
        parent: None,
    });
    let record = JobRecord {
        id: job,
        name: spec.name.clone(),
        score: spec.score.clone(),
        tasks: total,
        state: JobState::Running,
        started_at: Some(NOW),
        ended_at: None,
        untouched: TaskState::Waiting,
        counts: Counts::all_in(TaskState::Waiting, total),
        param_keys: Vec::new(),
        kept_params: std::sync::Arc::default(),
        canary_ok_at: None,
        promoted_by: None,
        change: 0,
        thresholds: None,
    };
    RecoveredFlow {
        record: FlowRecord {
            id,
            request: request_of(id),
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            name: None,
            state: FlowState::Running,
            submitted_at: Timestamp(0),
            ended_at: None,
            cancelled_by: None,
            cancel_reason: None,
            paused_by: None,
            retry_of: None,
            predecessor: None,
            request_mac: None,
        },
        spec: FlowSpec::new(vec![SlotSpec { jobs: vec![spec] }]),
        jobs: vec![RecoveredJob {
            record,
            tasks: tasks.collect(),
            targets,
            tree: TreeShape::default(),
            params: Params::default(),
        }],
    }
}
