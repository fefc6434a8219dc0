//! Services beside flows: what one engine wants of the other is carried out in the same turn, so that it
//! lies in the same batch.
//!
//! Each input to the services may lead to a flow, whose tasks lead to further inputs. They wait their
//! turn here: what an input led to is carried out before the next one is given.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use orchestra_flow::{
    Answer, Effect as FlowEffect, Input as FlowInput, PlayerIx, ReplyTo, SessionId, Submission,
    answer,
};
use orchestra_model::{
    Deployments, FlowId, HostName, HostSet, ServiceName,
    audit::{AuditRecord, Object},
    delivery::{Order, RequestId},
    deployment::ServiceCell,
    record::{Op, Record},
    service::{ServiceStatus, UnitReport, VersionRecord},
    status::Event,
    thresholds::Excess,
};
use orchestra_proto::v1;
use orchestra_service::{Ask, Effect, Input, Rejection, ReplyId, Services, Taken, UnitFlow};
use prost::Message as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Asked, Driver, Told, outgoing::After};
use crate::{
    declined::{Declined, Ground},
    fleet::Fleet,
};

/// The services, and what waits for its turn with them.
pub(super) struct ServiceDesk {
    engine: Services,
    /// What they are to be told, in order.
    inputs: VecDeque<Input>,
    /// What they want done, in order.
    effects: VecDeque<Effect>,
    /// Their cells are others than those in force.
    recount: bool,
    /// A fleet was loaded, beside whose cells they stand.
    pub(super) has_fleet: bool,
    /// Something is being carried out.
    busy: bool,
    replies: HashMap<ReplyId, (Asked, Told<Taken>)>,
    next_reply: u64,
}

/// What somebody asks about services.
pub(crate) enum ServiceQuestion {
    /// The names of all that were not removed.
    Names(Told<Vec<ServiceName>>),
    /// One, also one that was removed.
    Status(ServiceName, Told<Option<Box<ServiceStatus>>>),
    /// The versions of one that are kept, oldest first; `None` for no such service.
    History(ServiceName, Told<Option<Vec<VersionRecord>>>),
    /// The expression of each version that is kept.
    Expressions(ServiceName, Told<Vec<(orchestra_model::service::ServiceVersion, String)>>),
}

impl ServiceDesk {
    pub(super) fn new(engine: Services) -> Self {
        Self {
            engine,
            inputs: VecDeque::new(),
            effects: VecDeque::new(),
            recount: false,
            has_fleet: false,
            busy: false,
            replies: HashMap::new(),
            next_reply: 1,
        }
    }

    /// Whether some service has a unit on a host, as far as is known.
    pub(super) fn has_units(&self, host: &HostName) -> bool {
        self.engine.placed_on(host).next().is_some()
    }

    /// The deployments of files, with the cells of services.
    pub(super) fn with_cells(&self, deployments: &Deployments) -> Result<Deployments, String> {
        let cells = self.engine.cells().map(|(name, hosts, limit)| {
            (name.clone(), ServiceCell { hosts: hosts.clone(), limit })
        });
        deployments.with_services(cells).map_err(|error| error.to_string())
    }
}

impl Driver {
    /// Goes on with the services as the store has them, before any player attaches.
    pub(super) fn resume_services(&mut self) {
        let now = self.clock.now();
        let living = self.engine.unit_flows();
        let drained = self.engine.roster().all_drained();
        self.services.engine.resume(now, &living, drained);
        self.serve_services();
        // The cells of services come with the fleet that is loaded first.
        self.gather();
    }

    /// Tells the services something, and carries out what follows.
    pub(super) fn tell_services(&mut self, input: Input) {
        self.services.inputs.push_back(input);
        self.serve_services();
    }

    /// Carries out what services want, until they want nothing more.
    pub(super) fn serve_services(&mut self) {
        if std::mem::replace(&mut self.services.busy, true) {
            return;
        }
        loop {
            self.services.effects.extend(self.services.engine.effects());
            if let Some(effect) = self.services.effects.pop_front() {
                self.carry_out(effect);
            } else if let Some(input) = self.services.inputs.pop_front() {
                self.services.engine.handle(self.clock.now(), input);
            } else if self.services.has_fleet && std::mem::take(&mut self.services.recount) {
                self.recount_cells();
            } else {
                break;
            }
        }
        self.services.busy = false;
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Persist(op) => self.outgoing.persist(op),
            Effect::Submit(flow) => {
                let service = flow.service.clone();
                let flow = self.submit_units(*flow);
                self.services.inputs.push_front(Input::Submitted { service, flow });
            }
            Effect::Cancel(flow, by) => {
                // What it comes to is told by its events.
                let _ = self.ask_engine(|reply: ReplyTo<answer::Cancelled>| {
                    FlowInput::CancelRequested { reply, flow, by, abandon: false }
                });
            }
            Effect::RecountCells => self.services.recount = true,
            Effect::Unwell(host, unwell) => {
                if let Some(player) = self.engine.roster().known(&host) {
                    self.handle(FlowInput::UnitsTold { player, unwell });
                }
            }
            Effect::Answer(reply, answer) => self.answer_service(reply, answer),
        }
    }

    /// Takes in a flow that the services want, at once. Why it was not taken, for people.
    fn submit_units(&mut self, flow: UnitFlow) -> Result<FlowId, String> {
        // Cells first: what the flow starts is under the limits of the version that it brings.
        if self.services.has_fleet && std::mem::take(&mut self.services.recount) {
            self.recount_cells();
        }
        let UnitFlow { audience, spec, targets, params, .. } = flow;
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| "the system gives no random number")?;
        let spec_bytes = v1::FlowSpec::from(&spec).encode_to_vec().into();
        let submission = Box::new(Submission {
            request: RequestId(id),
            audience,
            spec,
            spec_bytes,
            targets,
            params,
            retry_of: None,
            mac: None,
            excess: Excess::Capped,
        });
        let answer = self.ask_engine(|reply| FlowInput::FlowSubmitted { reply, submission });
        match answer {
            Some(Answer::Submitted(answer::Submitted { flow, .. })) => Ok(flow),
            Some(Answer::Rejected(rejection)) => Err(rejection.to_string()),
            _ => Err("the scheduler gave no answer".to_owned()),
        }
    }

    /// Gives the engine an input of our own, and takes its answer at once: what follows from that lies
    /// in the same batch.
    pub(super) fn ask_engine<T>(
        &mut self,
        make: impl FnOnce(ReplyTo<T>) -> FlowInput,
    ) -> Option<Answer> {
        let own = self.address();
        self.engine.handle(self.clock.now(), make(ReplyTo::new(own)));
        let mut effects: Vec<FlowEffect> = self.engine.effects().collect();
        let is_ours = |effect: &mut FlowEffect| matches!(effect, FlowEffect::Answer { reply, .. } if *reply == own);
        let answer = effects.extract_if(.., is_ours).next();
        self.sort(effects);
        match answer {
            Some(FlowEffect::Answer { answer, .. }) => Some(answer),
            _ => None,
        }
    }

    /// Puts the cells of services in force, beside those of files.
    fn recount_cells(&mut self) {
        let files = Arc::clone(self.fleet.borrow().deployments());
        match self.services.with_cells(&files) {
            Ok(deployments) => {
                if let Some(rejection) = self.load_deployments(Arc::new(deployments)) {
                    tracing::error!(%rejection, "the cells of services are not in force");
                }
            }
            Err(why) => tracing::error!(why, "the cells of services are not in force"),
        }
    }

    /// Asks for a change of a service; whoever asks is answered when it is on disk, and recorded.
    pub(super) fn ask_service(&mut self, asked: Asked, ask: Ask, reply: Told<Taken>) {
        use super::held::not_begun;
        if let Some(trouble) = self.outgoing.trouble() {
            // Whoever asked may have gone.
            let _ = reply.send(Err(not_begun(trouble)));
            return;
        }
        let orchestra_model::audit::Asker::Audience(by) = asked.by.clone() else {
            let why = "only an audience changes services";
            let _ = reply.send(Err(Declined::new(Ground::Forbidden, why)));
            return;
        };
        let id = ReplyId(self.services.next_reply);
        self.services.next_reply += 1;
        self.services.replies.insert(id, (asked, reply));
        self.tell_services(Input::Asked { reply: id, by, ask });
    }

    fn answer_service(&mut self, id: ReplyId, answer: Result<Taken, Rejection>) {
        let Some((asked, reply)) = self.services.replies.remove(&id) else { return };
        let answer = answer.map_err(|rejection| declined(&rejection));
        if let Ok(taken) = &answer
            && !taken.unchanged
        {
            self.record_service(asked, taken);
        }
        self.outgoing.hold(After::Tell(Box::new(move |fate| {
            // Whoever asked may have gone.
            let _ = reply.send(match fate {
                Ok(()) => answer,
                Err(trouble) => Err(super::held(trouble)),
            });
        })));
    }

    /// Records who changed a service (promise 12).
    fn record_service(&mut self, asked: Asked, taken: &Taken) {
        let Asked { by, reason, verb } = asked;
        self.last_audit += 1;
        let (number, at) = (self.last_audit, self.clock.now());
        let flow = taken.flow.map_or_else(String::new, |flow| format!(", flow {flow}"));
        let answer = format!("version {}{flow}", taken.version).into();
        let on = Object::Service(taken.service.clone());
        let line = AuditRecord { number, at, by, verb, on, reason, answer };
        self.outgoing.persist(Op::Put(Record::Audit(line)));
    }

    pub(super) fn answer_about_services(&mut self, question: ServiceQuestion) {
        let services = &self.services.engine;
        match question {
            ServiceQuestion::Names(reply) => {
                let names = services.names().cloned().collect();
                self.tell_all(reply, names);
            }
            ServiceQuestion::Status(name, reply) => {
                let status = services.status(&name).map(Box::new);
                self.tell_all(reply, status);
            }
            ServiceQuestion::History(name, reply) => {
                let history = services.history(&name);
                self.tell_all(reply, history);
            }
            ServiceQuestion::Expressions(name, reply) => {
                let versions = services.versions(&name);
                self.tell_all(reply, versions);
            }
        }
    }

    /// What an event of a flow means for a service.
    pub(super) fn note_unit_event(&mut self, event: &Event) {
        match event {
            Event::Flow { flow, state }
                if state.is_final() && self.services.engine.is_about(*flow) =>
            {
                let (flow, state) = (*flow, *state);
                self.services.inputs.push_back(Input::FlowEnded { flow, state });
            }
            Event::Task { job, host: Some(host), state, detail, .. }
                if state.is_final() && self.services.engine.is_about(job.flow) =>
            {
                let (flow, host, state) = (job.flow, host.clone(), *state);
                self.services.inputs.push_back(Input::TaskEnded {
                    flow,
                    host,
                    state,
                    detail: detail.clone(),
                });
            }
            _ => {}
        }
    }

    /// Where services are wanted, by the files of a fleet that is in force from now on.
    pub(super) fn resolve_services(&mut self, fleet: &Fleet, may_leave: bool) {
        let expressions = self.services.engine.expressions();
        let hosts: BTreeMap<ServiceName, Result<HostSet, String>> = expressions
            .map(|(name, on)| {
                let hosts = HostSet::parse(on, fleet).map_err(|error| error.to_string());
                (name.clone(), hosts)
            })
            .collect();
        if !hosts.is_empty() {
            self.tell_services(Input::FleetLoaded { hosts, may_leave });
        }
    }

    /// An order about a unit, of the instance that its player has now: a spool may have been wiped since
    /// its flow was made.
    pub(super) fn with_instance(&mut self, order: Order, player: PlayerIx) -> Order {
        if order.instance.is_none() {
            return order;
        }
        let service = self.engine.service_of(order.key.job);
        let host = self.engine.roster().host(player);
        let services = &mut self.services.engine;
        let instance = service.and_then(|name| services.instance_to_order(name, host));
        Order { instance: instance.or(order.instance), ..order }
    }

    /// Players were drained, or are drained no more.
    pub(super) fn note_drained(&mut self, hosts: &HostSet) {
        let roster = self.engine.roster();
        let is_drained = |host: &&HostName| {
            roster.known(host).is_some_and(|player| roster.drained(player).is_some())
        };
        let (drained, others): (Vec<_>, Vec<_>) = hosts.iter().partition(is_drained);
        for (hosts, drained) in [(drained, true), (others, false)] {
            if !hosts.is_empty() {
                let hosts = HostSet::from_names(hosts.into_iter().cloned());
                self.services.inputs.push_back(Input::DrainChanged { hosts, drained });
            }
        }
    }

    /// A player attached and told all its units. One that is quarantined counts as absent.
    pub(super) fn units_attached(&mut self, player: PlayerIx, units: Option<Vec<UnitReport>>) {
        let roster = self.engine.roster();
        let host = roster.host(player).clone();
        let input = match roster.why_quarantined(player) {
            None => Input::PlayerAttached { host, units },
            Some(_) => Input::PlayerDetached { host },
        };
        self.tell_services(input);
    }

    /// Units of a player changed; as far as this is its present session.
    pub(super) fn units_told(
        &mut self,
        player: PlayerIx,
        session: SessionId,
        units: Vec<UnitReport>,
    ) {
        if units.is_empty() || self.engine.roster().session(player) != Some(session) {
            return;
        }
        let host = self.engine.roster().host(player).clone();
        for report in units {
            let host = host.clone();
            self.services.inputs.push_back(Input::UnitTold { host, report });
        }
        self.serve_services();
    }
}

fn declined(rejection: &Rejection) -> Declined {
    let ground = match rejection {
        Rejection::Invalid(_) | Rejection::NotItsHosts(..) | Rejection::LinkOfLink(..) => {
            Ground::Invalid
        }
        Rejection::UnknownService(_) | Rejection::NoVersion(..) | Rejection::NoStrangers(_) => {
            Ground::Unknown
        }
        Rejection::NoHosts(_) => Ground::NoHosts,
        Rejection::TooMany(_) => Ground::TooMuch,
        Rejection::Removed(_)
        | Rejection::Stopped(_)
        | Rejection::IsLinkedTo(..)
        | Rejection::Changing(..)
        | Rejection::Paused(..)
        | Rejection::NoReload(_)
        | Rejection::NoRuns(_) => Ground::Prevented,
    };
    Declined::new(ground, rejection.to_string())
}
