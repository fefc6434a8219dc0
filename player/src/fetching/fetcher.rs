//! The agent's fetcher: which bundles its sitter wants, a fetch for each, and what is said of them to
//! sitter and conductor.
//!
//! It runs on a thread of its own, so that a bundle which arrives at the speed of the network delays no
//! session. It holds nothing that matters: a sitter tells each agent anew what it wants, and what has
//! arrived is in the depot.

use std::{collections::BTreeMap, thread, time::Duration};

use bytes::Bytes;
use orchestra_bundle::StoredBundle;
use orchestra_depot::{FetchFailure, FetchProgress};
use orchestra_link::{
    Fetching, HeardAside,
    ipc::{FetchNumber, ToSitter},
};
use orchestra_model::{
    ByteSize, HostName,
    bundle::{BundleId, Seal},
    chain,
    delivery::AttemptKey,
    limits,
    relay::{FetchReport, FetchSources, FetchStage},
};
use orchestra_proto::{Invalid, v1};
use prost::Message as _;
use tokio::{
    sync::mpsc,
    task::{JoinError, JoinSet},
    time::{Instant, MissedTickBehavior, interval},
};

use super::{FetchEvent, FetchPlace, NotFetched, fetch};

/// How often it is told how far each fetch is.
const TICK: Duration = Duration::from_secs(1);
/// Sources are asked for anew after so long without a byte, whoever was asked.
const STALLED: Duration = Duration::from_secs(10);
/// The least time between two questions for sources of one bundle.
const ASK_AGAIN: Duration = Duration::from_secs(3);
/// A ticket is used for half of what it lasts, by this machine's clock.
const TICKET: Duration = Duration::from_secs(30 * 60);
/// Most ends of fetches that are remembered until there is a session to tell them in.
const UNTOLD: usize = 64;
/// What an order is answered with where nobody names sources.
const NO_SOURCES: &str = "the conductor names no sources of bundles: it is of an earlier release";

/// What a sitter says of bundles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchWord {
    /// A bundle is wanted: an encoded `orchestra.v1.FetchOrder`.
    Wanted(FetchNumber, Bytes),
    /// It is not wanted any more.
    Unwanted(FetchNumber),
}

/// Why an order of the sitter makes no sense.
#[derive(Debug, thiserror::Error)]
enum InvalidOrder {
    #[error("the order to fetch cannot be read")]
    Decode(#[from] prost::DecodeError),
    #[error("the order to fetch makes no sense")]
    Invalid(#[from] Invalid),
    #[error("the order to fetch has no seal")]
    Seal,
}

/// Starts the thread. It ends when its sitter's words do. What it answers goes to `answers`.
pub fn start(
    place: FetchPlace,
    words: mpsc::UnboundedReceiver<FetchWord>,
    conductor: Fetching,
    answers: mpsc::UnboundedSender<ToSitter>,
) -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let spawned = thread::Builder::new().name("fetcher".to_owned()).spawn(move || {
        let fetcher = Fetcher::new(place, conductor.reports, answers);
        runtime.block_on(fetcher.run(words, conductor.heard));
    });
    spawned.map(drop)
}

struct Fetcher {
    place: FetchPlace,
    reports: mpsc::Sender<v1::FetchReport>,
    answers: mpsc::UnboundedSender<ToSitter>,
    /// Whether a session stands, and whether its conductor names sources.
    names_sources: Option<bool>,
    wanted: BTreeMap<FetchNumber, Wanted>,
    bundles: BTreeMap<BundleId, Bundle>,
    fetches: JoinSet<(BundleId, Result<StoredBundle, NotFetched>)>,
    events: mpsc::Sender<(BundleId, FetchEvent)>,
    happened: mpsc::Receiver<(BundleId, FetchEvent)>,
    /// Ends that no session was told yet.
    untold: Vec<v1::FetchReport>,
}

/// What an attempt waits for.
struct Wanted {
    attempt: AttemptKey,
    seal: Seal,
}

/// A bundle that is fetched, or is to be.
struct Bundle {
    /// Names sources; `None` while there is no fetch. Without it the fetch ends.
    sources: Option<mpsc::Sender<FetchSources>>,
    /// Whether others could be served it here, so that this host may be named to them.
    is_ready: bool,
    /// Whether the fetch was told to end, and has not ended yet.
    is_ending: bool,
    progress: Option<FetchProgress>,
    /// When something came last, or when it was asked for.
    came: Instant,
    asked: Option<Instant>,
    /// When sources were named last.
    named: Option<Instant>,
    faulty: Vec<HostName>,
    /// Why it ended last, although sources may still be named.
    failed: Option<String>,
}

impl Fetcher {
    fn new(
        place: FetchPlace,
        reports: mpsc::Sender<v1::FetchReport>,
        answers: mpsc::UnboundedSender<ToSitter>,
    ) -> Self {
        let (events, happened) = mpsc::channel(16);
        Self {
            place,
            reports,
            answers,
            names_sources: None,
            wanted: BTreeMap::new(),
            bundles: BTreeMap::new(),
            fetches: JoinSet::new(),
            events,
            happened,
            untold: Vec::new(),
        }
    }

    async fn run(
        mut self,
        mut words: mpsc::UnboundedReceiver<FetchWord>,
        mut heard: mpsc::Receiver<HeardAside>,
    ) {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                word = words.recv() => match word {
                    Some(FetchWord::Wanted(fetch, order)) => self.want(fetch, &order),
                    Some(FetchWord::Unwanted(fetch)) => self.forget(fetch),
                    None => return,
                },
                Some(heard) = heard.recv() => self.heard(heard),
                Some((bundle, event)) = self.happened.recv() => self.happened(bundle, event),
                Some(ended) = self.fetches.join_next() => self.ended(ended),
                _ = ticks.tick(), if !self.bundles.is_empty() => self.tick(),
            }
        }
    }

    fn want(&mut self, fetch: FetchNumber, order: &[u8]) {
        match read(order) {
            Ok(wanted) => {
                let bundle = wanted.seal.statement.id;
                self.wanted.insert(fetch, wanted);
                let known = self.bundles.entry(bundle).or_insert_with(Bundle::new);
                if known.sources.is_none() && !known.is_ending {
                    self.begin(bundle);
                }
            }
            Err(why) => self.answer_not(fetch, &chain(&why)),
        }
    }

    fn forget(&mut self, fetch: FetchNumber) {
        let Some(wanted) = self.wanted.remove(&fetch) else { return };
        let id = wanted.seal.statement.id;
        if self.attempt_of(id).is_none() {
            self.end(id);
            self.tell_end(wanted.attempt, id, FetchStage::Ended, None);
        }
    }

    /// Begins to fetch a bundle: sources are asked for once it is ready.
    fn begin(&mut self, id: BundleId) {
        let wanted = self.wanted.values().find(|wanted| wanted.seal.statement.id == id);
        let Some(seal) = wanted.map(|wanted| wanted.seal.clone()) else { return };
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        let (sources, named) = mpsc::channel(4);
        (bundle.sources, bundle.is_ready, bundle.named) = (Some(sources), false, None);
        let (events, mut heard) = mpsc::channel(16);
        let (tell, place) = (self.events.clone(), self.place.clone());
        self.fetches.spawn(async move {
            let tell_on = async {
                while let Some(event) = heard.recv().await {
                    // Nobody hears it when the agent ends.
                    let _ = tell.send((id, event)).await;
                }
            };
            let (ended, ()) = tokio::join!(fetch(seal, place, named, events), tell_on);
            (id, ended)
        });
    }

    /// Has a fetch end. Until it has, nobody else can receive the bundle.
    fn end(&mut self, id: BundleId) {
        match self.bundles.get_mut(&id) {
            Some(bundle) if bundle.sources.is_some() => {
                (bundle.sources, bundle.is_ending) = (None, true);
            }
            Some(bundle) if !bundle.is_ending => drop(self.bundles.remove(&id)),
            _ => {}
        }
    }

    fn heard(&mut self, heard: HeardAside) {
        match heard {
            HeardAside::Attached { names_sources } => {
                self.names_sources = Some(names_sources);
                if !names_sources {
                    let waiting: Vec<FetchNumber> = self.wanted.keys().copied().collect();
                    for fetch in waiting {
                        self.answer_not(fetch, NO_SOURCES);
                        self.forget(fetch);
                    }
                    return;
                }
                for report in std::mem::take(&mut self.untold) {
                    self.send(report);
                }
                // This conductor may know nothing of what is fetched.
                let ready = self.bundles.iter().filter(|(_, bundle)| bundle.is_ready);
                let ready: Vec<BundleId> = ready.map(|(id, _)| *id).collect();
                for id in ready {
                    self.report(id, true);
                }
            }
            HeardAside::Detached => self.names_sources = None,
            HeardAside::Sources(sources) => match FetchSources::try_from(&sources) {
                Ok(sources) => self.name_sources(sources),
                Err(why) => tracing::warn!(why = chain(&why), "cannot read sources of a bundle"),
            },
        }
    }

    fn name_sources(&mut self, sources: FetchSources) {
        let id = sources.ticket.ticket.bundle;
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        let Some(to) = &bundle.sources else { return };
        if sources.relays.iter().any(|(host, _)| !bundle.faulty.contains(host)) {
            if bundle.named.is_none() {
                bundle.came = Instant::now();
            }
            (bundle.named, bundle.failed) = (Some(Instant::now()), None);
            // A fetch that does not take them has just ended.
            let _ = to.try_send(sources);
        } else if let Some(why) = bundle.failed.take().or(sources.hopeless) {
            // Nobody is left: what went wrong is the reason.
            self.give_up(id, &why);
        }
    }

    fn happened(&mut self, id: BundleId, event: FetchEvent) {
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        match event {
            FetchEvent::Ready => {
                (bundle.is_ready, bundle.asked) = (true, None);
                self.ask_if_due(id);
            }
            FetchEvent::Progress(progress) => {
                if bundle.progress.as_ref().is_none_or(|before| before.here < progress.here) {
                    bundle.came = Instant::now();
                }
                bundle.progress = Some(progress);
            }
            FetchEvent::Complaint { source, .. } => {
                bundle.faulty.retain(|it| *it != source);
                if bundle.faulty.len() == limits::FETCH_SOURCES {
                    bundle.faulty.remove(0);
                }
                bundle.faulty.push(source);
                bundle.asked = None;
                self.ask_if_due(id);
            }
        }
    }

    fn ended(&mut self, ended: Result<(BundleId, Result<StoredBundle, NotFetched>), JoinError>) {
        // A fetch that panicked has taken the name of its bundle along; the sitter's deadline ends it.
        let Ok((id, ended)) = ended else { return };
        let is_wanted = self.attempt_of(id).is_some();
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        (bundle.sources, bundle.is_ending) = (None, false);
        match ended {
            Ok(_) => {
                let source = bundle.progress.take().and_then(|progress| progress.source);
                let attempt = self.attempt_of(id);
                for fetch in self.numbers_of(id) {
                    self.wanted.remove(&fetch);
                    self.answer(ToSitter::Fetched { fetch });
                }
                self.bundles.remove(&id);
                if let Some(attempt) = attempt {
                    self.tell_end(attempt, id, FetchStage::Arrived, source);
                }
            }
            Err(NotFetched::Unwanted) if !is_wanted => {
                self.bundles.remove(&id);
            }
            // Somebody wants it again meanwhile.
            Err(NotFetched::Unwanted) => self.begin(id),
            // Others may be named.
            Err(why @ NotFetched::Failed(FetchFailure::NoSource(_))) => {
                bundle.failed = Some(why.to_string());
                self.begin(id);
            }
            Err(why) => self.give_up(id, &chain(&why)),
        }
    }

    fn give_up(&mut self, id: BundleId, why: &str) {
        let attempt = self.attempt_of(id);
        for fetch in self.numbers_of(id) {
            self.wanted.remove(&fetch);
            self.answer_not(fetch, why);
        }
        self.end(id);
        if let Some(attempt) = attempt {
            self.tell_end(attempt, id, FetchStage::Ended, None);
        }
    }

    fn tick(&mut self) {
        let ids: Vec<BundleId> = self.bundles.keys().copied().collect();
        for id in ids {
            if !self.ask_if_due(id) {
                self.report(id, false);
            }
        }
    }

    /// Asks for sources, if it is time to. Returns whether it did.
    fn ask_if_due(&mut self, id: BundleId) -> bool {
        let Some(bundle) = self.bundles.get(&id) else { return false };
        let has_old_ticket = bundle.named.is_some_and(|named| named.elapsed() >= TICKET);
        let wants = bundle.named.is_none() || bundle.is_stalled() || has_old_ticket;
        let is_due = bundle.asked.is_none_or(|asked| asked.elapsed() >= ASK_AGAIN);
        let is_fetched = bundle.sources.is_some() && bundle.is_ready;
        let asks = is_fetched && wants && is_due && self.names_sources == Some(true);
        if asks {
            self.report(id, true);
        }
        asks
    }

    /// Tells the conductor how far a bundle is.
    fn report(&mut self, id: BundleId, wants_sources: bool) {
        let Some(attempt) = self.attempt_of(id) else { return };
        let Some(bundle) = self.bundles.get_mut(&id) else { return };
        if wants_sources {
            bundle.asked = Some(Instant::now());
        }
        let progress = bundle.progress.as_ref();
        let left = progress.and_then(|it| it.left.last());
        let left = left.map(|(source, why)| format!("{source}: {why}"));
        let report = FetchReport {
            attempt,
            bundle: id,
            stage: FetchStage::Fetching,
            here: progress.map_or(ByteSize(0), |it| it.here),
            source: progress.and_then(|it| it.source.clone()),
            wants_sources,
            is_stalled: bundle.is_stalled(),
            faulty: bundle.faulty.clone(),
            left: shortened(bundle.failed.clone().or(left).unwrap_or_default()),
        };
        self.send((&report).into());
    }

    /// Tells that a fetch has ended, and from whom the last of it came.
    fn tell_end(
        &mut self,
        attempt: AttemptKey,
        bundle: BundleId,
        stage: FetchStage,
        source: Option<HostName>,
    ) {
        let report = FetchReport {
            attempt,
            bundle,
            stage,
            here: ByteSize(0),
            source,
            wants_sources: false,
            is_stalled: false,
            faulty: Vec::new(),
            left: String::new(),
        };
        match self.names_sources {
            Some(true) => self.send((&report).into()),
            _ if self.untold.len() < UNTOLD => self.untold.push((&report).into()),
            _ => {}
        }
    }

    /// What does not fit is said again in a second.
    fn send(&self, report: v1::FetchReport) {
        if self.names_sources == Some(true) {
            let _ = self.reports.try_send(report);
        }
    }

    fn attempt_of(&self, id: BundleId) -> Option<AttemptKey> {
        self.wanted.values().find(|it| it.seal.statement.id == id).map(|wanted| wanted.attempt)
    }

    fn numbers_of(&self, id: BundleId) -> Vec<FetchNumber> {
        let wanted = self.wanted.iter().filter(|(_, wanted)| wanted.seal.statement.id == id);
        wanted.map(|(fetch, _)| *fetch).collect()
    }

    fn answer_not(&self, fetch: FetchNumber, why: &str) {
        self.answer(ToSitter::NotFetched { fetch, why: Bytes::copy_from_slice(why.as_bytes()) });
    }

    fn answer(&self, answer: ToSitter) {
        // Without a sitter the agent ends.
        let _ = self.answers.send(answer);
    }
}

impl Bundle {
    fn new() -> Self {
        Self {
            sources: None,
            is_ready: false,
            is_ending: false,
            progress: None,
            came: Instant::now(),
            asked: None,
            named: None,
            faulty: Vec::new(),
            failed: None,
        }
    }

    /// Nothing has come for a while, although somebody is asked.
    fn is_stalled(&self) -> bool {
        self.sources.is_some() && self.named.is_some() && self.came.elapsed() >= STALLED
    }
}

fn read(order: &[u8]) -> Result<Wanted, InvalidOrder> {
    let order = v1::FetchOrder::decode(order)?;
    let attempt = order.key.as_ref().ok_or(Invalid::field("FetchOrder.key"))?.try_into()?;
    let seal = Seal::decode(&order.seal).map_err(|_| InvalidOrder::Seal)?;
    Ok(Wanted { attempt, seal })
}

fn shortened(mut text: String) -> String {
    let mut end = text.len().min(FetchReport::LEFT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}
