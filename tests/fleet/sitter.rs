//! The sitter of an emulated player: the real spool, with time in place of processes and memory in
//! place of a disk.
//!
//! It stands directly behind the player's own link code ([`orchestra_link::serve`]), without a
//! socket between them; both halves are polled by one task, so whatever one of them leaves, the
//! other finds when it is next asked.
//!
//! It keeps a [`Trace`] of every order that it obeys: what was executed, and how often, is told by
//! these and not by what the conductor says of itself.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use orchestra_link::{
    LinkError, Sink, Source,
    ipc::{PayloadTooLong, ToAgent, ToSitter},
};
use orchestra_model::{
    JobId, Millis, ServiceName, Timestamp,
    delivery::{
        AgentSession, AttemptEnd, AttemptKey, EndBytes, Order, OrderNumber, Outcome, Output,
        PlayerSnapshot, SpoolId, StoreId, Term,
    },
    names::ScoreName,
    proof::Mac,
    score::{DEFAULT_TIMEOUT, Interface, Offers},
    service::{RunNumber, ServiceVersion, UnitReport, UnitState},
};
use orchestra_proto::{
    ReadOrder, encode_end, mac_from_wire, order_from_wire, snapshot_to_wire, store_id, v1,
};
use orchestra_spool::{BootId, Effect, Input, Plan, ProcessMark, Snapshot, Spool};
use prost::Message;
use tokio::time::sleep_until;

use crate::{
    crowd::Common,
    delay::{Chance, Delay},
    voice::{LOOKS_EVERY, Reading, Says, over},
};

/// An attempt that was executed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trace {
    pub(crate) job: JobId,
    pub(crate) attempt: u32,
    /// When the order came.
    pub(crate) sent: Instant,
    /// When it was over.
    pub(crate) ended: Option<Instant>,
    /// When the conductor said that the end is on its disk.
    pub(crate) acknowledged: Option<Instant>,
}

/// What stands for a sitter, shared by its two halves and by whoever looks at the traces.
#[derive(Debug)]
pub(crate) struct Sitter {
    common: Arc<Common>,
    number: u64,
    spool: Spool,
    max_tasks: u32,
    delay: Delay,
    chance: Chance,
    /// The session of which the conductor has said welcome.
    welcomed: Option<AgentSession>,
    says: Says,
    /// At most `max_tasks`.
    running: Vec<Running>,
    /// Who reads what attempts write.
    readings: Vec<Reading>,
    /// When readings are looked at again.
    look_at: Instant,
    out: VecDeque<ToAgent>,
    traces: Vec<Trace>,
    /// Places in `traces` of what is not acknowledged.
    open: Vec<(AttemptKey, usize)>,
    /// What the last job parts that are about units ask for, by their digests.
    unit_jobs: VecDeque<(Bytes, v1::UnitJob)>,
    /// The units that it keeps, by the names of their services; each is ready at once.
    units: BTreeMap<String, UnitReport>,
    /// Of the conductor that it last heard of.
    store: Option<StoreId>,
    /// What the conductor did that it must not do.
    pub(crate) violation: Option<String>,
}

/// An attempt that runs.
#[derive(Clone, Copy, Debug)]
struct Running {
    key: AttemptKey,
    since: Instant,
    /// When it is over.
    until: Instant,
}

/// Both halves of the link, and the sitter for whoever drives the crowd.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Sitter>>);

impl Shared {
    /// A sitter whose spool remembers nothing; `number` tells it from all others of this run.
    pub(crate) fn new(common: Arc<Common>, number: u64, max_tasks: u32, delay: Delay) -> Self {
        Self(Arc::new(Mutex::new(Sitter {
            spool: Spool::new(spool_id(common.run, number), max_tasks),
            max_tasks,
            delay,
            chance: Chance::new(number + 1),
            welcomed: None,
            number,
            says: Says::Nothing,
            running: Vec::new(),
            readings: Vec::new(),
            look_at: Instant::now(),
            out: VecDeque::new(),
            traces: Vec::new(),
            open: Vec::new(),
            unit_jobs: VecDeque::new(),
            units: BTreeMap::new(),
            store: None,
            violation: None,
            common,
        })))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Sitter> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a spool remembers of the time before its player was emulated.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Memory {
    /// The last attempt that the conductor of that term acknowledged, with its order.
    pub(crate) last: Option<(AttemptKey, OrderNumber, Term)>,
}

/// The spool of the player of that number.
pub(crate) fn spool_id(run: u64, number: u64) -> SpoolId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&run.to_le_bytes());
    id[8..].copy_from_slice(&number.to_le_bytes());
    SpoolId(id)
}

impl Source for Shared {
    async fn receive(&mut self) -> Result<ToAgent, LinkError> {
        loop {
            if let Some(frame) = self.ready()? {
                return Ok(frame);
            }
            let next = self.lock().next();
            match next {
                Some(at) => sleep_until(at.into()).await,
                // Whatever happens next comes through the other half, in the same task.
                None => std::future::pending().await,
            }
        }
    }

    fn ready(&mut self) -> Result<Option<ToAgent>, LinkError> {
        let mut sitter = self.lock();
        if sitter.out.is_empty() {
            sitter.end_what_is_over();
            sitter.tell_readings();
        }
        Ok(sitter.out.pop_front())
    }

    fn is_closed(&self) -> bool {
        false
    }
}

impl Sink for Shared {
    fn push(&mut self, frame: ToSitter) -> Result<(), PayloadTooLong> {
        self.lock().hear(frame);
        Ok(())
    }

    fn queued(&self) -> usize {
        0
    }

    async fn flush(&mut self) -> Result<(), LinkError> {
        Ok(())
    }
}

impl Sitter {
    /// Lets the spool live through what it is to remember, before its player first dials.
    pub(crate) fn remember(&mut self, memory: Memory) {
        let Some((key, order, term)) = memory.last else { return };
        let process = ProcessMark {
            pid: 1,
            start_ticks: 1,
            boot: BootId([0; 16]),
            started_at: self.common.wall_clock(Instant::now()),
            boot_ms: 0,
        };
        let session = AgentSession(0);
        self.spool.handle(Input::Opened { session });
        self.spool.handle(Input::Attached { session, store: key.store });
        self.spool.handle(Input::Ordered { term, order, key, mac: None, admission: Ok(plan()) });
        self.spool.handle(Input::Started { key, process });
        self.spool.handle(Input::Ended { key, end: EndBytes::default() });
        self.spool.handle(Input::Acknowledged { term, key, order: None });
        self.spool.handle(Input::Detached { session });
        self.spool.written();
        while self.spool.poll_effect().is_some() {}
    }

    /// How long attempts take from now on.
    pub(crate) fn set_delay(&mut self, delay: Delay) {
        self.delay = delay;
    }

    /// What attempts write from now on.
    pub(crate) fn set_says(&mut self, says: Says) {
        self.says = says;
    }

    /// Returns when something happens by itself.
    fn next(&self) -> Option<Instant> {
        let over = self.running.iter().map(|running| running.until);
        over.chain((!self.readings.is_empty()).then_some(self.look_at)).min()
    }

    /// Everything that was executed so far, which is then forgotten.
    pub(crate) fn take_traces(&mut self) -> Vec<Trace> {
        self.open.clear();
        std::mem::take(&mut self.traces)
    }

    fn hear(&mut self, frame: ToSitter) {
        match frame {
            ToSitter::Open { session } => {
                self.out.clear();
                self.spool.handle(Input::Opened { session });
            }
            ToSitter::Welcomed { session, store, .. } => {
                self.welcomed = Some(session);
                self.common.attached.up();
                self.spool.handle(Input::Attached { session, store });
            }
            ToSitter::Closed { session } => {
                if self.welcomed.take().is_some() {
                    self.common.attached.down();
                }
                self.out.clear();
                self.readings.clear();
                self.spool.handle(Input::Detached { session });
            }
            // Only of who says that it answers.
            ToSitter::Ask { .. } => {}
            // It asks for no bundle.
            ToSitter::Fetched { .. } | ToSitter::NotFetched { .. } => {}
            ToSitter::Command { bytes, .. } => {
                if let Err(why) = self.obey(bytes) {
                    self.violation.get_or_insert(why);
                }
            }
        }
        self.settle();
    }

    fn obey(&mut self, bytes: Bytes) -> Result<(), String> {
        use v1::command::Kind;
        let command = v1::Command::decode(bytes).map_err(|error| error.to_string())?;
        let store = store_id(&command.store_id).map_err(|error| error.to_string())?;
        self.store = Some(store);
        let term = Term(command.term);
        let input = match command.kind {
            Some(Kind::Order(order)) => {
                let read = order_from_wire(&order).map_err(|error| error.to_string())?;
                let ReadOrder { order, mac, job_digest } = read;
                if order.instance.is_some() {
                    self.keep_unit(&order, &job_digest);
                    let admission = Ok(Plan::watching(score(), Millis::minutes(1)));
                    let (order, key) = (order.number, order.key);
                    self.spool.handle(Input::Ordered { term, order, key, mac, admission });
                    return Ok(());
                }
                if self.running.len() >= self.max_tasks as usize {
                    return Err(format!("order {} is beyond the player's credits", order.number));
                }
                let (order, key, admission) = (order.number, order.key, Ok(plan()));
                Input::Ordered { term, order, key, mac, admission }
            }
            Some(Kind::Cancel(cancel)) => {
                let (mac, key) = (mac(&cancel.mac)?, key(cancel.key)?);
                Input::Cancelled { term, order: OrderNumber(cancel.order), key, mac }
            }
            Some(Kind::Acknowledge(acknowledge)) => {
                let key = key(acknowledge.key)?;
                self.note_acknowledgement(key);
                let order = Some(OrderNumber(acknowledge.order)).filter(|order| order.0 > 0);
                Input::Acknowledged { term, key, order }
            }
            Some(Kind::Hello(hello)) => {
                let mac = mac(&hello.mac)?;
                let issued = mac.map(|mac| (OrderNumber(hello.issued), mac));
                Input::TermSeen { store, term, issued }
            }
            Some(Kind::Job(part)) => return self.note_job(part),
            Some(Kind::ReadLog(asked)) => return self.begin_reading(&asked),
            Some(Kind::LogCredit(paid)) => {
                let mut readings = self.readings.iter_mut();
                if let Some(reading) = readings.find(|it| it.number == paid.reading) {
                    reading.pay(paid.bytes);
                }
                return Ok(());
            }
            Some(Kind::CloseLog(closed)) => {
                self.readings.retain(|reading| reading.number != closed.reading);
                return Ok(());
            }
            Some(Kind::Leases(_)) => {
                return Err("leases are granted that it has not asked for".to_owned());
            }
            Some(Kind::AskVitals(_)) => {
                return Err("vitals are asked for, and it does not tell that it takes them".into());
            }
            None => return Err("an empty command".to_owned()),
        };
        self.spool.handle(input);
        Ok(())
    }

    /// Keeps what a job part asks of units; with another one there is nothing to run.
    fn note_job(&mut self, part: v1::JobPart) -> Result<(), String> {
        /// As many as both ends of a stream remember.
        const REMEMBERED: usize = 64;
        let body = v1::JobBody::decode(part.body).map_err(|error| error.to_string())?;
        if let Some(unit) = body.unit {
            self.unit_jobs.truncate(REMEMBERED - 1);
            self.unit_jobs.push_front((part.digest, unit));
        }
        Ok(())
    }

    /// A unit is ready at once, and told to be.
    fn keep_unit(&mut self, order: &Order, digest: &Bytes) {
        let job = self.unit_jobs.iter().find(|(known, _)| known == digest).map(|(_, job)| job);
        let (Some(job), Some(instance), Some(session)) = (job, order.instance, self.welcomed)
        else {
            return;
        };
        let Ok(service) = ServiceName::new(&job.service) else { return };
        let report = UnitReport {
            service,
            version: ServiceVersion(job.version),
            instance,
            order: order.number,
            state: UnitState::Ready,
            since: self.common.wall_clock(Instant::now()),
            run: RunNumber(1),
            score_hash: None,
            run_age: None,
            restarts: 0,
            last_end: None,
            trouble: None,
            turns: 0,
            flapping: false,
        };
        let kind = Some(v1::report::Kind::Unit((&report).into()));
        let bytes = v1::Report { key: None, order: 0, kind }.encode_to_vec().into();
        self.units.insert(job.service.clone(), report);
        self.out.push_back(ToAgent::Report { session, bytes });
    }

    /// Its units write nothing, and of attempts that are over nothing is kept.
    fn begin_reading(&mut self, asked: &v1::ReadLog) -> Result<(), String> {
        use v1::read_log::Of;
        let of = match &asked.of {
            Some(Of::Attempt(of)) => Some(key(Some(of.clone()))?),
            _ => None,
        };
        match self.running.iter().find(|running| Some(running.key) == of) {
            Some(Running { key, since, .. }) => {
                let since = (*since, self.common.wall_clock(*since));
                self.readings.push(Reading::begin(asked, *key, since, self.says));
            }
            None => self.tell_part(over(asked.reading, v1::log_end::Reason::Gone)),
        }
        Ok(())
    }

    fn tell_readings(&mut self) {
        let now = Instant::now();
        if self.readings.is_empty() || now < self.look_at {
            return;
        }
        self.look_at = now + LOOKS_EVERY;
        for mut reading in std::mem::take(&mut self.readings) {
            let mut is_over = false;
            while !is_over && let Some((part, is_last)) = reading.next(now) {
                self.tell_part(part);
                is_over = is_last;
            }
            if !is_over {
                self.readings.push(reading);
            }
        }
    }

    fn tell_part(&mut self, part: v1::LogPart) {
        let Some(session) = self.welcomed else { return };
        let kind = Some(v1::report::Kind::Log(part));
        let bytes = v1::Report { key: None, order: 0, kind }.encode_to_vec().into();
        self.out.push_back(ToAgent::Report { session, bytes });
    }

    /// Does what the spool asks for. Its entries count as written at once.
    fn settle(&mut self) {
        loop {
            self.spool.written();
            let Some(effect) = self.spool.poll_effect() else {
                if self.spool.unwritten().is_empty() {
                    return;
                }
                continue;
            };
            match effect {
                Effect::Snapshot { session, snapshot } => {
                    let bytes = self.snapshot(&snapshot);
                    self.out.push_back(ToAgent::Snapshot { session, bytes });
                }
                Effect::Report { session, report } => {
                    let bytes = v1::Report::from(&report).encode_to_vec().into();
                    self.out.push_back(ToAgent::Report { session, bytes });
                }
                Effect::Start { key, .. } => self.start(key),
                Effect::Kill { key } => {
                    let since = self.running.iter().find(|it| it.key == key).map(|it| it.since);
                    self.running.retain(|running| running.key != key);
                    self.end(key, since.unwrap_or_else(Instant::now), Outcome::Cancelled);
                }
            }
        }
    }

    fn start(&mut self, key: AttemptKey) {
        let now = Instant::now();
        self.open.push((key, self.traces.len()));
        self.traces.push(Trace {
            job: key.job,
            attempt: key.attempt,
            sent: now,
            ended: None,
            acknowledged: None,
        });
        let process = ProcessMark {
            pid: 1,
            start_ticks: 1,
            boot: BootId([0; 16]),
            started_at: self.common.wall_clock(now),
            boot_ms: 0,
        };
        self.spool.handle(Input::Started { key, process });
        match self.delay.draw(&mut self.chance) {
            Duration::ZERO => self.end(key, now, Outcome::Exited(0)),
            length => self.running.push(Running { key, since: now, until: now + length }),
        }
    }

    fn end_what_is_over(&mut self) {
        if self.running.is_empty() {
            return;
        }
        let now = Instant::now();
        let over: Vec<Running> =
            self.running.extract_if(.., |running| running.until <= now).collect();
        for Running { key, since, .. } in over {
            self.end(key, since, Outcome::Exited(0));
        }
        self.settle();
    }

    fn end(&mut self, key: AttemptKey, since: Instant, outcome: Outcome) {
        let moment = Instant::now();
        self.note_end(key, moment);
        self.readings.iter_mut().filter(|it| it.key == key).for_each(|it| it.end(moment));
        let started = self.common.wall_clock(since);
        let now = self.common.wall_clock(moment);
        let end = AttemptEnd {
            outcome,
            started_at: Some(started),
            ended_at: now,
            response: Default::default(),
            stdout: self.says.output(self.number, started, moment - since),
            stderr: Output::default(),
        };
        // A few bytes are never too many.
        if let Ok(end) = encode_end(&end) {
            self.spool.handle(Input::Ended { key, end });
            self.common.ended(key.job.flow);
        }
    }

    fn note_end(&mut self, key: AttemptKey, moment: Instant) {
        let open = self.open.iter().rfind(|(open, _)| *open == key);
        if let Some(trace) = open.and_then(|(_, place)| self.traces.get_mut(*place)) {
            trace.ended = Some(moment);
        }
    }

    /// The first of each attempt counts: the end is on the conductor's disk.
    fn note_acknowledgement(&mut self, key: AttemptKey) {
        let Some(place) = self.open.iter().position(|(open, _)| *open == key) else { return };
        let (_, trace) = self.open.swap_remove(place);
        if let Some(trace) = self.traces.get_mut(trace) {
            trace.acknowledged = Some(Instant::now());
            self.common.acknowledged.up();
        }
    }

    /// As a sitter spells it; what does not change is encoded once for the whole crowd.
    fn snapshot(&self, snapshot: &Snapshot) -> Bytes {
        let whole = PlayerSnapshot {
            spool: snapshot.spool,
            // Per store, these are in the marks.
            mark: OrderNumber(0),
            term: Term(0),
            evidence: None,
            live: snapshot.live.clone(),
            settled: snapshot.settled.clone(),
            max_tasks: self.max_tasks,
            kill_grace: Millis::seconds(10),
            scores: Offers::default(),
            units: None,
            room: Default::default(),
        };
        let units = self.store.map(|store| (store, self.units.values().cloned().collect()));
        let units = Some(units.into_iter().collect());
        let wire = snapshot_to_wire(&whole, &snapshot.marks, units);
        let mut bytes = wire.encode_to_vec();
        // Protobuf: messages of one kind, one after the other, are one message.
        bytes.extend_from_slice(&self.common.scores);
        bytes.into()
    }
}

fn key(key: Option<v1::AttemptKey>) -> Result<AttemptKey, String> {
    let key = key.ok_or("a command without an attempt")?;
    (&key).try_into().map_err(|error: orchestra_proto::Invalid| error.to_string())
}

fn mac(bytes: &[u8]) -> Result<Option<Mac>, String> {
    mac_from_wire(bytes, "Command.mac").map_err(|error| error.to_string())
}

fn score() -> ScoreName {
    // A constant that is a name.
    ScoreName::new("true").unwrap_or_else(|_| unreachable!("`true` is a name"))
}

fn plan() -> Plan {
    Plan {
        score: score(),
        timeout: DEFAULT_TIMEOUT,
        interface: Interface::Env,
        concurrency: None,
        exclusive: false,
        cgroup: None,
    }
}

/// What every player of the crowd offers, as a fleet under configuration management does: some
/// scores, the same everywhere, among them `true`.
pub(crate) fn inventory() -> Bytes {
    let param = |n: u32| v1::ParamSpec {
        key: format!("parameter_{n}"),
        r#type: "string".to_owned(),
        pattern: "[a-z0-9.-]+".to_owned(),
        max_length: 64,
        required: n == 0,
        description: "what a parameter is for, in a sentence".to_owned(),
        ..Default::default()
    };
    let spec = |n: u32| v1::ScoreSpec {
        description: "what the score does, in a sentence or two".to_owned(),
        timeout_ms: Millis::minutes(10).0,
        disruptive: n > 0,
        params: (n > 0).then(|| v1::ParamSchema { params: (0..4).map(param).collect() }),
        ..Default::default()
    };
    let offer = |n: u32| v1::ScoreOffer {
        name: if n == 0 { "true".to_owned() } else { format!("score-{n}") },
        hash: vec![n as u8; 32].into(),
        state: Some(v1::score_offer::State::Spec(spec(n))),
    };
    let scores = (0..20).map(offer).collect();
    v1::Snapshot { scores, attempt_logs: true, ..Default::default() }.encode_to_vec().into()
}

/// Wall time of a moment, from one reading of the clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WallClock {
    pub(crate) at: Instant,
    pub(crate) wall: Timestamp,
}

impl WallClock {
    pub(crate) fn of(self, moment: Instant) -> Timestamp {
        let since = moment.saturating_duration_since(self.at).as_millis();
        self.wall.after(Millis(u64::try_from(since).unwrap_or(u64::MAX)))
    }
}
