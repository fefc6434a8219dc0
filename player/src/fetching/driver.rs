//! Runs the engine of one fetch over a connection, a clock and a disk.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc as std_mpsc,
    },
    time::{Duration, SystemTime},
};

use orchestra_bundle::{ArrivingBundle, Depot, DepotError, StoredBundle};
use orchestra_depot::{Came, Effect, Fetch, Input, Keep, LinkNumber};
use orchestra_model::{
    ByteSize,
    bundle::{BundleShape, Seal},
    relay::FetchSources,
};
use tokio::{
    sync::mpsc,
    task::{AbortHandle, spawn_blocking},
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    FetchEvent, FetchPlace, InForce, NotFetched,
    disk::{self, DiskDone, DiskWork},
    link::{self, Destination, Heard, Say},
};

/// How often whoever serves the bundle on hears that more of it is to come.
const BEAT: Duration = Duration::from_millis(500);
/// How often it is told how far the fetch is.
const PROGRESS: Duration = Duration::from_secs(1);
/// What comes over a link and is not looked at yet. With it no more than two parts are in memory beyond
/// the engine's window.
const HEARD: usize = 2;

/// Fetches the bundle of a seal, and returns it once all of it is in the depot, verified and on disk. If it
/// is there already, nobody is asked. Whether a place takes it was decided before.
///
/// `named` names sources, first once it is [`FetchEvent::Ready`]: whoever is told of this player as a
/// source finds the bundle arriving here. The fetch ends when nobody can name sources any more. What has
/// arrived stays, and the next fetch of the bundle goes on from there. Must be called within a tokio
/// runtime, and be waited for: until it returns, nobody else can receive the bundle.
pub async fn fetch(
    seal: Seal,
    place: FetchPlace,
    mut named: mpsc::Receiver<FetchSources>,
    events: mpsc::Sender<FetchEvent>,
) -> Result<StoredBundle, NotFetched> {
    let arriving = match receive(&seal, &place).await? {
        Received::Whole(stored) => return Ok(stored),
        Received::Arriving(arriving) => arriving,
    };
    let mut beat = interval(BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Nobody has to listen.
    let _ = events.send(FetchEvent::Ready).await;
    let sources = loop {
        tokio::select! {
            sources = named.recv() => break sources.ok_or(NotFetched::Unwanted)?,
            // Whoever is served here already waits for more.
            _ = beat.tick() => arriving.beat(SystemTime::now())?,
        }
    };
    let (statement, here) = (&seal.statement, arriving.here().count());
    tracing::info!(
        bundle = %format_args!("{}@{}", statement.name, statement.serial),
        chunks = BundleShape::of(statement).chunks(),
        here,
        "fetching a bundle"
    );
    let mut driver = Driver::start(*arriving, &sources, place, events)?;
    let mut progress = interval(PROGRESS);
    progress.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        if let Some(ended) = driver.perform().await {
            break ended;
        }
        let wake = driver.wake();
        tokio::select! {
            // What came is heard before time passes: a sign of life before a deadline counts.
            biased;
            Some(heard) = hear(&mut driver.link) => driver.heard(heard),
            Some(done) = driver.done.recv() => driver.disk_did(done),
            sources = named.recv() => match sources {
                Some(sources) => driver.name_sources(&sources),
                None => break Err(NotFetched::Unwanted),
            },
            _ = beat.tick() => driver.ask_disk(DiskWork::Beat),
            _ = progress.tick() => driver.tell(FetchEvent::Progress(driver.fetch.progress())).await,
            () = sleep_until(wake) => driver.handle(Input::Woken),
        }
        if driver.has_no_disk {
            break Err(NotFetched::NoDisk);
        }
    };
    driver.end().await;
    ended
}

enum Received {
    Whole(StoredBundle),
    Arriving(Box<ArrivingBundle>),
}

/// Makes room, and finds what is here already.
async fn receive(seal: &Seal, place: &FetchPlace) -> Result<Received, NotFetched> {
    let (depot, room, seal) = (Depot::at(&place.depot), place.room.clone(), seal.clone());
    let received = spawn_blocking(move || {
        let id = seal.statement.id;
        let whole = depot.find(&orchestra_model::bundle::BundleReference::Id(id.to_string()));
        match whole {
            Ok(stored) => {
                // It is about to be delivered, so it stays.
                depot.note_use(id, SystemTime::now())?;
                return Ok(Received::Whole(stored));
            }
            Err(DepotError::Unknown { .. }) => {}
            Err(DepotError::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
            }
            Err(why) => return Err(why),
        }
        let needed = ByteSize(BundleShape::of(&seal.statement).bytes());
        depot.make_room(id, needed, &room, SystemTime::now())?;
        let mut arriving = depot.receive(&seal)?;
        // Where its manifest was here already; else once that has come.
        arriving.reuse(|| true)?;
        Ok(Received::Arriving(Box::new(arriving)))
    });
    received.await.map_err(|_| NotFetched::NoDisk)?.map_err(NotFetched::Depot)
}

struct Driver {
    fetch: Fetch,
    begun: Instant,
    shape: BundleShape,
    sources: InForce,
    place: FetchPlace,
    link: Option<Link>,
    /// `None` at the end.
    disk: Option<std_mpsc::Sender<DiskWork>>,
    done: mpsc::UnboundedReceiver<DiskDone>,
    stored: Option<StoredBundle>,
    /// The thread that writes has ended before it was asked to.
    has_no_disk: bool,
    /// Tells the disk that nothing is waited for any more.
    is_over: Arc<AtomicBool>,
    events: mpsc::Sender<FetchEvent>,
}

/// The present connection. It ends when this is dropped.
struct Link {
    number: LinkNumber,
    says: mpsc::UnboundedSender<Say>,
    heard: mpsc::Receiver<Heard>,
    task: AbortHandle,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What comes over the present link; nothing while there is none.
async fn hear(link: &mut Option<Link>) -> Option<(LinkNumber, Heard)> {
    match link {
        Some(link) => link.heard.recv().await.map(|heard| (link.number, heard)),
        None => std::future::pending().await,
    }
}

impl Driver {
    fn start(
        arriving: ArrivingBundle,
        sources: &FetchSources,
        place: FetchPlace,
        events: mpsc::Sender<FetchEvent>,
    ) -> Result<Self, NotFetched> {
        let shape = BundleShape::of(&arriving.seal().statement);
        let names = sources.relays.iter().map(|(host, _)| host.clone()).collect();
        let (manifest_is_here, here) = (arriving.manifest().is_some(), arriving.here().clone());
        let fetch = Fetch::new(0, shape, manifest_is_here, here, names, seed());
        let (sender, done) = mpsc::unbounded_channel();
        let is_over = Arc::new(AtomicBool::new(false));
        let disk = disk::start(arriving, &place.depot, sender, Arc::clone(&is_over)).map_err(
            |source| {
                let (attempt, path) = ("starting a thread that writes to", place.depot.clone());
                NotFetched::Depot(DepotError::Io { attempt, path, source })
            },
        )?;
        Ok(Self {
            fetch,
            begun: Instant::now(),
            shape,
            sources: InForce::of(sources),
            place,
            link: None,
            disk: Some(disk),
            done,
            stored: None,
            has_no_disk: false,
            is_over,
            events,
        })
    }

    /// The engine's moment: milliseconds since the fetch began.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn wake(&self) -> Instant {
        // Nothing waits for longer than a day without something else happening.
        let at = self.fetch.next_wake().unwrap_or(u64::MAX).min(self.now() + 86_400_000);
        self.begun + Duration::from_millis(at)
    }

    fn handle(&mut self, input: Input) {
        self.fetch.handle(self.now(), input);
    }

    fn heard(&mut self, (link, heard): (LinkNumber, Heard)) {
        let input = match heard {
            Heard::Opened => Input::Opened { link },
            Heard::Bytes => Input::Heard { link },
            Heard::Busy => Input::Busy { link },
            Heard::Refused(why) => Input::Refused { link, why },
            Heard::Breach(what) => Input::Breached { link, what },
            Heard::Closed(why) => Input::Closed { link, why },
            Heard::Part(part, bytes) => {
                self.ask_disk(DiskWork::Hash { link, part, bytes });
                Input::Landed { link, part }
            }
        };
        self.handle(input);
    }

    fn disk_did(&mut self, done: DiskDone) {
        match done {
            DiskDone::Hashed { link, part, bytes, is_good } => {
                match self.fetch.take(self.now(), Came { link, part, is_good }) {
                    Keep::Write => self.ask_disk(DiskWork::Write { part, bytes }),
                    Keep::Drop => {}
                }
            }
            DiskDone::Written { part } => self.handle(Input::Written { part }),
            DiskDone::ManifestJudged { is_good, found } => {
                if !found.is_empty() {
                    let found = found.count();
                    tracing::info!(found, "other bundles of the depot have these chunks");
                }
                self.handle(Input::ManifestJudged { is_good, found });
            }
            DiskDone::SyncEnded(synced) => self.ask_disk(DiskWork::Synced(synced)),
            DiskDone::Synced => self.handle(Input::Synced),
            DiskDone::Settled(stored) => {
                self.stored = Some(*stored);
                self.handle(Input::Settled);
            }
            DiskDone::Failed(why) => self.handle(Input::WriteFailed(why)),
        }
    }

    fn name_sources(&mut self, sources: &FetchSources) {
        self.sources = InForce::of(sources);
        if let Some(link) = &self.link {
            // A link that has ended needs none.
            let _ = link.says.send(Say::Ticket(self.sources.ticket.clone()));
        }
        let names = sources.relays.iter().map(|(host, _)| host.clone()).collect();
        self.handle(Input::SourcesNamed(names));
    }

    /// Does what the engine asks. Returns how it ended, once it has.
    async fn perform(&mut self) -> Option<Result<StoredBundle, NotFetched>> {
        while let Some(effect) = self.fetch.poll_effect() {
            match effect {
                Effect::Dial { link, source } => self.dial(link, source),
                Effect::Ask { part, .. } => {
                    if let Some(link) = &self.link {
                        // Its end is on its way if it has ended.
                        let _ = link.says.send(Say::Ask(part));
                    }
                }
                Effect::HangUp { .. } => self.link = None,
                Effect::JudgeManifest => self.ask_disk(DiskWork::JudgeManifest),
                Effect::Sync => self.ask_disk(DiskWork::Sync),
                Effect::Settle => self.ask_disk(DiskWork::Settle),
                Effect::Complain { source, fault } => {
                    tracing::warn!(%source, %fault, "a source of a bundle is not asked again");
                    self.tell(FetchEvent::Complaint { source, fault }).await;
                }
                Effect::Done => return Some(self.stored.take().ok_or(NotFetched::NoDisk)),
                Effect::Fail(why) => return Some(Err(NotFetched::Failed(why))),
            }
        }
        None
    }

    fn dial(&mut self, number: LinkNumber, host: orchestra_model::HostName) {
        let (says, to_say) = mpsc::unbounded_channel();
        let (sender, heard) = mpsc::channel(HEARD);
        // Every source that the engine knows was named with its address.
        let address = self.sources.addresses.get(&host).cloned().unwrap_or_default();
        let to = Destination {
            host,
            address,
            ticket: self.sources.ticket.clone(),
            shape: self.shape,
            domain: self.place.domain.clone(),
            files: self.place.files.clone(),
            newest: self.place.newest.clone(),
        };
        let task = tokio::spawn(link::run(to, to_say, sender)).abort_handle();
        self.link = Some(Link { number, says, heard, task });
    }

    fn ask_disk(&mut self, work: DiskWork) {
        let is_sent = self.disk.as_ref().is_some_and(|disk| disk.send(work).is_ok());
        self.has_no_disk |= !is_sent;
    }

    /// Waits until nothing of the fetch is left, so that the next one can receive the bundle.
    async fn end(mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        self.link = None;
        self.disk = None;
        while self.done.recv().await.is_some() {}
    }

    async fn tell(&self, event: FetchEvent) {
        // Nobody has to listen.
        let _ = self.events.send(event).await;
    }
}

/// A number that differs from fetch to fetch, so that children do not pause together.
fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without chance they only come together.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    u64::from_le_bytes(bytes)
}
