//! A fleet without daemons: players that keep what they are ordered, and flows that do at once what they
//! are to do.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use orchestra_model::{
    Asker, FlowId, FlowState, HostName, HostSet, JobName, Millis, Quantity, ScoreName, ServiceName,
    TaskState, Timestamp,
    delivery::{OrderNumber, Term},
    flow::JobSpec,
    names::{LabelKey, LabelValue},
    record::{Op, Record},
    score::{Offers, ScoreHash, ScoreOffer, ScoreSpec},
    service::{
        AbsenceRule, AtMostOne, BrakeScope, Brakes, Cause, FileOutcome, HealthRule, Instance,
        InstanceStatus, Labels, Layout, OnUnhealthy, Ordinal, PlaceRule, Placement,
        PlacementRecord, PlayerFacts, Probe, Recipe, RecipeStep, Room, RunEnd, RunNumber,
        ServicePlan, ServiceRecord, ServiceSpec, ServiceStatus, ServiceVersion, Spread, Stranger,
        Suspicion, Target, UnitReport, UnitState, Unready, UnwellUnit, VersionRecord, Wanted,
    },
};
use orchestra_service::{
    AppliedService, Ask, Effect, FileConflict, FiledService, Input, RecoveredService, Rejection,
    Released, Reply, ReplyId, Services, Taken, UnitFlow,
};

pub(crate) struct World {
    pub(crate) engine: Services,
    now: u64,
    next_flow: u64,
    next_reply: u64,
    next_order: u64,
    /// The term of the last recovery from an old copy.
    pub(crate) recovered: Term,
    /// What is on disk.
    pub(crate) disk: Disk,
    /// The units of each player, attached or not.
    pub(crate) units: BTreeMap<HostName, BTreeMap<ServiceName, UnitReport>>,
    pub(crate) attached: BTreeSet<HostName>,
    /// Flows that live, oldest first.
    pub(crate) flows: Vec<(FlowId, UnitFlow)>,
    /// The hosts with which a flow is done, and how many failed, by slot and job.
    done: BTreeSet<(FlowId, ServiceName, Option<RecipeStep>, HostName)>,
    /// What ended otherwise than ok.
    not_ok: BTreeSet<(FlowId, JobName, HostName)>,
    /// For which version each host was prepared last.
    pub(crate) prepared: BTreeMap<(ServiceName, HostName), ServiceVersion>,
    /// Hosts that were cleaned up, one by one.
    pub(crate) cleaned: Vec<HostName>,
    /// Hosts where no recipe ends well.
    pub(crate) unpreparable: BTreeSet<HostName>,
    failed: BTreeMap<(FlowId, usize, usize), u32>,
    pub(crate) cancelled: BTreeSet<FlowId>,
    pub(crate) unwell: BTreeMap<HostName, Vec<UnwellUnit>>,
    /// Hosts where a version (or any) does not become ready.
    pub(crate) bad: BTreeSet<(HostName, u64)>,
    /// What is installed as the score of `web`, where it is not 0.
    pub(crate) installed: BTreeMap<HostName, u8>,
    /// When the run of each unit began, by placement and number.
    begun: BTreeMap<(HostName, ServiceName), (Placement, RunNumber, u64)>,
    /// Whether players are of a release that does not tell how old runs are.
    pub(crate) is_silent_of_ages: bool,
    /// Hosts where no run stays healthy.
    pub(crate) hanging: BTreeSet<HostName>,
    pub(crate) drained: BTreeSet<HostName>,
    /// The players of the file that was read last, and those that offered the score when they
    /// attached last.
    pub(crate) players: BTreeSet<HostName>,
    file: BTreeMap<HostName, PlayerFacts>,
    /// The zone of each, and who was ever there.
    pub(crate) zones: BTreeMap<HostName, Option<LabelValue>>,
    pub(crate) met: BTreeSet<HostName>,
    /// What is held back, as it is logged.
    pub(crate) braked: BTreeSet<BrakeScope>,
    /// When instances of `web` were replaced, and how many.
    pub(crate) replaced: Vec<(u64, u64)>,
    /// When the conductor started last.
    started: u64,
    pub(crate) offering: BTreeSet<HostName>,
    /// Hosts that refuse every order to run something.
    pub(crate) refusing: BTreeSet<HostName>,
    /// Why flows are refused, while they are.
    pub(crate) refuses: Option<String>,
    /// Hosts whose run got a signal, one by one.
    pub(crate) signalled: Vec<HostName>,
    /// Every run that there was: its placement and number.
    runs: BTreeSet<(ServiceName, Placement, RunNumber)>,
    answers: BTreeMap<ReplyId, Reply>,
    /// How often the health of a service was suspected, and why it was believed again last.
    pub(crate) suspected: usize,
    pub(crate) believed: Option<Released>,
    /// When a unit of a suspicious service was tried last.
    tried_at: u64,
    /// What came of the files that were loaded last.
    pub(crate) taken: Vec<FileOutcome>,
    /// Everything that was persisted.
    pub(crate) writes: usize,
    /// Whether somebody asked for new runs on all hosts, and the flow may be made yet.
    pub(crate) restarts_all: bool,
}

/// What a store keeps.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    services: BTreeMap<ServiceName, ServiceRecord>,
    versions: BTreeMap<(ServiceName, ServiceVersion), VersionRecord>,
    placements: BTreeMap<(ServiceName, HostName), PlacementRecord>,
    brakes: Brakes,
}

impl Disk {
    fn read(&self) -> Vec<RecoveredService> {
        let recovered = |record: &ServiceRecord| {
            let versions = self.versions.iter().filter(|((name, _), _)| *name == record.name);
            let placements = self.placements.iter().filter(|((name, _), _)| *name == record.name);
            RecoveredService {
                record: record.clone(),
                versions: versions.map(|(_, kept)| (kept.clone(), decode(kept))).collect(),
                placements: placements.map(|(_, kept)| kept.clone()).collect(),
            }
        };
        self.services.values().map(recovered).collect()
    }
}

impl World {
    pub(crate) fn new() -> Self {
        let mut engine = Services::recover(Vec::new(), Term(0));
        engine.resume(Timestamp(1), &[], []);
        let mut world = Self {
            engine,
            now: 1,
            next_flow: 1,
            next_reply: 1,
            next_order: 1,
            recovered: Term(0),
            disk: Disk::default(),
            units: BTreeMap::new(),
            attached: BTreeSet::new(),
            flows: Vec::new(),
            done: BTreeSet::new(),
            not_ok: BTreeSet::new(),
            prepared: BTreeMap::new(),
            cleaned: Vec::new(),
            unpreparable: BTreeSet::new(),
            failed: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            unwell: BTreeMap::new(),
            bad: BTreeSet::new(),
            installed: BTreeMap::new(),
            begun: BTreeMap::new(),
            is_silent_of_ages: false,
            hanging: BTreeSet::new(),
            drained: BTreeSet::new(),
            players: BTreeSet::new(),
            file: BTreeMap::new(),
            zones: BTreeMap::new(),
            met: BTreeSet::new(),
            braked: BTreeSet::new(),
            replaced: Vec::new(),
            started: 1,
            offering: BTreeSet::new(),
            refusing: BTreeSet::new(),
            refuses: None,
            signalled: Vec::new(),
            runs: BTreeSet::new(),
            answers: BTreeMap::new(),
            suspected: 0,
            believed: None,
            tried_at: 0,
            taken: Vec::new(),
            writes: 0,
            restarts_all: false,
        };
        world.perform();
        world
    }

    pub(crate) fn handle(&mut self, mut input: Input) {
        self.now += 1;
        match &mut input {
            Input::UnitTold { host, report } => self.tell_age(host, report),
            Input::PlayerAttached { host, units, .. } => {
                units.iter_mut().flatten().for_each(|report| self.tell_age(host, report));
            }
            _ => {}
        }
        if let Input::DrainChanged { hosts, drained } = &input {
            for host in hosts {
                match drained {
                    true => self.drained.insert(host.clone()),
                    false => self.drained.remove(host),
                };
            }
        }
        self.engine.handle(Timestamp(self.now), input);
        self.perform();
    }

    /// A player tells how old the run is that it reports.
    fn tell_age(&mut self, host: &HostName, report: &mut UnitReport) {
        let run = (report.instance.placement, report.run);
        let at = (host.clone(), report.service.clone());
        let begun = self.begun.entry(at).or_insert((run.0, run.1, self.now));
        if (begun.0, begun.1) != run {
            *begun = (run.0, run.1, self.now);
        }
        let age = Millis(self.now - begun.2);
        report.run_age = Some(age).filter(|_| report.state.has_run() && !self.is_silent_of_ages);
    }

    /// How old the run of `web` on a host is, in milliseconds.
    pub(crate) fn age(&self, host: &HostName) -> u64 {
        self.now - self.begun[&(host.clone(), web())].2
    }

    fn perform(&mut self) {
        loop {
            let effects: Vec<Effect> = self.engine.effects().collect();
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Persist(op) => self.write(op),
                    Effect::Submit(flow) => self.submit(*flow),
                    Effect::Cancel(flow, _) => drop(self.cancelled.insert(flow)),
                    Effect::FilesTaken(outcomes) => self.taken = outcomes,
                    Effect::Suspected(name, suspicion) => self.check_suspicion(&name, &suspicion),
                    Effect::Believed(_, why) => self.believed = Some(why),
                    Effect::Braked(scope, _) => drop(self.braked.insert(scope)),
                    Effect::Unbraked(scope, _) => assert!(self.braked.remove(&scope), "{scope}"),
                    Effect::RecountCells => {}
                    Effect::Unwell(host, units) => drop(self.unwell.insert(host, units)),
                    Effect::Answer(reply, answer) => drop(self.answers.insert(reply, answer)),
                }
            }
        }
        self.engine.audit().unwrap();
    }

    /// Time passes, and nothing else happens. What is due is done when it is due.
    pub(crate) fn pass(&mut self, ms: u64) {
        let until = self.now + ms;
        while let Some(due) = self.engine.next_deadline()
            && due.0 <= until
        {
            assert!(due.0 >= self.now, "it was due before: {due:?}");
            self.now = due.0;
            self.engine.advance_to(due);
            self.perform();
        }
        self.now = until;
        self.engine.advance_to(Timestamp(until));
        self.perform();
    }

    /// Time passes while there is no conductor.
    pub(crate) fn down(&mut self, ms: u64) {
        self.now += ms;
    }

    /// So many of those that were ready have turned within half a minute.
    fn check_suspicion(&mut self, name: &ServiceName, suspicion: &Suspicion) {
        self.suspected += 1;
        let attached = self.units.iter().filter(|(host, _)| self.attached.contains(*host));
        let units = attached.filter_map(|(_, units)| units.get(name));
        let unhealthy = units.filter(|unit| unit.state == UnitState::Unhealthy);
        let turned: Vec<u64> = unhealthy.map(|unit| unit.since.0).collect();
        let together =
            |at: &u64| turned.iter().filter(|it| (*at..=at + 30_100).contains(it)).count();
        let most = turned.iter().map(together).max().unwrap_or(0) as u32;
        let Suspicion { failed, of, .. } = *suspicion;
        assert!(most >= failed && failed >= 2 && failed * 2 >= of, "{suspicion:?} of {turned:?}");
    }

    fn submit(&mut self, flow: UnitFlow) {
        flow.spec.check().unwrap();
        self.check_flow(&flow);
        let services = flow.services.iter().map(|it| it.name.clone()).collect();
        let answer = match &self.refuses {
            Some(why) => Err(why.clone()),
            None => {
                let id = FlowId(self.next_flow);
                self.next_flow += 1;
                self.flows.push((id, flow));
                Ok(id)
            }
        };
        self.now += 1;
        self.engine.handle(Timestamp(self.now), Input::Submitted { services, flow: answer });
    }

    /// What is asked of hosts can be done there.
    fn check_flow(&mut self, flow: &UnitFlow) {
        let jobs = flow.spec.slots.iter().zip(&flow.targets);
        let jobs = jobs.flat_map(|(slot, targets)| slot.jobs.iter().zip(targets));
        for (job, hosts) in jobs {
            let Some(unit) = &job.unit else {
                assert!(hosts.iter().all(|host| self.attached.contains(host)), "{flow:?}");
                continue;
            };
            assert_eq!(unit.instances.len(), hosts.len(), "an instance a host: {job:?} {hosts}");
            let (wanted, service) = (unit.wanted, &unit.service);
            let cause = flow.services.iter().find(|it| it.name == *service).unwrap().cause;
            let begins = wanted == Wanted::Running && *service == exporter();
            let is_for_health = wanted == Wanted::Healthy;
            let may_heal = matches!(cause, Cause::Unhealthy | Cause::Repair);
            assert!(!is_for_health || may_heal, "{flow:?}");
            if is_for_health {
                self.check_trial(hosts);
            }
            if let Wanted::Younger(limit) = wanted {
                assert_eq!(cause, Cause::Age);
                self.check_old(service, hosts, limit);
            }
            for host in hosts {
                let unit = self.units.get(host).and_then(|units| units.get(service));
                let is_sick = unit.is_some_and(|unit| {
                    (unit.state, unit.flapping) == (UnitState::Unhealthy, false)
                });
                let is_there = self.attached.contains(host) && !self.drained.contains(host);
                assert!(!is_for_health || (is_sick && is_there), "{host}: {unit:?} in {flow:?}");
                assert!(!begins || self.is_ready(host), "{host} has nothing to be linked to");
                let is_strange = |it: &Stranger| it.report.service == *service && it.host == *host;
                let is_strange = self.engine.each_stranger().any(|it| is_strange(&it));
                assert_eq!(is_strange, cause == Cause::StopStranger, "{host}: {flow:?}");
            }
        }
    }

    /// What gets a new run for its age is well, and as old as its version says, to a tenth.
    fn check_old(&self, service: &ServiceName, hosts: &HostSet, limit: Millis) {
        let max_age = self.max_age(service).unwrap();
        assert_eq!(limit.0, max_age.0 * 9 / 10);
        for host in hosts {
            let unit = &self.units[host][service];
            let is_there = self.attached.contains(host) && !self.drained.contains(host);
            assert!(is_there && unit.state == UnitState::Ready, "{host}: {unit:?}");
            let age = self.now - self.begun[&(host.clone(), service.clone())].2;
            assert!(age >= limit.0, "{host}: {age}");
        }
    }

    /// Of a suspicious service one unit is tried every five minutes.
    fn check_trial(&mut self, hosts: &HostSet) {
        let Some(suspicion) = self.status().record.judged.suspicion else { return };
        assert_eq!(hosts.len(), 1);
        let last = suspicion.at.0.max(self.tried_at);
        assert!(self.now >= last + 300_000, "{last} and {}", self.now);
        self.tried_at = self.now;
    }

    /// Whether players have had their time to come back after the last start.
    pub(crate) fn is_settled(&self) -> bool {
        self.now >= self.started + 45_000
    }

    pub(crate) fn now(&self) -> u64 {
        self.now
    }

    /// After which absence an instance is replaced, by the version that is wanted.
    pub(crate) fn replaces_after(&self) -> Option<Millis> {
        let spec = self.wanted_spec();
        spec.place.and(spec.absent.replace_after)
    }

    /// Whether a living flow is to ask something of `web` on a host yet.
    pub(crate) fn is_awaited(&self, flow: FlowId, host: &HostName) -> bool {
        let of_it = self.flows.iter().filter(|(id, _)| *id == flow).map(|(_, flow)| flow);
        let mut jobs = of_it.flat_map(|flow| {
            let slots = flow.spec.slots.iter().zip(&flow.targets);
            slots.flat_map(|(slot, targets)| slot.jobs.iter().zip(targets))
        });
        let is_target = jobs.any(|(job, hosts)| {
            job.unit.as_ref().is_some_and(|unit| unit.service == web()) && hosts.contains(host)
        });
        is_target
            && !self.cancelled.contains(&flow)
            && !self.done.contains(&(flow, web(), None, host.clone()))
    }

    /// How old a run of a service may become, by the version that is wanted.
    pub(crate) fn max_age(&self, name: &ServiceName) -> Option<Millis> {
        let record = self.disk.services.get(name)?;
        decode(self.disk.versions.get(&(name.clone(), record.version))?).max_age
    }

    /// The version that is wanted.
    pub(crate) fn wanted_spec(&self) -> ServiceSpec {
        let record = &self.disk.services[&web()];
        decode(&self.disk.versions[&(web(), record.version)])
    }

    /// The services that are on disk.
    pub(crate) fn records(&self) -> BTreeMap<ServiceName, ServiceRecord> {
        self.disk.services.clone()
    }

    /// Whether the version that is wanted says that what is unhealthy is restarted.
    pub(crate) fn is_restarted_for_health(&self) -> bool {
        self.wanted_spec().judgement.on_unhealthy == OnUnhealthy::Restart
    }

    /// What was applied as the version that is wanted.
    pub(crate) fn spec_of(&self, service: &ServiceRecord) -> Arc<[u8]> {
        Arc::clone(&self.disk.versions[&(service.name.clone(), service.version)].spec)
    }

    fn write(&mut self, op: Op) {
        self.writes += 1;
        match op {
            Op::Put(Record::Brakes(brakes)) => self.disk.brakes = brakes,
            Op::Put(Record::Service(record)) => {
                self.count_replaced(&record);
                self.disk.services.insert(record.name.clone(), *record);
            }
            Op::Put(Record::Version(version)) => {
                let key = (version.service.clone(), version.version);
                self.disk.versions.insert(key, version);
            }
            Op::Put(Record::Placement(placement)) => {
                let key = (placement.service.clone(), placement.host.clone());
                self.disk.placements.insert(key, placement);
            }
            Op::PruneVersion(name, version) => drop(self.disk.versions.remove(&(name, version))),
            Op::Displace(name, host) => drop(self.disk.placements.remove(&(name, host))),
            other => panic!("{other:?} is not of services"),
        }
    }

    /// However many players are away, and however often the conductor starts: three instances of a
    /// service may be replaced at once, and one more each ten seconds.
    fn count_replaced(&mut self, record: &ServiceRecord) {
        let known = self.disk.services.get(&record.name).map_or(&[][..], |it| &it.events);
        let last = known.last().map(|event| (event.at, event.note.clone()));
        let news = record.events.iter().rev();
        let news = news.take_while(|event| Some((event.at, event.note.clone())) != last);
        for event in news {
            let Some(note) = event.note.as_deref().filter(|note| note.contains(" absent for "))
            else {
                continue;
            };
            let count = note.split_once(" (").unwrap().1.split_once(')').unwrap().0;
            self.replaced.push((event.at.0, count.parse().unwrap()));
        }
        for (from, _) in &self.replaced {
            let within = self.replaced.iter().filter(|(at, _)| at >= from);
            let (last, count) =
                within.fold((*from, 0), |(last, all), (at, n)| (last.max(*at), all + n));
            let most = 3 + (last - from) / 10_000;
            assert!(count <= most, "{count} replaced from {from} to {last}: {:?}", self.replaced);
        }
    }

    /// Every placement that there ever was, by the highest number.
    pub(crate) fn disk_of_placements(&self) -> Placement {
        self.disk.services[&web()].last_placement
    }

    pub(crate) fn release(&mut self, scope: &BrakeScope) -> Result<(), Rejection> {
        self.now += 1;
        let released = self.engine.release_brake(Timestamp(self.now), &alice(), scope);
        self.perform();
        released
    }

    /// What an ask of one service would do.
    pub(crate) fn plan(&self, ask: Ask) -> Result<(Vec<VersionRecord>, ServicePlan), Rejection> {
        self.engine.plan(&alice(), ask).map(|mut all| all.remove(0))
    }

    /// Asks something of one service.
    pub(crate) fn ask(&mut self, ask: Ask) -> Result<Taken, Rejection> {
        self.ask_all(ask).map(|mut all| all.remove(0))
    }

    pub(crate) fn ask_all(&mut self, ask: Ask) -> Reply {
        let reply = ReplyId(self.next_reply);
        self.next_reply += 1;
        self.handle(Input::Asked { reply, by: alice(), ask });
        self.answers.remove(&reply).unwrap()
    }

    pub(crate) fn apply(&mut self, spec: ServiceSpec) -> Taken {
        let hosts = match spec.on.as_str() {
            "" => HostSet::default(),
            on => HostSet::parse_plain(on).unwrap(),
        };
        self.ask(apply(spec, hosts)).unwrap()
    }

    /// Reads these files, if nothing speaks against them.
    pub(crate) fn load(
        &mut self,
        files: Vec<FiledService>,
        take_over: bool,
    ) -> Result<Vec<FileOutcome>, Vec<FileConflict>> {
        let conflicts = self.engine.check_files(&files, take_over);
        if !conflicts.is_empty() {
            return Err(conflicts);
        }
        self.handle(Input::FilesLoaded { files, take_over });
        Ok(std::mem::take(&mut self.taken))
    }

    pub(crate) fn attach(&mut self, hosts: &str) {
        for host in &HostSet::parse_plain(hosts).unwrap() {
            if !self.players.is_empty() && !self.players.contains(host) {
                continue;
            }
            self.attached.insert(host.clone());
            let units = self.units.entry(host.clone()).or_default();
            let units = Some(units.values().cloned().collect());
            self.met.insert(host.clone());
            let offers = self.offers(host);
            match self.refusing.contains(host) {
                true => self.offering.remove(host),
                false => self.offering.insert(host.clone()),
            };
            let room = Room::default();
            self.handle(Input::PlayerAttached { host: host.clone(), units, offers, room });
        }
    }

    /// What a player offers: the scores of `web`, unless it refuses every order to run something.
    fn offers(&self, host: &HostName) -> Offers {
        let spec = match self.refusing.contains(host) {
            true => Err("it is disabled".to_owned()),
            false => Ok(ScoreSpec::default()),
        };
        let offer = |name| ScoreOffer {
            name: ScoreName::new(name).unwrap(),
            hash: Some(self.score_of(host)),
            spec: spec.clone(),
        };
        Offers::from(["install-web", "remove-web", "run-web"].map(offer).to_vec())
    }

    /// What is installed on a host as the score of `web`.
    fn score_of(&self, host: &HostName) -> ScoreHash {
        score(self.installed.get(host).copied().unwrap_or(0))
    }

    /// Installs another score on hosts. Their players tell it when they attach anew.
    pub(crate) fn install(&mut self, hosts: &str, score: u8) {
        for host in &HostSet::parse_plain(hosts).unwrap() {
            self.installed.insert(host.clone(), score);
            if self.attached.contains(host) {
                self.detach(host.as_str());
                self.attach(host.as_str());
            }
        }
    }

    /// A version of `web`, as it is on disk.
    pub(crate) fn version(&self, version: u64) -> &VersionRecord {
        &self.disk.versions[&(web(), ServiceVersion(version))]
    }

    /// The versions of `web` that are on disk.
    pub(crate) fn kept(&self) -> impl Iterator<Item = &VersionRecord> {
        self.disk.versions.values().filter(|version| version.service == web())
    }

    /// Reads a players file: hosts, each with labels behind it.
    pub(crate) fn load_players(&mut self, lines: &[(&str, &str)]) {
        let mut players = BTreeMap::new();
        for (hosts, labels) in lines {
            let labels: Labels = labels
                .split_whitespace()
                .map(|label| label.split_once('=').unwrap())
                .map(|(key, value)| (LabelKey::new(key).unwrap(), LabelValue::new(value).unwrap()))
                .collect();
            let room = Room {
                memory: labels.get("memory").map(|size| size.as_str().parse().unwrap()),
                cpu: labels.get("cpu").map(|cores| cores.as_str().parse().unwrap()),
            };
            let facts = PlayerFacts { labels: Arc::new(labels), room };
            let hosts = HostSet::parse_plain(hosts).unwrap();
            players.extend(hosts.iter().map(|host| (host.clone(), facts.clone())));
        }
        self.players = players.keys().cloned().collect();
        self.file.clone_from(&players);
        let zone = |facts: &PlayerFacts| facts.zone().cloned();
        self.zones = players.iter().map(|(host, it)| (host.clone(), zone(it))).collect();
        self.handle(Input::PlayersLoaded { players });
        // Who does not belong to the fleet has no session.
        let gone: Vec<HostName> = self.attached.difference(&self.players).cloned().collect();
        for host in gone {
            self.detach(host.as_str());
        }
    }

    /// Time goes by.
    pub(crate) fn wait(&mut self, length: Millis) {
        self.now += length.0;
        self.engine.advance_to(Timestamp(self.now));
        self.perform();
    }

    pub(crate) fn detach(&mut self, host: &str) {
        self.attached.remove(&h(host));
        self.handle(Input::PlayerDetached { host: h(host) });
    }

    /// Lets time pass until this moment (ms).
    pub(crate) fn pass_to(&mut self, at: u64) {
        self.now = self.now.max(at.saturating_sub(1));
        self.handle(Input::DrainChanged { hosts: HostSet::default(), drained: false });
    }

    pub(crate) fn wipe(&mut self, host: &str) {
        self.units.remove(&h(host));
    }

    /// A player comes back with a unit of the service that no store of ours ever ordered.
    pub(crate) fn plant(&mut self, host: &str, placement: u64) {
        self.detach(host);
        let instance = Instance { ordinal: Ordinal(1), placement: Placement(placement) };
        let stranger = UnitReport {
            service: web(),
            version: ServiceVersion(placement),
            instance,
            order: OrderNumber(placement),
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
        };
        self.units.entry(h(host)).or_default().insert(web(), stranger);
        self.attach(host);
    }

    /// Where strangers are.
    pub(crate) fn strangers(&self) -> Vec<String> {
        self.engine.each_stranger().map(|stranger| stranger.host.to_string()).collect()
    }

    /// A unit changes by itself.
    pub(crate) fn turn(&mut self, host: &str, state: UnitState, last_end: Option<RunEnd>) {
        let host = h(host);
        let installed = self.score_of(&host);
        let unit = self.units.get_mut(&host).unwrap().get_mut(&web()).unwrap();
        // A run that there was not is a new one.
        let runs = unit.score_hash.unwrap_or(installed);
        unit.score_hash = state.has_run().then_some(runs);
        if unit.state != state {
            unit.since = Timestamp(self.now);
        }
        (unit.state, unit.last_end) = (state, last_end);
        let report = unit.clone();
        if self.attached.contains(&host) {
            self.handle(Input::UnitTold { host: host.clone(), report });
        }
        self.follow_link(&host);
    }

    /// A unit flaps no more.
    pub(crate) fn calm(&mut self, host: &str) {
        let host = h(host);
        let Some(unit) = self.units.get_mut(&host).and_then(|units| units.get_mut(&web())) else {
            return;
        };
        (unit.turns, unit.flapping) = (0, false);
        let report = unit.clone();
        if self.attached.contains(&host) {
            self.handle(Input::UnitTold { host, report });
        }
    }

    /// A player begins what waits for the unit that it is linked to, once that is ready, and ends what
    /// is linked before an order ends that one.
    fn follow_link(&mut self, host: &HostName) {
        let Some(units) = self.units.get_mut(host) else { return };
        let other = units.get(&web()).map(|unit| unit.state);
        let Some(unit) = units.get_mut(&exporter()) else { return };
        let waits = unit.state == UnitState::AwaitingLinked;
        unit.state = match other {
            Some(UnitState::Ready) if waits => {
                unit.run = unit.run.next();
                let run = (exporter(), unit.instance.placement, unit.run);
                assert!(self.runs.insert(run), "a run came twice");
                UnitState::Ready
            }
            None | Some(UnitState::Stopped) if unit.state == UnitState::Ready => {
                UnitState::AwaitingLinked
            }
            _ => return,
        };
        let report = unit.clone();
        if self.attached.contains(host) {
            self.handle(Input::UnitTold { host: host.clone(), report });
        }
    }

    /// Lets the oldest flow do all that it can, and end; gives how.
    pub(crate) fn run_flow(&mut self) -> FlowState {
        self.run_flow_at(0)
    }

    /// Lets a flow do all that it can, and end; gives how.
    pub(crate) fn run_flow_at(&mut self, place: usize) -> FlowState {
        self.run_tasks(place, usize::MAX);
        let (id, flow) = self.flows.remove(place);
        let slots = flow.spec.slots.len();
        let is_doomed = (0..slots).any(|slot| self.is_slot_doomed(id, &flow, slot));
        let state = match (self.cancelled.contains(&id), is_doomed) {
            (true, _) => FlowState::Cancelled,
            (false, true) => FlowState::Failed,
            (false, false) => FlowState::Ok,
        };
        self.handle(Input::FlowEnded { flow: id, state });
        state
    }

    /// Whether too many hosts of a job in this slot have failed: then no later slot begins.
    fn is_slot_doomed(&self, id: FlowId, flow: &UnitFlow, slot: usize) -> bool {
        let jobs = flow.spec.slots[slot].jobs.iter().zip(&flow.targets[slot]).enumerate();
        jobs.into_iter().any(|(nth, (job, hosts))| {
            let most = job.max_failures.unwrap_or(Quantity::Count(0));
            self.failed_of(id, slot, nth) > most.floor_of(hosts.len() as u32)
        })
    }

    fn failed_of(&self, flow: FlowId, slot: usize, job: usize) -> u32 {
        self.failed.get(&(flow, slot, job)).copied().unwrap_or(0)
    }

    /// Lets a flow do its next tasks, at most so many.
    pub(crate) fn run_tasks(&mut self, place: usize, most: usize) {
        let (id, flow) = self.flows[place].clone();
        let mut left = most;
        for (slot, (jobs, targets)) in flow.spec.slots.iter().zip(&flow.targets).enumerate() {
            if (0..slot).any(|before| self.is_slot_doomed(id, &flow, before)) {
                return;
            }
            for (nth, (job, hosts)) in jobs.jobs.iter().zip(targets).enumerate() {
                let most = job.max_failures.unwrap_or(Quantity::Count(0));
                for at in 0..hosts.len() {
                    let is_doomed =
                        self.failed_of(id, slot, nth) > most.floor_of(hosts.len() as u32);
                    let (service, recipe) = about(job);
                    let task = (id, service.clone(), recipe, hosts.as_slice()[at].clone());
                    if self.done.contains(&task) || self.cancelled.contains(&id) || is_doomed {
                        continue;
                    }
                    if left == 0 {
                        return;
                    }
                    left -= 1;
                    let ended = self.run_task(&task, &flow, job, at);
                    let failed = self.failed.entry((id, slot, nth)).or_default();
                    *failed += u32::from(ended.counts_as_failure());
                    let (flow, service, recipe, host) = task.clone();
                    self.done.insert(task);
                    let refused = ended == TaskState::Refused;
                    let detail = refused.then(|| "no such score".into());
                    let state = ended;
                    let is_begun = !matches!(state, TaskState::Skipped | TaskState::Unreachable);
                    self.handle(Input::TaskEnded {
                        flow,
                        service,
                        recipe,
                        host,
                        state,
                        is_begun,
                        detail,
                    });
                }
            }
        }
    }

    /// Lets a flow do a task, the one of its job at this place.
    fn run_task(
        &mut self,
        (id, service, recipe, host): &(FlowId, ServiceName, Option<RecipeStep>, HostName),
        flow: &UnitFlow,
        job: &JobSpec,
        at: usize,
    ) -> TaskState {
        let not_ok = |name: &JobName| self.not_ok.contains(&(*id, name.clone(), host.clone()));
        let ended = match (&job.unit, recipe) {
            _ if job.only_where_ok.as_ref().is_some_and(not_ok) => TaskState::Skipped,
            _ if !self.attached.contains(host) => TaskState::Unreachable,
            (Some(unit), _) => self.order(host, service.clone(), unit.instances[at], unit),
            (None, Some(step)) => {
                let version = flow.services.iter().find(|it| it.name == *service).unwrap().version;
                self.do_recipe(host, service, *step, version)
            }
            (None, None) => panic!("a job about nothing: {job:?}"),
        };
        if ended != TaskState::Ok {
            self.not_ok.insert((*id, job.name.clone(), host.clone()));
        }
        ended
    }

    /// A recipe of a service is done on a host.
    fn do_recipe(
        &mut self,
        host: &HostName,
        service: &ServiceName,
        step: RecipeStep,
        version: ServiceVersion,
    ) -> TaskState {
        let at = (service.clone(), host.clone());
        if self.unpreparable.contains(host) {
            if step == RecipeStep::Prepare {
                // It may have undone what the version before needs.
                self.prepared.insert(at, ServiceVersion(0));
            }
            return TaskState::Failed;
        }
        match step {
            RecipeStep::Prepare => drop(self.prepared.insert(at, version)),
            RecipeStep::Cleanup => {
                let unit = self.units.get(host).and_then(|units| units.get(service));
                assert_eq!(unit, None, "{host} is cleaned up under what runs there");
                self.prepared.remove(&at);
                self.cleaned.push(host.clone());
            }
        }
        TaskState::Ok
    }

    fn order(
        &mut self,
        host: &HostName,
        service: ServiceName,
        instance: orchestra_model::service::Instance,
        unit: &orchestra_model::service::UnitJob,
    ) -> TaskState {
        self.next_order += 1;
        let runs = unit.wanted.is_to_run();
        if runs && self.refusing.contains(host) {
            return TaskState::Refused;
        }
        let instance = self.engine.instance_to_order(&service, host).unwrap_or(instance);
        self.perform();
        let kept = self.disk.versions.get(&(service.clone(), unit.version));
        let begins = matches!(unit.wanted, Wanted::Running | Wanted::Restarted);
        if begins && kept.and_then(number_of).is_some_and(has_recipes) {
            let prepared = self.prepared.get(&(service.clone(), host.clone()));
            assert_eq!(prepared, Some(&unit.version), "{service} begins unprepared on {host}");
        }
        let is_bad = self.bad.contains(&(host.clone(), unit.version.0));
        let (state, ended) = match unit.wanted {
            Wanted::Stopped => (UnitState::Stopped, TaskState::Ok),
            Wanted::Gone => (UnitState::Gone, TaskState::Ok),
            _ if is_bad => (UnitState::BackingOff, TaskState::Failed),
            _ if self.hanging.contains(host) => (UnitState::Unhealthy, TaskState::TimedOut),
            _ if service == exporter() && !self.is_ready(host) => {
                (UnitState::AwaitingLinked, TaskState::TimedOut)
            }
            _ => (UnitState::Ready, TaskState::Ok),
        };
        let installed = self.score_of(host);
        let alive = self.alive_elsewhere(&service, host, instance.ordinal);
        let begun = self.begun.get(&(host.clone(), service.clone()));
        let age = begun.map(|(.., at)| self.now - at);
        let units = self.units.entry(host.clone()).or_default();
        if units.get(&service).is_some_and(|known| known.instance.placement > instance.placement) {
            // Its sitter fences what is earlier than what it knows: that is the case of strangers alone.
            let mut strangers = self.engine.each_stranger();
            let is_this = |it: Stranger| it.report.service == service && it.host == *host;
            assert!(strangers.any(is_this), "{service} on {host} is outranked: {instance:?}");
            return TaskState::Refused;
        }
        let before = units.get(&service);
        let goes_on = before.filter(|before| {
            let is_alike = (before.version, before.instance) == (unit.version, instance);
            let is_spared = match unit.wanted {
                Wanted::Signalled(_) => true,
                Wanted::Healthy => before.state != UnitState::Unhealthy,
                Wanted::Younger(limit) => age.is_some_and(|age| age < limit.0),
                _ => false,
            };
            is_spared && is_alike && before.state.has_run()
        });
        if goes_on.is_some() && matches!(unit.wanted, Wanted::Signalled(_)) {
            self.signalled.push(host.clone());
        }
        let turns = before.filter(|_| unit.wanted.continues()).map_or(0, |before| before.turns);
        let turns = turns + u32::from(state == UnitState::Unhealthy);
        let next = before.map_or(RunNumber(1), |unit| unit.run.next());
        let run = goes_on.map_or(next, |unit| unit.run);
        if runs && goes_on.is_none() && unit.upkeep.at_most_one.is_some() {
            assert_eq!(alive, None, "{service}/{} begins on {host} as well", instance.ordinal);
        }
        if runs && goes_on.is_none() && state != UnitState::AwaitingLinked {
            let is_new = self.runs.insert((service.clone(), instance.placement, run));
            assert!(is_new, "run {run} of placement {} came twice", instance.placement);
        }
        let goes_on = goes_on.map(|before| before.score_hash);
        let score_hash = goes_on.unwrap_or(Some(installed));
        let report = UnitReport {
            service: service.clone(),
            version: unit.version,
            instance,
            order: OrderNumber(self.next_order),
            state,
            since: Timestamp(self.now),
            run,
            score_hash: score_hash.filter(|_| state.has_run()),
            run_age: None,
            restarts: 0,
            last_end: is_bad.then_some(RunEnd::Exited(1)),
            trouble: None,
            turns,
            flapping: turns >= 4,
        };
        match state {
            UnitState::Gone => drop(units.remove(&service)),
            _ => drop(units.insert(service, report.clone())),
        }
        self.handle(Input::UnitTold { host: host.clone(), report });
        self.follow_link(host);
        ended
    }

    /// Another player, attached or not, with a run of an instance that a person has not declared dead.
    fn alive_elsewhere(
        &self,
        service: &ServiceName,
        host: &HostName,
        ordinal: Ordinal,
    ) -> Option<HostName> {
        let is_dead = |other: &HostName| {
            let record = self.disk.placements.get(&(service.clone(), other.clone()));
            record.is_some_and(|record| record.dead)
        };
        let is_it = |(other, units): &(&HostName, &BTreeMap<ServiceName, UnitReport>)| {
            let unit = units.get(service);
            let has_run = |unit: &UnitReport| {
                // What a test planted is no instance of ours.
                let is_ours = unit.instance.placement.0 < 1 << 40;
                is_ours && unit.instance.ordinal == ordinal && unit.state.has_run()
            };
            *other != host && unit.is_some_and(has_run) && !is_dead(other)
        };
        self.units.iter().find(is_it).map(|(other, _)| other.clone())
    }

    /// The only host on which `web` is wanted.
    pub(crate) fn only_host(&self) -> HostName {
        let hosts = self.status().record.hosts;
        assert_eq!(hosts.len(), 1);
        hosts.iter().next().unwrap().clone()
    }

    /// Whether the unit of `web` on a host is ready, by that host's own word.
    pub(crate) fn is_ready(&self, host: &HostName) -> bool {
        let unit = self.units.get(host).and_then(|units| units.get(&web()));
        unit.is_some_and(|unit| unit.state == UnitState::Ready)
    }

    /// Runs flows until none lives; gives how each ended.
    pub(crate) fn settle(&mut self) -> Vec<FlowState> {
        let mut ended = Vec::new();
        while !self.flows.is_empty() {
            ended.push(self.run_flow());
            assert!(ended.len() < 20, "flows follow flows for ever");
        }
        ended
    }

    /// The conductor dies and starts anew from what is on disk; players attach again.
    pub(crate) fn restart(&mut self) {
        let stored = self.disk.read();
        self.engine = Services::recover(stored, self.recovered);
        self.engine.remember(self.disk.brakes.clone(), self.met.clone());
        let open = |id: FlowId, flow: &UnitFlow, name: &ServiceName| {
            let jobs = flow.spec.slots.iter().flat_map(|slot| &slot.jobs);
            let jobs = jobs.zip(flow.targets.iter().flatten());
            let own = jobs.filter(|(job, _)| about(job).0 == *name);
            let hosts = own.flat_map(|(job, hosts)| hosts.iter().map(|host| (about(job).1, host)));
            let is_open = |(recipe, host): &(Option<RecipeStep>, &HostName)| {
                let task = (id, name.clone(), *recipe, (*host).clone());
                !self.cancelled.contains(&id) && !self.done.contains(&task)
            };
            hosts.filter(is_open).map(|(_, host)| host.clone()).collect()
        };
        let parts = self.flows.iter().flat_map(|(id, flow)| {
            flow.services.iter().map(move |it| (*id, it.name.clone(), open(*id, flow, &it.name)))
        });
        let living: Vec<(FlowId, ServiceName, Vec<HostName>)> = parts.collect();
        self.unwell.clear();
        self.attached.clear();
        self.started = self.now;
        let drained = self.drained.clone();
        self.engine.resume(Timestamp(self.now), &living, drained);
        self.perform();
        // A conductor reads its files before it takes any player in.
        if !self.file.is_empty() {
            self.handle(Input::PlayersLoaded { players: self.file.clone() });
        }
    }

    pub(crate) fn status(&self) -> ServiceStatus {
        self.engine.status(&web()).unwrap()
    }

    pub(crate) fn instance(&self, host: &str) -> InstanceStatus {
        let all = self.status().instances;
        all.into_iter().find(|instance| instance.host == h(host)).unwrap()
    }

    /// Why the service counts as down on a host, if it does.
    pub(crate) fn unready(&self, host: &str) -> Option<Unready> {
        let units = self.unwell.get(&h(host))?;
        units.iter().find(|unit| unit.service == web()).map(|unit| unit.unready)
    }

    /// The version that each host's unit is of, and whether it is ready.
    pub(crate) fn versions(&self) -> Vec<(String, u64, UnitState)> {
        let units = self.units.iter().filter_map(|(host, units)| Some((host, units.get(&web())?)));
        units.map(|(host, unit)| (host.to_string(), unit.version.0, unit.state)).collect()
    }
}

/// The content of a score, by number.
pub(crate) fn score(n: u8) -> ScoreHash {
    ScoreHash([n; 32])
}

pub(crate) fn h(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

/// The service that a job is about, and which recipe of it; `None` for its units.
fn about(job: &JobSpec) -> (ServiceName, Option<RecipeStep>) {
    match (&job.unit, &job.recipe) {
        (Some(unit), None) => (unit.service.clone(), None),
        (None, Some(recipe)) => (recipe.service.clone(), Some(recipe.step)),
        _ => panic!("a job about nothing, or two things: {job:?}"),
    }
}

pub(crate) fn web() -> ServiceName {
    ServiceName::new("web").unwrap()
}

/// The one that is linked to it.
pub(crate) fn exporter() -> ServiceName {
    ServiceName::new("exporter").unwrap()
}

/// A service `exporter` that is linked to `web`; `n` makes one differ from another.
pub(crate) fn linked(n: u32) -> ServiceSpec {
    let mut spec = spec("", n);
    (spec.name, spec.upkeep.linked_to) = (exporter(), Some(web()));
    spec
}

pub(crate) fn alice() -> Asker {
    Asker::from_word("alice").unwrap()
}

/// How old a run may become of a service to which that matters.
pub(crate) const MAX_AGE: Millis = Millis::minutes(30);

/// A service `web` on these hosts; `n` makes one differ from another. Each third is restarted where it
/// is unhealthy, each sixth with suspicion; runs of each fifth may not be older than [`MAX_AGE`]. Each
/// tenth from the eighth on has recipes.
pub(crate) fn spec(on: &str, n: u32) -> ServiceSpec {
    let params = [("n".to_owned(), n.to_string())];
    let mut spec = ServiceSpec {
        params: orchestra_model::Params::from_pairs(params).unwrap(),
        ..ServiceSpec::new(web(), ScoreName::new("run-web").unwrap(), on)
    };
    if n.is_multiple_of(5) {
        spec.max_age = Some(MAX_AGE);
    }
    if has_recipes(n) {
        let recipe = |score| Recipe {
            score: ScoreName::new(score).unwrap(),
            params: orchestra_model::Params::default(),
        };
        (spec.prepare, spec.cleanup) = (Some(recipe("install-web")), Some(recipe("remove-web")));
    }
    if n.is_multiple_of(3) {
        spec.upkeep.health = Some(HealthRule::new(Probe::Tcp(Target::Port(80))));
        spec.judgement.on_unhealthy = OnUnhealthy::Restart;
        spec.judgement.panic = spec.judgement.panic.filter(|_| n.is_multiple_of(2));
    }
    spec
}

/// After how long an instance is replaced in what [`placed`] makes.
pub(crate) fn replace_after(n: u32) -> Option<Millis> {
    match n % 4 {
        0 => Some(Millis(0)),
        1 => AbsenceRule::default().replace_after,
        2 => None,
        _ => Some(Millis::seconds(30)),
    }
}

/// A service `web` of so many instances; `n` makes one differ from another. Each second one, but for the
/// first, begins one more instance for each version.
pub(crate) fn placed(count: u32, n: u32) -> ServiceSpec {
    let rule =
        PlaceRule { layout: Layout::Count(count), require: Labels::new(), spread: Spread::Zone };
    let absent = AbsenceRule { replace_after: replace_after(n) };
    let mut spec = ServiceSpec { place: Some(rule), absent, ..spec("", n) };
    spec.update.surge = u32::from(n > 3 && n.is_multiple_of(2));
    spec.upkeep.at_most_one = (n > 4 && n % 4 == 3).then_some(AtMostOne { lease: None });
    spec
}

pub(crate) fn apply(spec: ServiceSpec, hosts: HostSet) -> Ask {
    // Enough to make the spec again: where it is, its one parameter, and what makes it at most one.
    let n = spec.params.iter().map(|(_, value)| value.to_owned()).next().unwrap();
    let at_most_one = spec
        .upkeep
        .at_most_one
        .map(|it| format!(" {} {}", spec.upkeep.stop.grace.0, it.lease.unwrap_or_default().0));
    let spec_bytes = format!("{} {n}{}", where_of(&spec), at_most_one.unwrap_or_default());
    let spec_bytes = spec_bytes.into_bytes().into();
    let services = vec![AppliedService { spec, spec_bytes, hosts }];
    Ask::Apply { services, take_over: false }
}

/// Joins asks that apply something to one that applies all of it.
pub(crate) fn together(asks: impl IntoIterator<Item = Ask>) -> Ask {
    let mut all = Vec::new();
    for ask in asks {
        let Ask::Apply { services, .. } = ask else { panic!("it applies nothing: {ask:?}") };
        all.extend(services);
    }
    Ask::Apply { services: all, take_over: false }
}

/// Where a service is to be, in one word: its host set, `#3` for three instances, `` if it is linked.
fn where_of(spec: &ServiceSpec) -> String {
    match &spec.place {
        Some(rule) => format!("#{}", rule.layout),
        None => spec.on.clone(),
    }
}

/// A file that says that service `web` is on these hosts; `n` makes one content differ from another.
pub(crate) fn filed(file: &str, on: &str, n: u32) -> FiledService {
    let hosts = HostSet::parse_plain(on).unwrap();
    FiledService { hosts, ..filed_as(file, on, n) }
}

fn filed_as(file: &str, on: &str, n: u32) -> FiledService {
    let mut content = [0; 32];
    let meaning = format!("{on} {n}").into_bytes();
    content[..meaning.len()].copy_from_slice(&meaning);
    FiledService {
        file: file.into(),
        spec: spec(on, n),
        spec_bytes: meaning.into(),
        content,
        hosts: HostSet::default(),
    }
}

/// A file that says that `exporter` is linked to `web`.
pub(crate) fn filed_linked(n: u32) -> FiledService {
    let hosts = HostSet::default();
    FiledService { spec: linked(n), hosts, ..filed_as("services.d/exporter.yaml", "", n) }
}

/// Whether that service, `n`, has recipes.
fn has_recipes(n: u32) -> bool {
    n % 10 == 8
}

/// What made a version differ from others, where its place is one word.
fn number_of(record: &VersionRecord) -> Option<u32> {
    std::str::from_utf8(&record.spec).ok()?.split(' ').nth(1)?.parse().ok()
}

fn decode(record: &VersionRecord) -> ServiceSpec {
    let text = std::str::from_utf8(&record.spec).unwrap();
    let (on, rest) = text.split_once(' ').unwrap();
    let mut words = rest.split(' ');
    let n = words.next().unwrap().parse().unwrap();
    let mut spec = match on.strip_prefix('#') {
        Some(count) => placed(count.parse().unwrap(), n),
        None if on.is_empty() => linked(n),
        None => spec(on, n),
    };
    if let Some(grace) = words.next() {
        spec.upkeep.stop.grace = Millis(grace.parse().unwrap());
    }
    let lease = words.next().and_then(|lease| lease.parse().ok()).map(Millis);
    spec.upkeep.at_most_one =
        lease.map(|lease| AtMostOne { lease: Some(lease).filter(|lease| *lease > Millis(0)) });
    spec.name = record.service.clone();
    spec
}
