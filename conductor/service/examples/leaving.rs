//! What it costs the services' engine that a service which cleans up leaves many hosts at once: its own
//! time, and how many bytes of hosts' names are in the records of the service that it writes.
//! `cargo run --release -p orchestra-service --example leaving` (`make bench-engine`).
//!
//! Processor time of this thread, which other programs on the machine do not lengthen.

#![expect(clippy::print_stdout, reason = "an example")]

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, Params, ScoreName, ServiceName, TaskState,
    Timestamp,
    delivery::{OrderNumber, Term},
    flow::JobSpec,
    record::{Op, Record},
    score::Offers,
    service::{
        Instance, Recipe, Room, RunNumber, ServiceSpec, ServiceVersion, UnitReport, UnitState,
    },
};
use orchestra_service::{AppliedService, Ask, Effect, Input, ReplyId, Services, UnitFlow};

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    println!("      seconds      written   hosts that are left");
    for hosts in [1_000, 2_000, 4_000, 8_000] {
        let mut world = World::new(hosts)?;
        let begun = thread_time();
        let name = world.name.clone();
        world.ask(Ask::Remove(name))?;
        let seconds = thread_time() - begun;
        println!("{seconds:>13.3}   {:>6.1} MiB   {hosts}", world.written as f64 / 1_048_576.0);
        if world.cleaned != hosts {
            return Err(format!("{} hosts were cleaned up", world.cleaned).into());
        }
    }
    Ok(())
}

struct World {
    engine: Services,
    now: u64,
    name: ServiceName,
    cleaned: u32,
    /// Bytes of hosts' names in the records of the service.
    written: usize,
}

impl World {
    /// A service that is ready on so many hosts.
    fn new(count: u32) -> Result<Self, Failure> {
        let (name, score) = (ServiceName::new("web")?, ScoreName::new("serve")?);
        let engine = Services::recover(Vec::new(), Term(0));
        let mut world = Self { engine, now: 1, name: name.clone(), cleaned: 0, written: 0 };
        world.engine.resume(Timestamp(1), &[], []);
        // Every third number, so that a set of them is no range.
        let hosts = (0..count).map(|n| HostName::new(&format!("host{}", n * n % 999_983)));
        let hosts = HostSet::from_names(hosts.collect::<Result<Vec<_>, _>>()?);
        for host in hosts.iter().cloned() {
            let (units, offers) = (Some(Vec::new()), Offers::from(Vec::new()));
            world.handle(Input::PlayerAttached { host, units, offers, room: Room::default() });
        }
        let mut spec = ServiceSpec::new(name, score.clone(), "@all");
        spec.cleanup = Some(Recipe { score, params: Params::default() });
        let services = vec![AppliedService { spec, spec_bytes: Vec::new().into(), hosts }];
        world.ask(Ask::Apply { services, take_over: false })?;
        world.written = 0;
        Ok(world)
    }

    fn ask(&mut self, ask: Ask) -> Result<(), Failure> {
        let by = Asker::from_word("alice")?;
        self.handle(Input::Asked { reply: ReplyId(1), by, ask });
        Ok(())
    }

    fn handle(&mut self, input: Input) {
        self.now += 1;
        self.engine.handle(Timestamp(self.now), input);
        loop {
            let effects: Vec<Effect> = self.engine.effects().collect();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Persist(Op::Put(Record::Service(record))) => {
                        self.written += record.hosts.to_string().len();
                    }
                    Effect::Submit(flow) => self.run(&flow),
                    _ => {}
                }
            }
        }
    }

    /// Does what a flow asks for.
    fn run(&mut self, flow: &UnitFlow) {
        let id = FlowId(self.now);
        let services = vec![self.name.clone()];
        self.handle(Input::Submitted { services, flow: Ok(id) });
        let jobs = flow.spec.slots.iter().flat_map(|slot| &slot.jobs);
        for (job, hosts) in jobs.zip(flow.targets.iter().flatten()) {
            hosts.iter().for_each(|host| self.run_task(id, job, host));
        }
        self.handle(Input::FlowEnded { flow: id, state: FlowState::Ok });
    }

    fn run_task(&mut self, flow: FlowId, job: &JobSpec, host: &HostName) {
        let service = self.name.clone();
        let recipe = job.recipe.as_ref().map(|recipe| recipe.step);
        if let Some(unit) = &job.unit
            && let Some(instance) = self.engine.instance_to_order(&service, host)
        {
            let state = if unit.wanted.is_to_run() { UnitState::Ready } else { UnitState::Gone };
            let report = report(&service, instance, state);
            self.handle(Input::UnitTold { host: host.clone(), report });
        } else {
            self.cleaned += 1;
        }
        let (host, state) = (host.clone(), TaskState::Ok);
        let (is_begun, detail) = (true, None);
        self.handle(Input::TaskEnded { flow, service, recipe, host, state, is_begun, detail });
    }
}

fn report(service: &ServiceName, instance: Instance, state: UnitState) -> UnitReport {
    UnitReport {
        service: service.clone(),
        version: ServiceVersion(1),
        instance,
        order: OrderNumber(1),
        state,
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

/// The processor time of this thread, in seconds.
fn thread_time() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    std::time::Duration::try_from(time).unwrap_or_default().as_secs_f64()
}
