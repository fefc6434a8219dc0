//! Starting and stopping: everything is read and checked before the first socket opens, and
//! everything taken in is on disk before the process ends.
//!
//! It stops from the outside to the inside: no more connections; sessions and streams end with a
//! status that says why; what was asked before is answered; then the driver takes in what is
//! left, writes it, and closes the store. Whoever does not let go in time is cut off.

use std::{
    error::Error,
    fmt, fs,
    io::{self, Read, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use orchestra_certs::{Acceptance, Door, Incoming, Limits, incoming};
use orchestra_flow::{Engine, RecoveredFlow, RecoveredJob, Recovery, Settings};
use orchestra_model::{Deployments, audit::Verb, limits};
use orchestra_proto::v1::{audience_server::AudienceServer, players_server::PlayersServer};
use orchestra_store::{CommitError, Identity, OpenError, Reader, SqliteStore, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{Signal, SignalKind, signal},
    sync::{oneshot, watch},
    task::JoinError,
    time::timeout,
};
use tonic::transport::Server;

use crate::{
    config::{Config, InvalidConfig},
    desk::{Desk, Facts},
    driver::{Asked, Clock, Driver, Remembered, mailboxes},
    fleet::{Fleet, InvalidFleet},
    grpc::{AccessLayer, AudienceCalls, BoundsLayer, PlayerCalls},
    history::{self, HistoryError},
    inventory::Inventory,
    lines::{Patience, Sessions},
    proof::{Found, InvalidKey, KeyFile, Keys, Proofs},
    reading::{Reading, Unread},
    reload::Reloader,
    retention,
    tls::{self, InvalidTls},
    writer::Writer,
};

/// How the conductor is started.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the configuration is.
    pub config_dir: PathBuf,
    /// Make a store where there never was one.
    pub new_store: bool,
    /// Accept that the players file lacks a large part of the fleet that the store knows, and that
    /// limits which the store knows are in the files no more.
    pub allow_removal: bool,
    /// Stop when this reaches its end.
    pub lifeline: Option<fs::File>,
    /// How long players are waited for.
    pub patience: Patience,
}

/// Why the conductor did not start, or had to stop.
#[derive(Debug)]
pub enum ServeError {
    /// The configuration cannot be used.
    Config(InvalidConfig),
    /// Files take too long to be read.
    Read(Unread),
    /// The players file, the groups or the deployments cannot be used.
    Fleet(InvalidFleet),
    /// Certificates or key cannot be used.
    Tls(InvalidTls),
    /// The store cannot be opened.
    Open(OpenError),
    /// The key that orders are proven with cannot be used.
    ProofKey(InvalidKey),
    /// The store cannot be read.
    Recover(Box<dyn Error + Send + Sync>),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// A file of the state directory cannot be written.
    Write(PathBuf, io::Error),
    /// The players file lacks too much of the fleet, or the deployments do not suit a living flow.
    Roster(Box<dyn Error + Send + Sync>),
    /// The store failed while running: what is on disk is what counts.
    Store(CommitError),
    /// The runtime or a thread cannot be started.
    System(io::Error),
    /// The server failed.
    Server(Box<dyn Error + Send + Sync>),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // It says so itself.
            Self::Read(cause) => cause.fmt(f),
            Self::Config(_) => f.write_str("the configuration cannot be used"),
            Self::Fleet(_) => f.write_str("the fleet's files cannot be used"),
            // It says so itself.
            Self::Tls(cause) => cause.fmt(f),
            Self::Roster(cause) => cause.fmt(f),
            Self::ProofKey(cause) => cause.fmt(f),
            Self::Open(_) => f.write_str("the store cannot be opened"),
            Self::Recover(_) => f.write_str("the store cannot be read"),
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Write(path, _) => write!(f, "cannot write {}", path.display()),
            Self::Store(_) => f.write_str("the store failed"),
            Self::System(_) => f.write_str("the system gives no threads or signals"),
            Self::Server(_) => f.write_str("the server failed"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(cause) => cause.source(),
            Self::Config(cause) => Some(cause),
            Self::Fleet(cause) => Some(cause),
            Self::Tls(cause) => cause.source(),
            Self::ProofKey(cause) => cause.source(),
            Self::Open(cause) => Some(cause),
            Self::Recover(cause) | Self::Server(cause) => Some(cause.as_ref()),
            Self::Listen(_, cause) | Self::Write(_, cause) | Self::System(cause) => Some(cause),
            Self::Store(cause) => Some(cause),
            Self::Roster(cause) => cause.source(),
        }
    }
}

/// Threads for host sets, files and the store's readers. What waits for one costs little.
const BLOCKING_THREADS: usize = 16;
/// How often a ping is sent over each connection, and how long its answer may take: for a peer that
/// does nothing any more, though its host lives. Clients ping more often, and the kernel notices a
/// host that is gone (`orchestra_certs`), so that this may be rare: it is what a connection costs
/// that does nothing.
const PING_INTERVAL: Duration = Duration::from_secs(60);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Most connections that the kernel holds until there is time for them; it has its own, lower
/// bound (`net.core.somaxconn`, 4,096). What does not fit in is dropped and comes again a second
/// later, then after two and four: who waits there waits in order.
const QUEUE: u32 = 65_535;
/// Most calls at once on one connection: a tool has two, a player one.
const CALLS: u32 = 128;
/// Most bytes of requests, on one connection, that are on their way or not looked at yet: what a peer
/// may leave there with each of its connections. A submission of megabytes comes in so many rounds.
const WINDOW: u32 = 256 << 10;
/// Longest headers of a call, in bytes: ours have a few hundred.
const HEADERS: u32 = 8 << 10;
/// How long connections, and then the driver, get to end by themselves.
const PATIENCE: Duration = Duration::from_secs(5);

/// Runs a conductor until it is told to stop. Blocks.
pub fn serve(options: Options) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(ServeError::System)?;
    let result = runtime.block_on(run(options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(options: Options) -> Result<(), ServeError> {
    let begin = Instant::now();
    // Before anything else: a reload that is asked for early must not end the process.
    let hangup = signal(SignalKind::hangup()).map_err(ServeError::System)?;
    let directory = options.config_dir.clone();
    let (config, fleet, acceptance) = Reading::default()
        .run(move || read_files(&directory))
        .await
        .map_err(ServeError::Read)??;
    let (fleet, door) = (Arc::new(fleet), Door::new(acceptance));

    let files = begin.elapsed();

    let clock = Clock::start();
    let open = if options.new_store { SqliteStore::open_or_make } else { SqliteStore::open };
    let mut store = open(&config.state_dir).map_err(ServeError::Open)?;
    forget_address(&config)?;
    let key_file = KeyFile::new(&config.state_dir);
    let (keys, doubt) = keys(&key_file, &mut store)?;
    let proofs = Proofs::new(keys);
    let (identity, readers) = (store.identity(), store.readers());
    let engine = engine(identity, clock, &store, fleet.deployments(), doubt)?;
    let remembered = remembered(identity, &store)?;
    let writer = Writer::start(Box::new(store), key_file).map_err(ServeError::System)?;
    let recovery = begin.elapsed() - files;

    let (handle, from, finish) = mailboxes();
    let (fleet_sender, fleet_receiver) = watch::channel(Arc::new(Fleet::default()));
    let inventory = Inventory::default();
    let driver = Driver::new(
        engine,
        clock,
        remembered,
        writer,
        proofs.clone(),
        fleet_sender,
        inventory.clone(),
    );
    let mut driver = tokio::spawn(driver.run(from));
    let reloader =
        Reloader::new(config.clone(), handle.clone(), clock, door.clone(), fleet_receiver.clone());
    // A start takes away more than a reload may only where somebody said so here.
    let allowed = options.allow_removal.then(|| Asked::locally(Verb::Reload));
    tokio::select! {
        // The driver ends by itself only when the store failed.
        result = &mut driver => return driver_result(result),
        result = reloader.load_fleet(fleet, &config.limits, options.allow_removal, allowed) => {
            result.map_err(|declined| ServeError::Roster(declined.into()))?;
        }
    }

    let unable = |cause| ServeError::Listen(config.listen, cause);
    let listener = bind(config.listen).map_err(unable)?;
    let address = listener.local_addr().map_err(unable)?;
    let told = Told::listen(hangup, options.lifeline).map_err(ServeError::System)?;
    write_address(&config, address)?;
    tracing::info!(
        %address, name = %config.name, store = %identity.store, term = identity.term.0,
        players = fleet_receiver.borrow().hosts().len(),
        deployments = fleet_receiver.borrow().deployments().len(),
        // Where the time of a slow start went: reading files, reading the store, the rest.
        files_ms = files.as_millis(), recovery_ms = recovery.as_millis(),
        fleet_ms = (begin.elapsed() - files - recovery).as_millis(), "conductor started"
    );

    let (stop, stopping) = watch::channel(false);
    let patience = options.patience;
    let sessions =
        Sessions::new(handle.clone(), identity.store, proofs.clone(), patience, stopping.clone());
    let facts = Facts {
        name: config.name.clone(),
        store_id: identity.store.to_string(),
        started_at: clock.now(),
        proofs,
    };
    let kept = retention::run(handle.clone(), Arc::clone(&readers), reloader.clone(), clock);
    tokio::spawn(kept);
    let desk = Desk::new(
        handle,
        readers,
        fleet_receiver,
        inventory,
        reloader.clone(),
        facts,
        stopping.clone(),
    );
    let incoming = incoming(listener, door, strangers(raise_file_limit()));
    let server = tokio::spawn(listen(incoming, sessions, desk, stopping));

    let failed = tokio::select! {
        result = &mut driver => Some(result),
        () = told.wait(&reloader) => None,
    };
    stop.send_replace(true);
    if let Some(result) = failed {
        return driver_result(result);
    }
    tracing::info!("conductor stops");
    match timeout(PATIENCE, server).await {
        Ok(Ok(result)) => result.map_err(|error| ServeError::Server(error.into()))?,
        Ok(Err(error)) => return Err(ServeError::Server(error.into())),
        Err(_) => tracing::warn!("connections did not end in time"),
    }
    // Where it has failed meanwhile, its result says so.
    let _ = finish.send(());
    match timeout(PATIENCE, driver).await {
        Ok(result) => driver_result(result)?,
        Err(_) => {
            tracing::warn!("what was taken in last was not stored in time; nobody was answered");
        }
    }
    tracing::info!("conductor stopped");
    Ok(())
}

/// Everything that the configuration consists of.
fn read_files(directory: &Path) -> Result<(Config, Fleet, Arc<Acceptance>), ServeError> {
    let config = Config::load(directory).map_err(ServeError::Config)?;
    let fleet = Fleet::load(directory).map_err(ServeError::Fleet)?;
    let fleet = fleet.revoking(config.tls.crl.is_some());
    let acceptance = tls::load(&config).map_err(ServeError::Tls)?;
    Ok((config, fleet, acceptance))
}

/// Raises how many files this process may have open, as far as it may: each player is one.
fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        maximum.unwrap_or(u64::MAX)
    } else {
        current.unwrap_or(u64::MAX)
    }
}

/// What strangers may cost: of the files that may be open, those whose handshake is not done have
/// an eighth at most, and those who are inside three quarters. The rest is for the store's readers,
/// and the files of the configuration.
fn strangers(files: u64) -> Limits {
    let limits = Limits::default();
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    Limits { places: (files / 8).min(limits.places), inside: files / 4 * 3, ..limits }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` does: connections of the one before may still be on their way out.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

/// The server, until it is told to stop and every connection has ended.
async fn listen(
    incoming: Incoming,
    sessions: Sessions,
    desk: Desk,
    mut until: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .http2_keepalive_interval(Some(PING_INTERVAL))
        .http2_keepalive_timeout(Some(PING_TIMEOUT))
        .max_concurrent_streams(CALLS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_max_header_list_size(HEADERS)
        .layer(AccessLayer::new())
        .layer(BoundsLayer::new())
        .add_service(
            PlayersServer::new(PlayerCalls::new(sessions))
                .max_decoding_message_size(limits::MESSAGE_BYTES)
                .max_encoding_message_size(limits::MESSAGE_BYTES),
        )
        .add_service(
            AudienceServer::new(AudienceCalls::new(desk))
                .max_decoding_message_size(limits::MESSAGE_BYTES)
                .max_encoding_message_size(limits::MESSAGE_BYTES),
        )
        .serve_with_incoming_shutdown(incoming, async move {
            // The sender outlives the server, so this ends only when told to.
            let _ = until.wait_for(|stopping| *stopping).await;
        })
        .await
}

fn driver_result(result: Result<Result<(), CommitError>, JoinError>) -> Result<(), ServeError> {
    match result {
        Ok(result) => result.map_err(ServeError::Store),
        Err(error) => Err(ServeError::Server(error.into())),
    }
}

/// Where we are told what to do from outside.
struct Told {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
    lifeline: Option<oneshot::Receiver<()>>,
}

impl Told {
    fn listen(hangup: Signal, lifeline: Option<fs::File>) -> io::Result<Self> {
        Ok(Self {
            hangup,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            lifeline: lifeline.map(watch_lifeline).transpose()?,
        })
    }

    /// Returns on TERM, INT or the end of the lifeline; reloads on HUP meanwhile.
    async fn wait(mut self, reloader: &Reloader) {
        loop {
            tokio::select! {
                Some(()) = self.hangup.recv() => {
                    // Beside this, for it may take long, or wait for a store that is full. The
                    // outcome is logged, and kept for `orc conductor status`.
                    let reloader = reloader.clone();
                    tokio::spawn(async move { reloader.reload(false, Asked::locally(Verb::Reload)).await });
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                true = ended(&mut self.lifeline) => return,
            }
        }
    }
}

/// Reads the lifeline on a thread of its own. Nobody writes to it: it is cut when reading ends.
fn watch_lifeline(mut lifeline: fs::File) -> io::Result<oneshot::Receiver<()>> {
    let (cut, is_cut) = oneshot::channel();
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        while matches!(lifeline.read(&mut [0; 64]), Ok(1..)) {}
        // Nobody waits any more if the conductor is stopping already.
        let _ = cut.send(());
    })?;
    Ok(is_cut)
}

/// Waits for the end of the lifeline; false at once where there is none.
async fn ended(cut: &mut Option<oneshot::Receiver<()>>) -> bool {
    match cut {
        Some(cut) => {
            // An error too means that nobody holds it any more.
            let _ = cut.await;
            true
        }
        None => false,
    }
}

/// The file that tells other programs where this one listens.
fn address_file(config: &Config) -> PathBuf {
    config.state_dir.join("address")
}

/// Removes what the last one left, so that nobody goes there.
fn forget_address(config: &Config) -> Result<(), ServeError> {
    let path = address_file(config);
    match fs::remove_file(&path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => {
            Err(ServeError::Write(path, cause))
        }
        _ => Ok(()),
    }
}

/// Tells other programs where this one listens: whole, or not at all.
fn write_address(config: &Config, address: SocketAddr) -> Result<(), ServeError> {
    let path = address_file(config);
    let temporary = path.with_extension("new");
    fs::write(&temporary, format!("{address}\n"))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|cause| ServeError::Write(path, cause))?;
    // Whoever started us may have closed our standard output, or may not read it: nobody waits.
    let tell = move || {
        let _ = writeln!(io::stdout(), "{address}");
    };
    let _ = std::thread::Builder::new().name("address".to_owned()).spawn(tell);
    Ok(())
}

/// The store's proof keys; and why the store counts as an old copy, where keys and store do not belong
/// together. A store that has none gets its first.
fn keys(file: &KeyFile, store: &mut SqliteStore) -> Result<(Keys, Option<String>), ServeError> {
    let recorded = store.proof_key().map_err(|error| ServeError::Recover(error.into()))?;
    match file.open(recorded).map_err(ServeError::ProofKey)? {
        Found::Ours(keys) => Ok((keys, None)),
        Found::Made(keys, id) => {
            store.set_proof_key(id).map_err(ServeError::Store)?;
            file.adopt().map_err(ServeError::ProofKey)?;
            Ok((keys, None))
        }
        Found::Apart(keys, why) => {
            tracing::error!(
                why,
                "the store may be an old copy: nothing is sent; see `orc conductor recover`"
            );
            Ok((keys, Some(why)))
        }
    }
}

/// The engine as the store has it, ready to go on.
fn engine(
    identity: Identity,
    clock: Clock,
    store: &SqliteStore,
    deployments: &Arc<Deployments>,
    doubt: Option<String>,
) -> Result<Engine, ServeError> {
    // A reload may change how many tasks a flow may have, so the service looks at that.
    let settings = Settings { most_tasks: u64::MAX };
    let reader = store.reader().map_err(|error| ServeError::Recover(error.into()))?;
    let mut engine = recover(settings, identity, &*reader, deployments, doubt)
        .map_err(|error| ServeError::Recover(error.into()))?;
    engine.resume(clock.now());
    Ok(engine)
}

/// What the store says of the time before this start.
fn remembered(identity: Identity, store: &SqliteStore) -> Result<Remembered, ServeError> {
    let read = store.reader().and_then(|reader| {
        let (in_force, last_audit) = (reader.in_force()?, reader.last_audit()?);
        Ok(Remembered { identity, in_force, last_audit })
    });
    read.map_err(|error| ServeError::Recover(error.into()))
}

/// Rebuilds the engine from the store.
pub(crate) fn recover(
    settings: Settings,
    identity: Identity,
    reader: &dyn Reader,
    deployments: &Arc<Deployments>,
    doubt: Option<String>,
) -> Result<Engine, HistoryError> {
    let recovery = Recovery {
        store: identity.store,
        term: identity.term,
        recovered: reader.recovered()?,
        next_flow: reader.next_flow()?,
        players: reader.players()?,
        requests: reader.requests()?,
        holds: reader.holds()?,
        deployments: Arc::clone(deployments),
        doubt,
    };
    let mut engine = Engine::recover(settings, recovery);
    for record in reader.live_flows()? {
        let spec = history::spec(reader, record.id)?;
        let jobs = reader.jobs(record.id)?.into_iter().map(|record| {
            let mut tasks = Vec::new();
            reader.each_task(record.id, &mut |task| tasks.push(task))?;
            Ok(RecoveredJob {
                targets: history::targets(reader, record.id)?,
                params: reader.params(record.id)?.unwrap_or_default(),
                tasks,
                record,
            })
        });
        let jobs = jobs.collect::<Result<Vec<_>, HistoryError>>()?;
        engine.restore(RecoveredFlow { record, spec, jobs });
    }
    Ok(engine)
}
