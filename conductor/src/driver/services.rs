//! Services beside flows: an effect of one engine that is an input of the other is carried out in
//! the same turn, so that both are in the same batch.
//!
//! Each input to the services may lead to a flow, whose tasks lead to further inputs. Those wait
//! here: the effects of an input are carried out before the next input is given.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use orchestra_flow::{
    Answer, Effect as FlowEffect, Input as FlowInput, PlayerIx, ReplyTo, SessionId, Submission,
    answer,
};
use orchestra_model::{
    Deployments, FlowId, HostName, HostSet, ServiceName, Timestamp,
    audit::{Asker, Object, Verb},
    delivery::{Order, RequestId},
    deployment::ServiceCell,
    flow::{FlowSpec, JobSpec},
    score::Offers,
    service::{
        BrakeScope, Cause, FileChange, FileOutcome, FleetZones, Leases, RecipeStep, Room,
        ServicePlan, ServiceStatus, Stranger, UnitReport, VersionRecord,
    },
    status::Event,
    thresholds::Excess,
};
use orchestra_proto::v1::{self, command::Kind};
use orchestra_service::{
    Ask, Effect, FlowService, Input, Rejection, Reply, ReplyId, Services, Taken, UnitFlow,
};
use prost::Message as _;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Asked, Driver, LoadTerms, Told, outgoing::After};
use crate::{
    declined::{Declined, Ground},
    fleet::Fleet,
};

/// The services' engine, and what waits for it.
pub(super) struct ServiceDesk {
    engine: Services,
    /// Inputs that are to be given to it, in order.
    inputs: VecDeque<Input>,
    /// Effects that are to be carried out, in order.
    effects: VecDeque<Effect>,
    /// Whether its cells differ from those in force.
    recount: bool,
    /// Whether a fleet was loaded, with whose cells those of services are put in force.
    pub(super) has_fleet: bool,
    /// Whether effects are being carried out.
    busy: bool,
    replies: HashMap<ReplyId, (Asked, Told<Vec<Taken>>)>,
    /// The flows about services, with what each job is about, by slot and job from 1.
    /// The scheduler does not know it any more when it tells how the last task of a flow ended.
    jobs: BTreeMap<FlowId, BTreeMap<(u16, u16), Changing>>,
    /// What came of the files that were loaded last.
    outcomes: Vec<FileOutcome>,
    next_reply: u64,
}

/// What a job of a flow about services is about: the units of a service, or its recipe.
type Changing = (ServiceName, Option<RecipeStep>);

/// A question about services.
pub(crate) enum ServiceQuestion {
    /// The names of all services that were not removed.
    Names(Told<Vec<ServiceName>>),
    /// The status of a service, even of one that was removed.
    Status(ServiceName, Told<Option<Box<ServiceStatus>>>),
    /// The kept versions of a service, oldest first; `None` if there is no such service.
    History(ServiceName, Told<Option<Vec<VersionRecord>>>),
    /// The fleet by zones, with its brakes.
    Zones(Told<FleetZones>),
    /// Units that no placement explains.
    Strangers(Told<Vec<Stranger>>),
    /// What an ask would do to each of its services.
    Plan(Asker, Box<Ask>, Told<Result<Vec<Planned>, Declined>>),
    /// The expression of each kept version of a service.
    Expressions(ServiceName, Told<Vec<(orchestra_model::service::ServiceVersion, String)>>),
}

/// What an apply would do to a service, with the versions that it is about.
pub(crate) type Planned = (Vec<VersionRecord>, ServicePlan);

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
            jobs: BTreeMap::new(),
            outcomes: Vec::new(),
            next_reply: 1,
        }
    }

    /// Says which services have units on these hosts, and where; `None` if none has.
    pub(super) fn units_on<'a>(&self, hosts: impl Iterator<Item = &'a HostName>) -> Option<String> {
        let mut units: BTreeMap<&ServiceName, Vec<HostName>> = BTreeMap::new();
        for host in hosts {
            for service in self.engine.placed_on(host) {
                units.entry(service).or_default().push(host.clone());
            }
        }
        let told: Vec<String> = units
            .into_iter()
            .map(|(name, hosts)| format!("{name} on {}", HostSet::from_names(hosts).counted()))
            .collect();
        (!told.is_empty()).then(|| told.join(", "))
    }

    /// Resolves the expression of each service in a fleet.
    fn resolve(&self, fleet: &Fleet) -> BTreeMap<ServiceName, Result<HostSet, String>> {
        let resolved = self.engine.expressions().map(|(name, on)| {
            let hosts = HostSet::parse(on, fleet).map_err(|error| error.to_string());
            (name.clone(), hosts)
        });
        resolved.collect()
    }

    /// Says which services would lose more of their hosts than a load allows.
    pub(super) fn left_hosts(&self, fleet: &Fleet, terms: LoadTerms) -> Option<String> {
        let LoadTerms { may_leave, take_over, .. } = terms;
        let hosts = self.resolve(fleet);
        let left = self.engine.check_leaving(&hosts, fleet.services(), take_over, may_leave);
        join(&left)
    }

    /// Says what speaks against the files of services.
    pub(super) fn conflicts(&self, fleet: &Fleet, take_over: bool) -> Option<String> {
        join(&self.engine.check_files(fleet.services(), take_over))
    }

    /// Says that all files of services are gone, if there were any.
    pub(super) fn vanished(&self, fleet: &Fleet) -> Option<String> {
        let vanished = self.engine.check_vanished(fleet.services());
        let named = vanished.iter().map(|(service, file)| format!("service {service} of {file}"));
        let named = named.collect::<Vec<_>>().join(", ");
        (!vanished.is_empty())
            .then(|| format!("services.d is empty or not there, and with it {named}"))
    }

    /// What came of the files that were loaded last.
    pub(super) fn take_outcomes(&mut self) -> Vec<FileOutcome> {
        std::mem::take(&mut self.outcomes)
    }

    /// Returns the deployments of files with the cells of services.
    pub(super) fn with_cells(&self, deployments: &Deployments) -> Result<Deployments, String> {
        let cells = self.engine.cells().map(|(name, hosts, limit)| {
            (name.clone(), ServiceCell { hosts: hosts.clone(), limit })
        });
        deployments.with_services(cells).map_err(|error| error.to_string())
    }
}

impl Driver {
    /// Goes on with the services of the store, before any player attaches.
    pub(super) fn resume_services(&mut self) {
        let now = self.clock.now();
        let living = self.engine.unit_flows();
        for (id, job) in self.engine.unit_jobs() {
            let known = self.services.jobs.entry(id.flow).or_default();
            known.extend(changing(job).map(|changing| ((id.slot, id.job), changing)));
        }
        let drained = self.engine.roster().all_drained();
        self.services.engine.resume(now, &living, drained);
        self.serve_services();
        // The cells of services come with the fleet that is loaded first.
        self.gather();
    }

    /// Gives the services an input, and carries out what follows.
    pub(super) fn tell_services(&mut self, input: Input) {
        self.services.inputs.push_back(input);
        self.serve_services();
    }

    /// Carries out the services' effects until none is left.
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
                let services = flow.services.iter().map(|service| service.name.clone()).collect();
                let flow = self.submit_units(*flow);
                self.services.inputs.push_front(Input::Submitted { services, flow });
            }
            Effect::Cancel(flow, by) => {
                // The flow's events tell what came of it.
                let _ = self.ask_engine(|reply: ReplyTo<answer::Cancelled>| {
                    FlowInput::CancelRequested { reply, flow, by, reason: None, abandon: false }
                });
            }
            Effect::RecountCells => self.services.recount = true,
            Effect::Unwell(host, unwell) => {
                if let Some(player) = self.engine.roster().known(&host) {
                    self.handle(FlowInput::UnitsTold { player, unwell });
                }
            }
            Effect::Suspected(service, suspicion) => {
                tracing::warn!(
                    %service, %suspicion,
                    "the service is suspicious: nothing is done for the health of its units; see \
                     `orc brake`"
                );
            }
            Effect::Believed(service, why) => tracing::info!(%service, "{why}"),
            Effect::Braked(scope, brake) => {
                tracing::warn!(
                    on = %scope, %brake,
                    "many players are away together, so replacements are held back; see `orc brake`"
                );
            }
            Effect::Unbraked(scope, None) => {
                tracing::info!(on = %scope, "so many players are back that replacements go on");
            }
            Effect::Unbraked(scope, Some(by)) => {
                tracing::info!(on = %scope, %by, "the brake is released: replacements go on");
            }
            Effect::FilesTaken(outcomes) => self.take_files(outcomes),
            Effect::Answer(reply, answer) => self.answer_service(reply, answer),
        }
    }

    /// Has the engine take a flow that the services want, at once. If it does not, returns why, for
    /// people.
    fn submit_units(&mut self, flow: UnitFlow) -> Result<FlowId, String> {
        // Cells come first, so that the flow starts under the limits of the version that it brings.
        if self.services.has_fleet && std::mem::take(&mut self.services.recount) {
            self.recount_cells();
        }
        let UnitFlow { services, audience, by_keeper, spec, targets, params } = flow;
        let jobs = jobs_of_services(&spec);
        let mut id = [0; 16];
        SystemRandom::new().fill(&mut id).map_err(|_| "the system gives no random number")?;
        let spec_bytes = v1::FlowSpec::from(&spec).encode_to_vec().into();
        let submission = Box::new(Submission {
            request: RequestId(id),
            audience,
            by_keeper,
            spec,
            spec_bytes,
            targets,
            trees: BTreeMap::new(),
            params,
            kept_params: BTreeMap::new(),
            retry_of: None,
            mac: None,
            excess: Excess::Capped,
        });
        let answer = self.ask_engine(|reply| FlowInput::FlowSubmitted { reply, submission });
        match answer {
            Some(Answer::Submitted(answer::Submitted { flow, .. })) => {
                self.services.jobs.insert(flow, jobs);
                for FlowService { name, cause, version } in
                    services.into_iter().filter(|_| by_keeper)
                {
                    let verb = match cause {
                        Cause::Revert => Verb::ServiceRevert,
                        Cause::Unhealthy | Cause::Age => Verb::ServiceRestart,
                        _ => Verb::ServiceRepair,
                    };
                    let what = format!("version {version}, flow {flow}");
                    self.record_service(Asked::by(Asker::Keeper, verb), name, what);
                }
                Ok(flow)
            }
            Some(Answer::Rejected(rejection)) => Err(rejection.to_string()),
            _ => Err("the scheduler gave no answer".to_owned()),
        }
    }

    /// Gives the engine an input of our own, and takes its answer at once, so that what follows is
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

    /// Asks for a change of a service. The asker is recorded, and answered when the change is on
    /// disk.
    pub(super) fn ask_service(&mut self, asked: Asked, ask: Ask, reply: Told<Vec<Taken>>) {
        use super::held::not_begun;
        if let Some(trouble) = self.outgoing.trouble() {
            // The asker may have gone.
            let _ = reply.send(Err(not_begun(trouble)));
            return;
        }
        let (by, id) = (asked.by.clone(), ReplyId(self.services.next_reply));
        self.services.next_reply += 1;
        self.services.replies.insert(id, (asked, reply));
        self.tell_services(Input::Asked { reply: id, by, ask });
    }

    /// Releases a brake of the fleet or of a zone. The asker is recorded, and answered when that is on
    /// disk.
    pub(super) fn release_brake(&mut self, asked: Asked, scope: &BrakeScope, reply: Told<()>) {
        use super::held::not_begun;
        if let Some(trouble) = self.outgoing.trouble() {
            // The asker may have gone.
            let _ = reply.send(Err(not_begun(trouble)));
            return;
        }
        let released = self.services.engine.release_brake(self.clock.now(), &asked.by, scope);
        if released.is_ok() {
            self.record(asked, Object::Conductor, scope.to_string());
        }
        self.serve_services();
        let released = released.map_err(|rejection| declined(&rejection));
        self.outgoing.hold(After::Tell(Box::new(move |fate| {
            // The asker may have gone.
            let _ = reply.send(match fate {
                Ok(()) => released,
                Err(trouble) => Err(super::held(trouble)),
            });
        })));
    }

    fn answer_service(&mut self, id: ReplyId, answer: Reply) {
        let Some((asked, reply)) = self.services.replies.remove(&id) else { return };
        let answer = answer.map_err(|rejection| declined(&rejection));
        let taken = answer.as_ref().map_or(&[][..], Vec::as_slice);
        for taken in taken.iter().filter(|taken| !taken.unchanged) {
            let flow = taken.flow.map_or_else(String::new, |flow| format!(", flow {flow}"));
            let what = format!("version {}{flow}", taken.version);
            self.record_service(asked.clone(), taken.service.clone(), what);
        }
        self.outgoing.hold(After::Tell(Box::new(move |fate| {
            // The asker may have gone.
            let _ = reply.send(match fate {
                Ok(()) => answer,
                Err(trouble) => Err(super::held(trouble)),
            });
        })));
    }

    /// Keeps what came of files until their loader is answered.
    fn take_files(&mut self, outcomes: Vec<FileOutcome>) {
        for FileOutcome { file, service, version, change } in &outcomes {
            tracing::info!(%service, %version, file = &**file, ?change, "file of a service");
            let what = match change {
                FileChange::Applied => format!("version {version}, {file}"),
                FileChange::Owns => format!("version {version} as it is, {file}"),
                FileChange::Gone => continue,
            };
            let asked = Asked::by(Asker::Files, Verb::ServiceApply);
            self.record_service(asked, service.clone(), what);
        }
        self.services.outcomes = outcomes;
    }

    /// Records who changed a service, and to what (promise 12).
    fn record_service(&mut self, asked: Asked, service: ServiceName, what: String) {
        self.record(asked, Object::Service(service), what);
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
            ServiceQuestion::Zones(reply) => {
                let zones = services.zones();
                self.tell_all(reply, zones);
            }
            ServiceQuestion::Strangers(reply) => {
                let strangers = services.each_stranger().collect();
                self.tell_all(reply, strangers);
            }
            ServiceQuestion::Plan(by, ask, reply) => {
                let planned = services.plan(&by, *ask).map_err(|rejection| declined(&rejection));
                self.tell_all(reply, planned);
            }
            ServiceQuestion::Expressions(name, reply) => {
                let versions = services.versions(&name);
                self.tell_all(reply, versions);
            }
        }
    }

    /// Tells the services an event of a flow that concerns them.
    pub(super) fn note_unit_event(&mut self, event: &Event) {
        match event {
            Event::Flow { flow, state }
                if state.is_final() && self.services.engine.is_about(*flow) =>
            {
                let (flow, state) = (*flow, *state);
                self.services.jobs.remove(&flow);
                self.services.inputs.push_back(Input::FlowEnded { flow, state });
            }
            Event::Task { job, host: Some(host), state, attempt, detail, .. }
                if state.is_final() && self.services.engine.is_about(job.flow) =>
            {
                let jobs = self.services.jobs.get(&job.flow);
                let changing = jobs.and_then(|jobs| jobs.get(&(job.slot, job.job)));
                let Some((service, recipe)) = changing.cloned() else { return };
                let (flow, host, state) = (job.flow, host.clone(), *state);
                let (is_begun, detail) = (*attempt > 0, detail.clone());
                self.services.inputs.push_back(Input::TaskEnded {
                    flow,
                    service,
                    recipe,
                    host,
                    state,
                    is_begun,
                    detail,
                });
            }
            _ => {}
        }
    }

    /// Tells the services what the files of a fleet say, now that the fleet is in force. Files of
    /// services come first, because they may say where a service is wanted.
    pub(super) fn load_services(&mut self, fleet: &Fleet, take_over: bool) {
        self.tell_services(Input::PlayersLoaded { players: fleet.facts() });
        let files = fleet.services().to_vec();
        self.tell_services(Input::FilesLoaded { files, take_over });
        let hosts = self.services.resolve(fleet);
        if !hosts.is_empty() {
            self.tell_services(Input::FleetLoaded { hosts });
        }
    }

    /// Returns an order about a unit with the instance that its player has now. The instance may
    /// differ from that of the flow, because the player's spool was wiped since.
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

    /// Tells the services which players are drained, or not drained any more.
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

    /// Tells the services that a player attached, with all its units. A quarantined player counts
    /// as absent.
    pub(super) fn units_attached(
        &mut self,
        player: PlayerIx,
        units: Option<Vec<UnitReport>>,
        offers: Offers,
        room: Room,
    ) {
        let roster = self.engine.roster();
        let host = roster.host(player).clone();
        let input = match roster.why_quarantined(player) {
            None => Input::PlayerAttached { host, units, offers, room },
            Some(_) => Input::PlayerDetached { host },
        };
        self.tell_services(input);
    }

    /// When the services have something to do without an input.
    pub(super) fn services_due(&self) -> Option<Timestamp> {
        self.services.engine.next_deadline()
    }

    /// Has the services do what is due.
    pub(super) fn advance_services(&mut self) {
        self.services.engine.advance_to(self.clock.now());
        self.serve_services();
    }

    /// Grants leases that a player asks for, if this is its present session. A player that is
    /// quarantined gets none, and a store that may be an old copy gives none: neither knows what others
    /// were told.
    pub(super) fn grant_leases(&mut self, player: PlayerIx, id: SessionId, asked: Leases) {
        let roster = self.engine.roster();
        let is_present = roster.session(player) == Some(id);
        let is_doubted = roster.why_quarantined(player).is_some() || self.engine.stale().is_some();
        if !is_present || is_doubted {
            return;
        }
        let host = roster.host(player).clone();
        let Leases { asked_at, leases } = asked;
        let leases = self.services.engine.grant(self.clock.now(), &host, leases);
        if let Some(session) = self.sessions.get(&id)
            && !leases.is_empty()
        {
            let granted = Leases { asked_at, leases };
            session.outbox.command(session.header, Kind::Leases((&granted).into()));
        }
    }

    /// Tells the services changed units of a player, if this is its present session.
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

/// Joins texts to one line; `None` if there is none.
fn join(told: &[impl ToString]) -> Option<String> {
    let told: Vec<String> = told.iter().map(ToString::to_string).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// Returns what each job is about, by slot and job from 1.
fn jobs_of_services(spec: &FlowSpec) -> BTreeMap<(u16, u16), Changing> {
    let mut jobs = BTreeMap::new();
    for (slot, of_slot) in (1..).zip(&spec.slots) {
        for (nth, job) in (1..).zip(&of_slot.jobs) {
            jobs.extend(changing(job).map(|changing| ((slot, nth), changing)));
        }
    }
    jobs
}

fn changing(job: &JobSpec) -> Option<Changing> {
    Some((job.service()?.clone(), job.recipe.as_ref().map(|recipe| recipe.step)))
}

fn declined(rejection: &Rejection) -> Declined {
    let ground = match rejection {
        Rejection::Invalid(_)
        | Rejection::Twice(_)
        | Rejection::NotItsHosts(..)
        | Rejection::LinkOfLink(..)
        | Rejection::OtherLayout(..)
        | Rejection::MayBeTwice(_) => Ground::Invalid,
        Rejection::UnknownService(_)
        | Rejection::NoVersion(..)
        | Rejection::NoInstance(..)
        | Rejection::NoStrangers(_) => Ground::Unknown,
        Rejection::NoHosts(_) => Ground::NoHosts,
        Rejection::TooMany(_) => Ground::TooMuch,
        Rejection::Removed(_)
        | Rejection::NoBrake(_)
        | Rejection::NotBraked(_)
        | Rejection::Stopped(_)
        | Rejection::IsLinkedTo(..)
        | Rejection::Changing(..)
        | Rejection::Paused(..)
        | Rejection::NoReload(_)
        | Rejection::NotPlaced(_)
        | Rejection::NoRuns(_)
        | Rejection::Alive(..)
        | Rejection::OfFile(..)
        | Rejection::StillFiled(..)
        | Rejection::Busy(..) => Ground::Prevented,
    };
    Declined::new(ground, rejection.to_string())
}
