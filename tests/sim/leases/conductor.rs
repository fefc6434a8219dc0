//! A conductor: its engine of services over a store that loses nothing.

use std::collections::BTreeMap;

use orchestra_model::{
    Asker, FlowId, FlowState, HostSet, Millis, ScoreName, TaskState, Timestamp,
    delivery::Term,
    record::{Op, Record},
    service::{
        AtMostOne, Leases, Ordinal, Placement, PlacementRecord, Replaceable, ServiceRecord,
        ServiceSpec, StopRule, UnitReport, VersionRecord,
    },
};
use orchestra_service::{
    AppliedService, Ask, Effect, Input, RecoveredService, ReplyId, Services, UnitFlow,
};

use super::{Clock, Message, host, web};

pub(super) struct Conductor {
    clock: Clock,
    engine: Services,
    spec: ServiceSpec,
    record: Option<ServiceRecord>,
    versions: Vec<VersionRecord>,
    placements: BTreeMap<Placement, PlacementRecord>,
    flows: u64,
    /// Flows that were made, and whose orders have not left.
    made: Vec<UnitFlow>,
    pub(super) is_stopped: bool,
}

impl Conductor {
    pub(super) fn new(clock: Clock, lease: Millis, grace: Millis) -> Self {
        let mut spec = ServiceSpec::new(web(), ScoreName::new("run-web").unwrap(), "a");
        spec.upkeep.at_most_one = Some(AtMostOne { lease: Some(lease) });
        spec.upkeep.stop = StopRule { grace, ..StopRule::default() };
        let mut engine = Services::recover(Vec::new(), Term(0));
        engine.resume(Timestamp(clock.at(0)), &[], []);
        let mut conductor = Conductor {
            clock,
            engine,
            spec: spec.clone(),
            record: None,
            versions: Vec::new(),
            placements: BTreeMap::new(),
            flows: 0,
            made: Vec::new(),
            is_stopped: false,
        };
        let ask = Ask::Apply {
            services: vec![AppliedService {
                spec,
                spec_bytes: (*b"spec").into(),
                hosts: HostSet::from_names([host()]),
            }],
            take_over: false,
        };
        conductor.ask(0, ask);
        conductor
    }

    fn ask(&mut self, t: u64, ask: Ask) {
        let by = Asker::from_word("alice").unwrap();
        self.handle(t, Input::Asked { reply: ReplyId(1), by, ask });
    }

    fn handle(&mut self, t: u64, input: Input) {
        self.engine.handle(Timestamp(self.clock.at(t)), input);
        self.perform(t);
    }

    fn perform(&mut self, t: u64) {
        loop {
            let effects: Vec<Effect> = self.engine.effects().collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Persist(op) => self.write(op),
                    Effect::Submit(flow) => self.submit(t, *flow),
                    _ => {}
                }
            }
        }
        self.engine.audit().unwrap();
    }

    fn write(&mut self, op: Op) {
        match op {
            Op::Put(Record::Service(record)) => self.record = Some(*record),
            Op::Put(Record::Version(version)) => self.versions.push(version),
            Op::Put(Record::Placement(placed)) => {
                self.placements.clear();
                self.placements.insert(placed.instance.placement, placed);
            }
            _ => {}
        }
    }

    /// Takes a flow; it ends at once, whatever becomes of its order.
    fn submit(&mut self, t: u64, flow: UnitFlow) {
        self.flows += 1;
        let id = FlowId(self.flows);
        let services: Vec<_> = flow.services.iter().map(|it| it.name.clone()).collect();
        let service = services[0].clone();
        self.made.push(flow);
        self.handle(t, Input::Submitted { services, flow: Ok(id) });
        let ended = Input::TaskEnded {
            flow: id,
            service,
            recipe: None,
            host: host(),
            state: TaskState::Ok,
            is_begun: true,
            detail: None,
        };
        self.handle(t, ended);
        self.handle(t, Input::FlowEnded { flow: id, state: FlowState::Ok });
    }

    /// The orders of flows that were made, if they can leave.
    pub(super) fn orders(&mut self, is_attached: bool) -> Vec<Message> {
        if self.is_stopped || !is_attached {
            return Vec::new();
        }
        let mut orders = Vec::new();
        for flow in std::mem::take(&mut self.made) {
            let job = flow.spec.slots.iter().flat_map(|slot| &slot.jobs).next_back();
            let unit = job.and_then(|job| job.unit.clone());
            let instance = self.engine.instance_to_order(&web(), &host());
            if let (Some(unit), Some(instance)) = (unit, instance) {
                orders.push(Message::Ordered(Box::new((*unit).clone()), instance));
            }
        }
        orders
    }

    pub(super) fn attached(&mut self, t: u64, units: Vec<UnitReport>) {
        let (host, units, (offers, room)) = (host(), Some(units), Default::default());
        self.handle(t, Input::PlayerAttached { host, units, offers, room });
    }

    pub(super) fn detached(&mut self, t: u64) {
        self.handle(t, Input::PlayerDetached { host: host() });
    }

    /// The player's session ends because the player does. A conductor that stands still learns of it
    /// later.
    pub(super) fn loses_player(&mut self, t: u64) {
        if !self.is_stopped {
            self.detached(t);
        }
    }

    pub(super) fn told(&mut self, t: u64, report: UnitReport) {
        self.handle(t, Input::UnitTold { host: host(), report });
    }

    pub(super) fn granted(&mut self, t: u64, asked: Leases) -> Option<Leases> {
        let now = Timestamp(self.clock.at(t));
        let leases = self.engine.grant(now, &host(), asked.leases);
        (!leases.is_empty()).then_some(Leases { leases, ..asked })
    }

    /// Another process begins with what is on disk.
    pub(super) fn restart(&mut self, t: u64) {
        let stored = RecoveredService {
            record: self.record.clone().unwrap(),
            versions: self.versions.iter().map(|it| (it.clone(), self.spec.clone())).collect(),
            placements: self.placements.values().cloned().collect(),
        };
        self.engine = Services::recover(vec![stored], Term(0));
        self.engine.resume(Timestamp(self.clock.at(t)), &[], []);
        self.is_stopped = false;
        self.made.clear();
        self.perform(t);
    }

    pub(super) fn placement(&self) -> Option<Placement> {
        self.placements.keys().next_back().copied()
    }

    pub(super) fn replaceable(&mut self, t: u64) -> Replaceable {
        // Time passes for the engine only with what it is told.
        self.handle(t, Input::DrainChanged { hosts: HostSet::default(), drained: false });
        self.engine.replaceable(&web(), &host())
    }

    /// Takes the instance for replaced. Returns whether that was news.
    pub(super) fn replace(&mut self, t: u64) -> bool {
        let is_dead = |it: &PlacementRecord| it.dead;
        let before = self.placements.values().any(is_dead);
        self.ask(t, Ask::DeclareDead { service: web(), ordinal: Ordinal(1) });
        !before && self.placements.values().any(is_dead)
    }
}
