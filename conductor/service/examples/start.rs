//! What it costs the services' engine to start over 100,000 instances on 10,000 players, and to hear of
//! each of them when the players attach: nothing is to be ordered or written. And what a report costs
//! where no instance may be alive twice.
//! `cargo run --release -p orchestra-service --example start` (`make bench-engine`).
//!
//! Processor time of this thread, which other programs on the machine do not lengthen.

#![expect(clippy::print_stdout, reason = "an example")]

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, ScoreName, ServiceName, TaskState, Timestamp,
    delivery::{OrderNumber, Term},
    record::{Op, Record},
    score::{Offers, ScoreOffer, ScoreSpec},
    service::{
        AtMostOne, Instance, Labels, Layout, PlaceRule, PlacementRecord, PlayerFacts, Room,
        RunNumber, ServiceRecord, ServiceSpec, ServiceVersion, Spread, UnitReport, UnitState,
        VersionRecord,
    },
};
use orchestra_service::{
    AppliedService, Ask, Effect, Input, RecoveredService, ReplyId, Services, UnitFlow,
};

const PLAYERS: u32 = 10_000;
/// Each on a tenth of the players, so that each player has ten.
const SERVICES: u32 = 100;
const INSTANCES: u32 = PLAYERS / 10;
/// Reports of one service after the start.
const REPORTS: u32 = 10_000;

type Failure = Box<dyn std::error::Error>;

/// What a store keeps.
#[derive(Default)]
struct Disk {
    services: BTreeMap<ServiceName, ServiceRecord>,
    versions: BTreeMap<ServiceName, VersionRecord>,
    placements: BTreeMap<(ServiceName, HostName), PlacementRecord>,
}

fn main() -> Result<(), Failure> {
    println!("      seconds   what");
    for at_most_one in [None, Some(AtMostOne { lease: None })] {
        let mut world = World::new(at_most_one)?;
        world.fill()?;
        world.start()?;
        world.hear(at_most_one.is_some())?;
    }
    Ok(())
}

/// An engine over a disk, and players on which everything is ready at once.
struct World {
    engine: Services,
    now: u64,
    disk: Disk,
    specs: BTreeMap<ServiceName, ServiceSpec>,
    score: ScoreName,
    players: Vec<HostName>,
}

impl World {
    fn new(at_most_one: Option<AtMostOne>) -> Result<Self, Failure> {
        let (mut specs, score) = (BTreeMap::new(), ScoreName::new("serve")?);
        for n in 0..SERVICES {
            let name = ServiceName::new(&format!("service{n}"))?;
            let layout = Layout::Count(INSTANCES);
            let place = Some(PlaceRule { layout, require: Labels::new(), spread: Spread::Zone });
            let mut spec =
                ServiceSpec { place, ..ServiceSpec::new(name.clone(), score.clone(), "") };
            spec.upkeep.at_most_one = at_most_one;
            specs.insert(name, spec);
        }
        let players = (0..PLAYERS).map(|n| HostName::new(&format!("host{n}")));
        let players = players.collect::<Result<_, _>>()?;
        let engine = Services::recover(Vec::new(), Term(0));
        Ok(Self { engine, now: 1, disk: Disk::default(), specs, score, players })
    }

    /// Places all of them, and has them ready.
    fn fill(&mut self) -> Result<(), Failure> {
        self.engine.resume(Timestamp(self.now), &[], []);
        self.load();
        self.attach();
        for (spec, reply) in self.specs.clone().into_values().zip(1..) {
            let (spec_bytes, hosts) = (Vec::new().into(), HostSet::default());
            let services = vec![AppliedService { spec, spec_bytes, hosts }];
            let ask = Ask::Apply { services, take_over: false };
            let by = Asker::from_word("alice")?;
            self.handle(Input::Asked { reply: ReplyId(reply), by, ask });
        }
        match self.disk.placements.len() {
            placed if placed == (SERVICES * INSTANCES) as usize => Ok(()),
            placed => Err(format!("{placed} instances were placed").into()),
        }
    }

    /// Starts the engine over the disk, and attaches every player.
    fn start(&mut self) -> Result<(), Failure> {
        let stored = self.disk.services.values().map(|record| {
            let of_it = |(service, _): &&(ServiceName, HostName)| *service == record.name;
            let placements = self.disk.placements.iter().filter(|(key, _)| of_it(key));
            RecoveredService {
                record: record.clone(),
                versions: vec![(
                    self.disk.versions[&record.name].clone(),
                    self.specs[&record.name].clone(),
                )],
                placements: placements.map(|(_, kept)| kept.clone()).collect(),
            }
        });
        let stored: Vec<RecoveredService> = stored.collect();
        let begun = thread_time();
        self.engine = Services::recover(stored, Term(0));
        self.engine.resume(Timestamp(self.now), &[], []);
        tell("recover 100,000 instances", begun);
        let begun = thread_time();
        self.load();
        let done = self.attach();
        tell("attach 10,000 players", begun);
        match done {
            0 => Ok(()),
            done => {
                Err(format!("{done} things were ordered or written, and nothing differs").into())
            }
        }
    }

    /// One service tells again and again how it is.
    fn hear(&mut self, at_most_one: bool) -> Result<(), Failure> {
        let name = ServiceName::new("service0")?;
        let of_it = |(service, _): &&(ServiceName, HostName)| *service == name;
        let all = self.disk.placements.keys().filter(of_it).map(|(_, host)| host.clone());
        let hosts: Vec<HostName> = all.cycle().take(REPORTS as usize).collect();
        let begun = thread_time();
        for host in &hosts {
            let report = self.reports(host).into_iter().find(|report| report.service == name);
            let report = report.ok_or("a unit")?;
            self.handle(Input::UnitTold { host: host.clone(), report });
        }
        let what = if at_most_one { "10,000 reports, at_most_one" } else { "10,000 reports" };
        tell(what, begun);
        Ok(())
    }

    fn load(&mut self) {
        let facts = || PlayerFacts { labels: Labels::new().into(), room: Room::default() };
        let players = self.players.iter().map(|host| (host.clone(), facts())).collect();
        self.handle(Input::PlayersLoaded { players });
    }

    /// Attaches all players; returns how many orders and records that leads to.
    fn attach(&mut self) -> usize {
        let spec = Ok(ScoreSpec::default());
        let offer = ScoreOffer { name: self.score.clone(), hash: None, spec };
        let offers = Offers::from(vec![offer]);
        let mut done = 0;
        for host in self.players.clone() {
            let (units, offers) = (Some(self.reports(&host)), offers.clone());
            done +=
                self.handle(Input::PlayerAttached { host, units, offers, room: Room::default() });
        }
        done
    }

    /// What a player tells of its units: all are ready.
    fn reports(&self, host: &HostName) -> Vec<UnitReport> {
        let placed = self.specs.keys().filter_map(|name| {
            let placed = self.disk.placements.get(&(name.clone(), host.clone()))?;
            Some(report(name, placed.instance))
        });
        placed.collect()
    }

    /// Takes an input; returns how many orders and records it leads to.
    fn handle(&mut self, input: Input) -> usize {
        self.now += 1;
        self.engine.handle(Timestamp(self.now), input);
        let mut done = 0;
        loop {
            let effects: Vec<Effect> = self.engine.effects().collect();
            if effects.is_empty() {
                return done;
            }
            for effect in effects {
                match effect {
                    Effect::Persist(op) => self.write(op),
                    Effect::Submit(flow) => self.run(&flow),
                    _ => continue,
                }
                done += 1;
            }
        }
    }

    /// Does at once what a flow asks for.
    fn run(&mut self, flow: &UnitFlow) {
        self.now += 1;
        let (now, id) = (Timestamp(self.now), FlowId(self.now));
        let services = flow.services.iter().map(|it| it.name.clone()).collect();
        self.engine.handle(now, Input::Submitted { services, flow: Ok(id) });
        let targets = flow.targets.iter().flatten();
        for host in targets.flat_map(HostSet::iter) {
            for service in flow.services.iter().map(|it| it.name.clone()) {
                let Some(instance) = self.engine.instance_to_order(&service, host) else {
                    continue;
                };
                let (host, report) = (host.clone(), report(&service, instance));
                self.engine.handle(now, Input::UnitTold { host: host.clone(), report });
                let ended = Input::TaskEnded {
                    flow: id,
                    service,
                    recipe: None,
                    host,
                    state: TaskState::Ok,
                    is_begun: true,
                    detail: None,
                };
                self.engine.handle(now, ended);
            }
        }
        self.engine.handle(now, Input::FlowEnded { flow: id, state: FlowState::Ok });
    }

    fn write(&mut self, op: Op) {
        match op {
            Op::Put(Record::Service(record)) => {
                self.disk.services.insert(record.name.clone(), *record);
            }
            Op::Put(Record::Version(version)) => {
                self.disk.versions.insert(version.service.clone(), version);
            }
            Op::Put(Record::Placement(placement)) => {
                let key = (placement.service.clone(), placement.host.clone());
                self.disk.placements.insert(key, placement);
            }
            _ => {}
        }
    }
}

fn report(service: &ServiceName, instance: Instance) -> UnitReport {
    UnitReport {
        service: service.clone(),
        version: ServiceVersion(1),
        instance,
        order: OrderNumber(1),
        state: UnitState::Ready,
        since: Timestamp(1),
        run: RunNumber(1),
        score_hash: None,
        run_age: None,
        restarts: 0,
        last_end: None,
        trouble: None,
        turns: 0,
        flapping: false,
    }
}

fn tell(what: &str, begun: f64) {
    println!("{:>13.3}   {what}", thread_time() - begun);
}

/// The processor time of this thread, in seconds.
fn thread_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).unwrap_or_default().as_secs_f64()
}
