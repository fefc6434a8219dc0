//! What an event costs, by the number of waiting tasks, flows and players:
//! `cargo run --release -p orchestra-flow --example cost`.
//!
//! An event is an order's start or end. Every order is answered at once, so that the engine always
//! has the next to send. The figures to compare are those of one column: they should not grow.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "an example")]
#![expect(clippy::disallowed_types, reason = "the clock is for measuring, not for the engine")]

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use orchestra_flow::{
    Command, Effect, Engine, Input, PlayerIx, Recovery, ReplyId, SessionId, Settings, Submission,
};
use orchestra_model::{
    AudienceName, FlowId, HostSet, JobName, Millis, Quantity, ScoreName, Timestamp,
    delivery::{
        AttemptEnd, Order, OrderNumber, Outcome, Output, PlayerSnapshot, Report, RequestId,
        SpoolId, StoreId, Term,
    },
    flow::{FlowSpec, JobSpec, SlotSpec},
    record::Recovered,
};

const STORE: StoreId = StoreId([1; 16]);
const NOW: Timestamp = Timestamp(1_000);
/// Events measured in each setting.
const EVENTS: usize = 400_000;

fn main() {
    println!(
        "waiting tasks   flows   players   events/s   1 of 1,000 takes   player goes and comes"
    );
    for (flows, hosts) in [(1, 10_000), (1, 100_000), (1, 1_000_000), (10, 1_000), (1_000, 10)] {
        measure(flows, hosts);
    }
    measure(1_000, 1_000);
    measure(10_000, 100);
}

/// So many flows, each of one job over all of so many hosts.
fn measure(flows: u16, hosts: u32) {
    let mut fleet = Fleet::new(hosts);
    for player in fleet.players() {
        fleet.attach(player);
    }
    for flow in 0..flows {
        fleet.submit(flow);
    }
    fleet.settle();
    let begun = Instant::now();
    let mut took = Vec::with_capacity(EVENTS);
    while took.len() < EVENTS {
        let Some((player, order)) = fleet.orders.pop() else { break };
        for report in [started(&order), ended(&order)] {
            let one = Instant::now();
            fleet.report(player, report);
            took.push(one.elapsed().as_nanos());
        }
        fleet.settle();
    }
    let rate = took.len() as f64 / begun.elapsed().as_secs_f64();
    took.sort_unstable();
    let slow = took[took.len() - took.len() / 1_000 - 1] / 1_000;
    let (waiting, flap) = (u32::from(flows) * hosts, fleet.flap());
    println!(
        "{waiting:>13}   {flows:>5}   {hosts:>7}   {rate:>8.0}   {slow:>13} µs   {flap:>18} µs"
    );
    fleet.engine.audit().unwrap();
}

struct Fleet {
    engine: Engine,
    hosts: HostSet,
    orders: Vec<(PlayerIx, Order)>,
    sessions: u64,
}

impl Fleet {
    fn new(hosts: u32) -> Self {
        let recovery = Recovery {
            store: STORE,
            term: Term(1),
            recovered: Recovered::default(),
            next_flow: FlowId(1),
            players: Vec::new(),
            requests: Vec::new(),
            holds: Vec::new(),
            deployments: Arc::default(),
        };
        let engine = Engine::recover(Settings { most_tasks: 1_000_000 }, recovery);
        let hosts = HostSet::parse_plain(&format!("h[1-{hosts}]")).unwrap();
        let mut fleet = Self { engine, hosts, orders: Vec::new(), sessions: 0 };
        let hosts = fleet.hosts.clone();
        fleet.input(Input::RosterLoaded { reply: ReplyId(0), hosts, most_removed: 0 });
        fleet
    }

    fn players(&self) -> Vec<PlayerIx> {
        self.engine.roster().iter().collect()
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(NOW, input);
        self.take_orders();
    }

    fn take_orders(&mut self) {
        for effect in self.engine.effects() {
            if let Effect::Send { player, command: Command::Order(order), .. } = effect {
                self.orders.push((player, order));
            }
        }
    }

    fn settle(&mut self) {
        while self.engine.has_work() {
            self.engine.advance(NOW);
            self.take_orders();
        }
    }

    fn attach(&mut self, player: PlayerIx) {
        self.sessions += 1;
        let snapshot = PlayerSnapshot {
            spool: SpoolId([1; 16]),
            mark: OrderNumber(0),
            term: Term(0),
            live: Vec::new(),
            settled: Vec::new(),
            max_tasks: 4,
            kill_grace: Millis(0),
            scores: Vec::new(),
        };
        let session = SessionId(self.sessions);
        self.input(Input::PlayerAttached { player, session, snapshot: Box::new(snapshot) });
    }

    fn submit(&mut self, nth: u16) {
        let [high, low] = nth.to_be_bytes();
        let mut job = JobSpec::new(
            JobName::new("job").unwrap(),
            ScoreName::new("score").unwrap(),
            "as resolved",
        );
        job.parallel = Quantity::Percent(10);
        self.input(Input::FlowSubmitted(Box::new(Submission {
            reply: ReplyId(0),
            request: RequestId([high, low, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            audience: AudienceName::new("alice").unwrap(),
            spec: FlowSpec { name: None, slots: vec![SlotSpec { jobs: vec![job] }] },
            spec_bytes: [].into(),
            targets: vec![vec![self.hosts.clone()]],
            params: BTreeMap::new(),
            retry_of: None,
        })));
    }

    fn report(&mut self, player: PlayerIx, report: Report) {
        let Some(session) = self.engine.roster().session(player) else { return };
        let end = matches!(report, Report::Ended { .. }).then(|| [0; 64].into());
        self.input(Input::Reported { player, session, report: Box::new(report), end });
    }

    /// The microseconds that a player takes to go and come back, with all that is parked on it.
    fn flap(&mut self) -> u128 {
        let player = self.players()[0];
        let Some(session) = self.engine.roster().session(player) else { return 0 };
        let begun = Instant::now();
        self.input(Input::PlayerDetached { player, session });
        self.attach(player);
        begun.elapsed().as_micros()
    }
}

fn started(order: &Order) -> Report {
    Report::Started { key: order.key, order: order.number, at: NOW }
}

fn ended(order: &Order) -> Report {
    let end = AttemptEnd {
        outcome: Outcome::Exited(0),
        started_at: None,
        ended_at: NOW,
        response: BTreeMap::new(),
        stdout: Output::default(),
        stderr: Output::default(),
    };
    Report::Ended { key: order.key, order: order.number, end }
}
