//! What it costs to write and to read what travels: `make bench-parts BENCH=batch`.
//!
//! A task is an order one way, and its start and its end the other; a message takes as many frames
//! as are ready. `batch/N` is one message of N tasks each way, so its time by N is what a task costs.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use std::{collections::BTreeMap, hint::black_box, time::Duration};

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use orchestra_model::{
    FlowId, JobId, Millis, ScoreName, Timestamp,
    delivery::{
        AttemptEnd, AttemptKey, EndBytes, KnownEnd, Order, OrderNumber, Outcome, Output,
        PlayerSnapshot, Report, SpoolId, StoreId, StoreMark, Term,
    },
    proof::Mac,
    score::{ParamSpec, ScoreHash, ScoreOffer, ScoreSpec},
};
use orchestra_proto::{
    RawSnapshot, encode_end, known_end, order_to_wire, scores_from_wire, snapshot_from_wire,
    snapshot_to_wire,
    v1::{self, command::Kind, from_player, to_player},
};
use prost::Message;

criterion_group! {
    name = wire;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = batch, snapshot
}
criterion_main!(wire);

const STORE: StoreId = StoreId([7; 16]);
const HOST: &str = "fe100.east.example.com";
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn batch(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batch");
    for tasks in [1, 32] {
        group.throughput(Throughput::Elements(tasks));
        let orders: Vec<Order> = (1..=tasks).map(order).collect();
        let reports: Vec<Report<EndBytes>> = orders.iter().flat_map(reports).collect();
        let (sent, said) = (write_orders(&orders), write_reports(&reports));
        assert_eq!(read_reports(said.clone()).len(), reports.len());
        group.bench_function(BenchmarkId::new("write orders", tasks), |bench| {
            bench.iter(|| write_orders(black_box(&orders)));
        });
        group.bench_function(BenchmarkId::new("read orders", tasks), |bench| {
            bench.iter(|| read_orders(black_box(sent.clone())));
        });
        group.bench_function(BenchmarkId::new("write reports", tasks), |bench| {
            bench.iter(|| write_reports(black_box(&reports)));
        });
        group.bench_function(BenchmarkId::new("read reports", tasks), |bench| {
            bench.iter(|| read_reports(black_box(said.clone())));
        });
    }
    group.finish();
}

/// What a player says of itself when it attaches, with twenty scores: whole, and where the scores
/// are known already.
fn snapshot(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("snapshot");
    let snapshot = player();
    let PlayerSnapshot { mark, term, evidence, .. } = snapshot;
    let marks = [StoreMark { store: STORE, mark, term, evidence }];
    let bytes = Bytes::from(snapshot_to_wire(&snapshot, &marks, None).encode_to_vec());
    let read = |known: bool| {
        let raw = RawSnapshot::decode(black_box(bytes.clone())).unwrap();
        let scores = |scores: &[Bytes]| match known {
            true => Ok(snapshot.scores.clone()),
            false => scores_from_wire(scores),
        };
        snapshot_from_wire(&raw, STORE, scores).unwrap()
    };
    assert_eq!(read(false), snapshot);
    group.bench_function("write", |bench| {
        bench.iter(|| snapshot_to_wire(black_box(&snapshot), &marks, None).encode_to_vec());
    });
    group.bench_function("read", |bench| bench.iter(|| read(false)));
    group.bench_function("read, scores known", |bench| bench.iter(|| read(true)));
    group.finish();
}

fn write_orders(orders: &[Order]) -> Bytes {
    let frame = |order: &Order| {
        let kind =
            Some(Kind::Order(order_to_wire(order, Bytes::from_static(&[5; 32]), Mac([6; 16]))));
        let store_id = Bytes::copy_from_slice(&STORE.0);
        let command = v1::Command { store_id, term: 1, kind }.encode_to_vec();
        let frame = Some(to_player::Frame::Command(command.into()));
        v1::ToPlayer { player: HOST.to_owned(), frame }
    };
    v1::ToPlayers { frames: orders.iter().map(frame).collect() }.encode_to_vec().into()
}

fn read_orders(bytes: Bytes) -> usize {
    let batch = v1::ToPlayers::decode(bytes).unwrap();
    let commands = batch.frames.into_iter().filter_map(|frame| match frame.frame? {
        to_player::Frame::Command(bytes) => v1::Command::decode(bytes).unwrap().kind,
        _ => None,
    });
    commands.map(black_box).count()
}

fn write_reports(reports: &[Report<EndBytes>]) -> Bytes {
    let frame = |report: &Report<EndBytes>| {
        let report = v1::Report::from(report).encode_to_vec();
        let frame = Some(from_player::Frame::Report(report.into()));
        v1::FromPlayer { player: HOST.to_owned(), frame }
    };
    v1::FromPlayers { frames: reports.iter().map(frame).collect() }.encode_to_vec().into()
}

fn read_reports(bytes: Bytes) -> Vec<Report<KnownEnd>> {
    let batch = v1::FromPlayers::decode(bytes).unwrap();
    let reports = batch.frames.into_iter().filter_map(|frame| match frame.frame? {
        from_player::Frame::Report(bytes) => {
            let report = Report::try_from(v1::Report::decode(bytes).unwrap()).unwrap();
            report.try_map(known_end).ok()
        }
        _ => None,
    });
    reports.collect()
}

fn order(number: u64) -> Order {
    let job = JobId { flow: FlowId(1_000 + number), slot: 1, job: 1 };
    let key = AttemptKey { store: STORE, job, attempt: 1 };
    Order {
        number: OrderNumber(70_000 + number),
        key,
        timeout: Some(Millis(60_000)),
        instance: None,
        tree: None,
    }
}

fn reports(order: &Order) -> [Report<EndBytes>; 2] {
    let &Order { key, number, .. } = order;
    let line = b"restarted apache2 in 1.2 s\n".to_vec();
    let end = AttemptEnd {
        outcome: Outcome::Exited(0),
        started_at: Some(NOW),
        ended_at: NOW,
        response: BTreeMap::new(),
        stdout: Output { bytes: line.len() as u64, head: line, ..Output::default() },
        stderr: Output::default(),
    };
    let end = encode_end(&end).unwrap();
    [Report::Started { key, order: number, at: NOW }, Report::Ended { key, order: number, end }]
}

fn player() -> PlayerSnapshot {
    let param = |n: usize| {
        let spec = ParamSpec { required: n == 0, ..ParamSpec::default() };
        (format!("parameter_{n}").parse().unwrap(), spec)
    };
    let offer = |n: usize| ScoreOffer {
        name: ScoreName::new(&format!("score-{n:02}")).unwrap(),
        hash: Some(ScoreHash([n as u8; 32])),
        spec: Ok(ScoreSpec { params: Some((0..4).map(param).collect()), ..ScoreSpec::default() }),
    };
    PlayerSnapshot {
        spool: SpoolId([1; 16]),
        mark: OrderNumber(70_000),
        term: Term(3),
        evidence: None,
        live: Vec::new(),
        settled: Vec::new(),
        max_tasks: 4,
        kill_grace: Millis(10_000),
        scores: (0..20).map(offer).collect(),
        units: None,
        room: Default::default(),
    }
}
