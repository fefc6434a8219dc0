//! Starting and stopping: everything is read and checked before the first socket opens, and
//! everything taken in is on disk before the process ends.
//!
//! It stops from the outside to the inside. It accepts no more connections. Sessions and streams
//! end with a status that says why. What was asked before is answered. Then the driver takes what
//! is left, writes it, and closes the store. Connections that do not end in time are cut.

mod address;
mod error;
mod told;

use std::{
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use orchestra_certs::{Acceptance, Door, Limits, incoming};
use orchestra_model::audit::Verb;
use orchestra_store::{CommitError, SqliteStore, Store};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::{
    net::{TcpListener, TcpSocket},
    signal::unix::{SignalKind, signal},
    sync::watch,
    task::JoinError,
    time::timeout,
};

pub use self::error::ServeError;
use self::{
    address::{forget_address, write_address},
    told::Told,
};
use crate::{
    certificates,
    config::Config,
    desk::{Desk, Facts, Sources},
    driver::{Asked, Clock, Driver, engines, mailboxes, remembered},
    export::{self, Export},
    fetches::Fetches,
    fleet::Fleet,
    grpc,
    incidents::Incidents,
    inventory::Inventory,
    lines::{LogReadings, Patience, PlayerLines, Tables},
    places::PlacesTold,
    proof::{Found, KeyFile, Keys, Proofs},
    reading::Reading,
    reload::{Allowed, Reloader},
    retention, tls,
    vitals::Vitals,
    writer::Writer,
};

/// How the conductor is started.
#[derive(Debug, Default)]
pub struct Options {
    /// Where the configuration is.
    pub config_dir: PathBuf,
    /// Whether to make a store if there is none.
    pub new_store: bool,
    /// Whether to accept that the files lack a large part of the fleet, or limits, that the store
    /// knows.
    pub allow_removal: bool,
    /// Whether to accept that files take over services that an audience applied.
    pub take_over: bool,
    /// The conductor stops when this descriptor reaches its end.
    pub lifeline: Option<fs::File>,
    /// How long the conductor waits for players.
    pub patience: Patience,
}

/// Threads for host sets, files and the store's readers. Work that waits for a thread costs little.
const BLOCKING_THREADS: usize = 16;
/// Most connections that the kernel keeps until they are accepted; its own bound is lower
/// (`net.core.somaxconn`, 4,096). A connection that does not fit is dropped and tried again after
/// one, two and four seconds, while those in the queue are served in order.
const QUEUE: u32 = 65_535;
/// How long connections, and then the driver, may take to end by themselves.
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
    // This is first, because a SIGHUP that comes early must not end the process.
    let hangup = signal(SignalKind::hangup()).map_err(ServeError::System)?;
    let directory = options.config_dir.clone();
    let (config, fleet, acceptance) = Reading::default()
        .run(move || read_files(&directory))
        .await
        .map_err(ServeError::Read)??;
    let (fleet, door) = (Arc::new(fleet), Door::new(acceptance));
    let (incidents, export) = (Incidents::default(), Export::default());
    let seen = incidents.clone();
    door.observe(move |sighting| seen.sighted(sighting));

    let files = begin.elapsed();

    let clock = Clock::start();
    let open = if options.new_store { SqliteStore::open_or_make } else { SqliteStore::open };
    let mut store = open(&config.state_dir).map_err(ServeError::Open)?;
    forget_address(&config)?;
    let key_file = KeyFile::new(&config.state_dir);
    let (keys, doubt) = keys(&key_file, &mut store)?;
    let proofs = Proofs::new(keys);
    let (identity, readers) = (store.identity(), store.readers());
    let engines = engines(identity, clock, &store, &fleet, doubt);
    let engines = engines.map_err(ServeError::Recover)?;
    let remembered = remembered(identity, &store).map_err(ServeError::Recover)?;
    let writer = Writer::start(Box::new(store), key_file).map_err(ServeError::System)?;
    let recovery = begin.elapsed() - files;

    let (handle, from, finish) = mailboxes();
    let (fleet_sender, fleet_receiver) = watch::channel(Arc::new(Fleet::default()));
    let inventory = Inventory::default();
    let driver = Driver::new(
        engines,
        clock,
        remembered,
        writer,
        proofs.clone(),
        fleet_sender,
        inventory.clone(),
    );
    let mut driver = tokio::spawn(driver.run(from));
    let reloader = Reloader::new(
        config.clone(),
        handle.clone(),
        clock,
        door.clone(),
        fleet_receiver.clone(),
        incidents.clone(),
    );
    // A start may remove more than a reload only if an option says so.
    // Whoever starts a conductor is no audience, so no policy locks them out.
    let allowed =
        Allowed { removal: options.allow_removal, take_over: options.take_over, lockout: true };
    let asked = (allowed.removal || allowed.take_over).then(|| Asked::locally(Verb::Reload));
    tokio::select! {
        // The driver ends by itself only when the store failed.
        result = &mut driver => return driver_result(result),
        result = reloader.load_fleet(fleet, &config.limits, allowed, asked) => {
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
        // These tell what a slow start took its time for: reading files, reading the store, the
        // rest.
        files_ms = files.as_millis(), recovery_ms = recovery.as_millis(),
        fleet_ms = (begin.elapsed() - files - recovery).as_millis(), "conductor started"
    );

    let (stop, stopping) = watch::channel(false);
    let patience = options.patience;
    let (readings, vitals) = (LogReadings::default(), Vitals::default());
    let places = PlacesTold::default();
    // Who signs tickets is whoever connections are shown, also after a reload.
    let shown = door.clone();
    let signer = move || shown.acceptance().ticket_signer().cloned();
    let fetches = Fetches::new(fleet_receiver.clone(), signer, clock);
    let lines = PlayerLines::new(
        handle.clone(),
        identity.store,
        proofs.clone(),
        Tables {
            readings: readings.clone(),
            vitals: vitals.clone(),
            places: places.clone(),
            fetches: fetches.clone(),
            fleet: fleet_receiver.clone(),
        },
        patience,
        stopping.clone(),
    );
    let facts = Facts {
        name: config.name.clone(),
        domain: config.domain.clone(),
        store_id: identity.store.to_string(),
        started_at: clock.now(),
        proofs,
        incidents: incidents.clone(),
        export: export.clone(),
    };
    let exporting = export.start(&config.state_dir, Arc::clone(&readers), reloader.clone());
    let exporting = exporting.map_err(ServeError::System)?;
    tokio::spawn(export::tell_head(handle.clone()));
    let noted = tokio::spawn(incidents.clone().run(handle.clone(), stopping.clone()));
    let kept = retention::run(handle.clone(), Arc::clone(&readers), reloader.clone(), clock);
    tokio::spawn(kept);
    tokio::spawn(certificates::watch(reloader.clone()));
    let fleet = fleet_receiver;
    let sources = Sources { readers, fleet, inventory, readings, vitals, places, fetches };
    let desk = Desk::new(handle, sources, reloader.clone(), facts, stopping.clone());
    let incoming = incoming(listener, door, strangers(raise_file_limit()));
    let server = tokio::spawn(grpc::listen(incoming, lines, desk, incidents, stopping));

    let failed = tokio::select! {
        result = &mut driver => Some(result),
        () = told.wait(&reloader, &export) => None,
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
    // What was noted last is recorded before the driver ends, unless the store cannot be written.
    if timeout(PATIENCE, noted).await.is_err() {
        tracing::warn!("what was refused last is not on record");
    }
    // If the driver has failed meanwhile, its result says so.
    let _ = finish.send(());
    match timeout(PATIENCE, driver).await {
        Ok(result) => driver_result(result)?,
        Err(_) => {
            tracing::warn!("what was taken in last was not stored in time; nobody was answered");
        }
    }
    exporting.finish().await;
    tracing::info!("conductor stopped");
    Ok(())
}

/// Reads everything that the configuration consists of.
fn read_files(directory: &Path) -> Result<(Config, Fleet, Arc<Acceptance>), ServeError> {
    let config = Config::load(directory).map_err(ServeError::Config)?;
    let fleet = Fleet::load(directory).and_then(|fleet| fleet.governed(&config));
    let fleet = fleet.map_err(ServeError::Fleet)?;
    let acceptance = tls::load(&config).map_err(ServeError::Tls)?;
    let fleet = fleet.revoking(acceptance.revocation_lists());
    Ok((config, fleet, acceptance))
}

/// Raises the bound of open files of this process as far as possible, because each player takes
/// one.
fn raise_file_limit() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok() {
        maximum.unwrap_or(u64::MAX)
    } else {
        current.unwrap_or(u64::MAX)
    }
}

/// Files that the conductor opens besides its connections: of the store, of its readers, of the
/// configuration, and some spare.
const OTHER_FILES: usize = 256;

/// How many files are kept for other things than connections. Where few may be open, it is half of
/// them. Otherwise the spare ones would leave players and operators outside.
fn other_files(files: usize) -> usize {
    OTHER_FILES.min(files / 2)
}

/// Divides the files that may be open. At most a sixteenth is for connections whose handshake is
/// not done. Accepted connections have the others, except [`other_files`].
fn strangers(files: u64) -> Limits {
    let limits = Limits::default();
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let places = (files / 16).clamp(1, limits.places);
    let inside = files.saturating_sub(places + other_files(files)).max(1);
    Limits { places, inside, ..limits }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As `TcpListener::bind` does, because connections of an earlier process may still be closing.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(QUEUE)
}

fn driver_result(result: Result<Result<(), CommitError>, JoinError>) -> Result<(), ServeError> {
    match result {
        Ok(result) => result.map_err(ServeError::Store),
        Err(error) => Err(ServeError::Server(error.into())),
    }
}

/// Returns the store's proof keys, and why the store counts as an old copy if keys and store do not
/// belong together. A store without a key gets its first one.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An account that may open 20,000 files, as is common, is enough for the fleet that
    /// docs/results.md measures.
    #[test]
    fn few_files_are_enough_for_a_large_fleet() {
        assert!(strangers(20_000).inside > 18_000);
        for files in [0, 1, 256, 1_024, 20_000, 1 << 20] {
            let limits = strangers(files);
            let most = limits.places + limits.inside;
            assert!(limits.places > 0 && limits.inside > 0);
            let files = usize::try_from(files).unwrap();
            assert!(files < 4 || most + other_files(files) <= files);
        }
    }

    /// A limit that a container or a shell set low is no outage: players and operators have room.
    #[test]
    fn very_few_files_leave_room_for_more_than_one() {
        assert!(strangers(80).inside >= 32);
        assert!(strangers(256).inside >= 100);
    }
}
