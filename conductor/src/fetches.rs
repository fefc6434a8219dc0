//! Bundles that players fetch: whom each is told to fetch from, and how far it is.
//!
//! ```text
//! session: FetchReport ──▶ driver: is such an attempt in flight there?
//!                              │ what is fetched, and where copies are
//!                              ▼
//!                    [`orchestra_spread::Spread`] ──▶ FetchSources, with a ticket
//! ```
//!
//! Nothing of it is durable, and the engine decides nothing by it: whoever fetches asks again. Where a
//! relay is, the players file says; that a player may fetch, the conductor says in a ticket, which it
//! gives only for a bundle that an attempt in flight on that player is about.

use std::{
    collections::HashMap,
    fmt,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_certs::TicketSigner;
use orchestra_flow::SessionId;
use orchestra_model::{
    ByteSize, FlowId, HostName, HostSet, Millis, Timestamp,
    bundle::BundleId,
    limits,
    relay::{FetchReport, FetchSources, FetchStage, FetchStatus, RelayTicket, TICKET_LASTS},
};
use orchestra_spread::{Asking, Spread};
use tokio::sync::watch;

use crate::{driver::Clock, fleet::Fleet};

/// So many questions of one player are answered within [`ANSWERS_WITHIN`], because each answer is signed. An
/// honest player asks again after some seconds.
const ANSWERS: u32 = 100;
const ANSWERS_WITHIN: Millis = Millis::seconds(10);
/// Who fetches says so every second; of who has not for so long nothing is told.
const SILENT: Millis = Millis::minutes(1);
/// For how long it is told that a host's fetch has ended.
const ENDED: Millis = Millis::minutes(10);

/// Bundles that players fetch.
#[derive(Clone)]
pub(crate) struct Fetches(Arc<Inner>);

struct Inner {
    table: Mutex<Table>,
    fleet: watch::Receiver<Arc<Fleet>>,
    signer: Box<CurrentSigner>,
    clock: Clock,
}

/// Returns who signs tickets at the moment; `None` if nobody does.
type CurrentSigner = dyn Fn() -> Option<TicketSigner> + Send + Sync;

impl fmt::Debug for Fetches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lock().fmt(f)
    }
}

#[derive(Debug, Default)]
struct Table {
    spread: Spread,
    /// Where the sessions of players come from.
    sessions: HashMap<HostName, (SessionId, IpAddr)>,
    /// What players told of the bundles that they fetch.
    told: HashMap<HostName, Vec<FetchStatus>>,
    /// Since when how many questions of a player were answered.
    answered: HashMap<HostName, (Timestamp, u32)>,
}

/// What is known of the bundle that an attempt is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fetchable {
    pub(crate) flow: FlowId,
    /// How much content it has.
    pub(crate) content: ByteSize,
    /// How many tasks the job has.
    pub(crate) tasks: u32,
    /// The hosts that were registered to have a copy.
    pub(crate) copies: Vec<HostName>,
}

impl Fetches {
    pub(crate) fn new(
        fleet: watch::Receiver<Arc<Fleet>>,
        signer: impl Fn() -> Option<TicketSigner> + Send + Sync + 'static,
        clock: Clock,
    ) -> Self {
        let signer = Box::new(signer);
        Self(Arc::new(Inner { table: Mutex::default(), fleet, signer, clock }))
    }

    /// A player has a session, which comes from this address.
    pub(crate) fn attached(&self, host: &HostName, session: SessionId, address: IpAddr) {
        let mut table = self.lock();
        table.sessions.insert(host.clone(), (session, address));
        table.spread.attached(host);
    }

    /// A session is over.
    pub(crate) fn detached(&self, host: &HostName, session: SessionId) {
        let mut table = self.lock();
        if table.sessions.get(host).is_some_and(|(present, _)| *present == session) {
            table.sessions.remove(host);
            table.spread.detached(self.0.clock.now(), host);
        }
    }

    /// Takes what a player says of a bundle that it fetches, and wants no sources for.
    pub(crate) fn take(&self, host: &HostName, report: FetchReport) {
        let now = self.0.clock.now();
        let mut table = self.lock();
        match report.stage {
            FetchStage::Fetching => {}
            FetchStage::Arrived => table.spread.arrived(now, report.bundle, host),
            FetchStage::Ended => table.spread.ended(now, report.bundle, host),
        }
        table.note(host, report, None, now);
    }

    /// Whether a player that wants sources is answered: it does not ask too often. What it asks is looked
    /// at only then.
    pub(crate) fn may_ask(&self, host: &HostName) -> bool {
        self.lock().may_answer(host, self.0.clock.now())
    }

    /// Answers a player that wants sources: hosts with a relay, and a ticket. The error is for the log.
    pub(crate) fn name_sources(
        &self,
        host: &HostName,
        report: FetchReport,
        fetchable: &Fetchable,
    ) -> Result<FetchSources, String> {
        let now = self.0.clock.now();
        let bundle = report.bundle;
        let relays = {
            let fleet = self.0.fleet.borrow();
            let mut table = self.lock();
            let has_relay = |table: &Table, host: &HostName| table.relay_of(&fleet, host).is_some();
            let copies = fetchable.copies.iter().filter(|copy| has_relay(&table, copy));
            let copies: Vec<HostName> = copies.cloned().collect();
            let asking = Asking {
                host,
                serves: has_relay(&table, host),
                is_stalled: report.is_stalled,
                faulty: &report.faulty,
                bytes: fetchable.content.0,
                hosts: fetchable.tasks,
                copies: &copies,
            };
            let named = table.spread.ask(now, bundle, asking);
            table.note(host, report, Some(fetchable.content), now);
            let at = |source: HostName| {
                let address = table.relay_of(&fleet, &source)?;
                Some((source, address))
            };
            named.into_iter().filter_map(at).collect::<Vec<_>>()
        };
        let hopeless = relays.is_empty().then(|| self.hopeless(&fetchable.copies)).flatten();
        let signer = (self.0.signer)().ok_or("this conductor has no key for tickets")?;
        let made = Clock::wall();
        let ticket = RelayTicket {
            domain: signer.domain().clone(),
            player: host.clone(),
            bundle,
            flow: fetchable.flow,
            made,
            expires: made.after(TICKET_LASTS),
        };
        let ticket = signer.sign(ticket).map_err(|why| why.to_string())?;
        Ok(FetchSources { relays, ticket, hopeless })
    }

    /// Why nobody will ever be named where nobody is, if there is a reason in the files.
    fn hopeless(&self, copies: &[HostName]) -> Option<String> {
        let fleet = self.0.fleet.borrow();
        if copies.iter().any(|copy| fleet.relay(copy).is_some()) {
            return None;
        }
        let copies = HostSet::from_names(copies.iter().cloned());
        Some(match copies.is_empty() {
            true => "nobody was registered to have a copy: `orc bundle register` with --source"
                .to_owned(),
            false => format!(
                "it was registered to be at {copies}, and the conductor's players file names no relay \
                 there (`relay=`)"
            ),
        })
    }

    /// Returns what these hosts told last of bundles that they fetch; of one bundle alone if it is named.
    pub(crate) fn told(&self, hosts: &[HostName], only: Option<BundleId>) -> Vec<FetchStatus> {
        let now = self.0.clock.now();
        let table = self.lock();
        let is_meant = |told: &&FetchStatus| {
            only.is_none_or(|bundle| bundle == told.bundle) && is_news(told, now)
        };
        let of = |host: &HostName| table.told.get(host).into_iter().flatten().filter(is_meant);
        hosts.iter().flat_map(of).cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Where the relay of a host listens, if it has one and its place is known.
    fn relay_of(&self, fleet: &Fleet, host: &HostName) -> Option<String> {
        let session = self.sessions.get(host).map(|(_, address)| *address);
        fleet.relay(host)?.address(session)
    }

    /// Counts an answer, unless a player had enough of them a moment ago.
    fn may_answer(&mut self, host: &HostName, now: Timestamp) -> bool {
        let (since, count) = self.answered.entry(host.clone()).or_insert((now, 0));
        if now.since(*since) >= ANSWERS_WITHIN {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        *count <= ANSWERS
    }

    /// Remembers what a host says of one bundle, in the place of what it said before.
    fn note(
        &mut self,
        host: &HostName,
        report: FetchReport,
        content: Option<ByteSize>,
        now: Timestamp,
    ) {
        let told = self.told.entry(host.clone()).or_default();
        told.retain(|told| is_news(told, now));
        let before = told.iter().position(|told| told.bundle == report.bundle);
        let before = before.map(|place| told.remove(place));
        let known = before.as_ref().map(|before| before.content);
        let content = content.or(known).unwrap_or(ByteSize(0));
        let rate = before.map_or(0, |before| rate_until(&before, report.here, now));
        if told.len() == limits::PLACES {
            told.remove(0);
        }
        told.push(FetchStatus {
            host: host.clone(),
            bundle: report.bundle,
            flow: report.attempt.job.flow,
            stage: report.stage,
            here: if report.stage == FetchStage::Arrived { content } else { report.here },
            content,
            rate: if report.stage == FetchStage::Fetching { rate } else { 0 },
            source: report.source,
            // It comes from a player, and is for people.
            left: report.left.chars().filter(|char| !char.is_control()).collect(),
            at: now,
        });
    }
}

fn is_news(told: &FetchStatus, now: Timestamp) -> bool {
    let lasts = if told.stage == FetchStage::Fetching { SILENT } else { ENDED };
    now.since(told.at) < lasts
}

/// How fast it came between two reports; the old rate where they are too close to tell.
fn rate_until(before: &FetchStatus, here: ByteSize, now: Timestamp) -> u64 {
    let (took, came) = (now.since(before.at).0, here.0.saturating_sub(before.here.0));
    match took {
        0..200 => before.rate,
        took => came.saturating_mul(1_000) / took,
    }
}

#[cfg(test)]
mod tests;
