//! A pretended disk and short ways to say things.

#![allow(dead_code, reason = "each test program uses a part")]
#![expect(clippy::unwrap_used, reason = "test support")]

use orchestra_model::{
    FlowId, JobId, Millis, ScoreName, Timestamp,
    delivery::{
        AgentSession, AttemptKey, EndBytes, OrderNumber, Refusal, Report, SpoolId, StoreId, Term,
    },
    score::Interface,
};
use orchestra_spool::{BootId, Effect, Entry, Input, Plan, ProcessMark, Spool, journal};

pub(crate) const STORE: StoreId = StoreId([1; 16]);
pub(crate) const OTHER_STORE: StoreId = StoreId([2; 16]);
pub(crate) const SESSION: AgentSession = AgentSession(7);
pub(crate) const TERM: Term = Term(3);

/// A spool over a pretended disk that never fails by itself.
pub(crate) struct Rig {
    pub(crate) spool: Spool,
    pub(crate) disk: Vec<u8>,
    capacity: u32,
}

impl Rig {
    /// A new spool, attached to a conductor of [`STORE`] in [`TERM`].
    pub(crate) fn new(capacity: u32) -> Self {
        let spool = Spool::new(SpoolId([9; 16]), capacity);
        let disk = journal::compacted(spool.state());
        let mut rig = Rig { spool, disk, capacity };
        rig.attach();
        rig
    }

    /// Takes inputs as one batch, makes them durable, and gives what is to be done.
    pub(crate) fn feed(&mut self, inputs: impl IntoIterator<Item = Input>) -> Vec<Effect> {
        self.take(inputs);
        self.commit();
        self.effects()
    }

    pub(crate) fn take(&mut self, inputs: impl IntoIterator<Item = Input>) {
        for input in inputs {
            self.spool.handle(input);
            self.spool.audit().unwrap();
        }
    }

    pub(crate) fn commit(&mut self) {
        let frame = journal::frame(self.disk.len() as u64, self.spool.unwritten());
        self.disk.extend(frame);
        self.spool.written();
        self.spool.audit().unwrap();
    }

    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.spool.poll_effect()).collect()
    }

    pub(crate) fn attach(&mut self) -> Vec<Report<EndBytes>> {
        self.attach_to(STORE)
    }

    pub(crate) fn attach_to(&mut self, store: StoreId) -> Vec<Report<EndBytes>> {
        let opened = Input::Opened { session: SESSION };
        let attached = Input::Attached { session: SESSION, store };
        let hello = Input::TermSeen { store, term: TERM, issued: None };
        reports(self.feed([opened, attached, hello]))
    }

    /// Everything but the disk is gone; the next sitter begins from it.
    pub(crate) fn crash(&mut self) {
        let replayed = journal::replay(&self.disk).unwrap();
        self.disk.truncate(usize::try_from(replayed.valid_len).unwrap());
        self.spool = Spool::recover(replayed.state, self.capacity);
        self.spool.audit().unwrap();
    }

    /// Orders an attempt and starts its process.
    pub(crate) fn run(&mut self, number: u64, key: AttemptKey) {
        let effects = self.feed([order(number, key)]);
        assert!(matches!(effects[..], [Effect::Start { .. }]), "{effects:?}");
        self.feed([Input::Started { key, process: process(number) }]);
    }
}

pub(crate) fn reports(effects: Vec<Effect>) -> Vec<Report<EndBytes>> {
    let report = |effect| match effect {
        Effect::Report { report, .. } => Some(report),
        _ => None,
    };
    effects.into_iter().filter_map(report).collect()
}

pub(crate) fn key(flow: u64) -> AttemptKey {
    key_of(STORE, flow)
}

pub(crate) fn key_of(store: StoreId, flow: u64) -> AttemptKey {
    AttemptKey { store, job: JobId { flow: FlowId(flow), slot: 1, job: 1 }, attempt: 1 }
}

pub(crate) fn plan(score: &str) -> Plan {
    Plan {
        score: ScoreName::new(score).unwrap(),
        timeout: Millis::minutes(10),
        interface: Interface::Env,
        concurrency: None,
        exclusive: false,
        cgroup: None,
    }
}

pub(crate) fn process(pid: u64) -> ProcessMark {
    ProcessMark {
        pid: u32::try_from(pid).unwrap(),
        start_ticks: 1_000 + pid,
        boot: BootId([4; 16]),
        started_at: Timestamp(1_700_000_000_000 + pid),
        boot_ms: 10_000 + pid,
    }
}

pub(crate) fn order(number: u64, key: AttemptKey) -> Input {
    order_as(number, key, Ok(plan("restart-apache")))
}

pub(crate) fn order_as(number: u64, key: AttemptKey, admission: Result<Plan, Refusal>) -> Input {
    Input::Ordered { term: TERM, order: OrderNumber(number), key, mac: None, admission }
}

pub(crate) fn cancel(number: u64, key: AttemptKey) -> Input {
    Input::Cancelled { term: TERM, order: OrderNumber(number), key, mac: None }
}

pub(crate) fn acknowledge(number: u64, key: AttemptKey) -> Input {
    Input::Acknowledged { term: TERM, key, order: Some(OrderNumber(number)) }
}

pub(crate) fn end(text: &str) -> EndBytes {
    EndBytes::new(text.as_bytes().to_vec()).unwrap()
}

pub(crate) fn ended(key: AttemptKey, text: &str) -> Input {
    Input::Ended { key, end: end(text) }
}

pub(crate) fn report_end(number: u64, key: AttemptKey, text: &str) -> Report<EndBytes> {
    Report::Ended { key, order: OrderNumber(number), end: end(text) }
}

pub(crate) fn report_refusal(number: u64, key: AttemptKey, refusal: Refusal) -> Report<EndBytes> {
    Report::Refused { key, order: OrderNumber(number), refusal }
}

pub(crate) fn report_start(number: u64, key: AttemptKey) -> Report<EndBytes> {
    Report::Started { key, order: OrderNumber(number), at: process(number).started_at }
}

pub(crate) fn kinds(entries: &[Entry]) -> Vec<&'static str> {
    let kind = |entry: &Entry| match entry {
        Entry::Term { .. } => "term",
        Entry::Mark { .. } => "mark",
        Entry::CancelledAhead { .. } => "cancelled-ahead",
        Entry::Evidence { .. } => "evidence",
        Entry::Starting { .. } => "starting",
        Entry::Started { .. } => "started",
        Entry::Cancelling { .. } => "cancelling",
        Entry::Settled { .. } => "settled",
        Entry::Acknowledged { .. } => "acknowledged",
    };
    entries.iter().map(kind).collect()
}
