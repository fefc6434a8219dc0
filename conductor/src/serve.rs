//! Starting and stopping: everything is read and checked before the first socket opens, and
//! everything taken in is on disk before the process ends.

use std::{
    error::Error,
    fmt, fs,
    io::{self, Read},
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use orchestra_certs::{Credentials, Limits, LoadError, Reloadable, incoming};
use orchestra_flow::{Engine, RecoveredFlow, RecoveredJob, Recovery, Settings};
use orchestra_model::limits;
use orchestra_proto::v1::{audience_server::AudienceServer, players_server::PlayersServer};
use orchestra_store::{CommitError, OpenError, Reader, SqliteStore, Store};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{oneshot, watch},
};
use tonic::transport::Server;

use crate::{
    access::AccessLayer,
    audience::{AudienceService, Facts},
    config::{Config, InvalidConfig},
    driver::{Clock, Driver, mailboxes},
    fleet::{Fleet, InvalidFleet},
    history::{self, HistoryError},
    reload::Reloader,
    sessions::Sessions,
    writer::Writer,
};

/// How the conductor is started.
#[derive(Debug)]
pub struct Options {
    /// Where the configuration is.
    pub config_dir: PathBuf,
    /// Accept that the players file lacks a large part of the fleet that the store knows.
    pub allow_removal: bool,
    /// Stop when this reaches its end.
    pub lifeline: Option<fs::File>,
}

/// Why the conductor did not start, or had to stop.
#[derive(Debug)]
pub enum ServeError {
    /// The configuration cannot be used.
    Config(InvalidConfig),
    /// The players file or the groups cannot be used.
    Fleet(InvalidFleet),
    /// Certificates or key cannot be used.
    Tls(LoadError),
    /// The certificate is not this conductor's.
    NotOurCertificate {
        /// Whose it is.
        certificate: String,
        /// What it should be.
        expected: String,
    },
    /// The store cannot be opened.
    Open(OpenError),
    /// The store cannot be read.
    Recover(Box<dyn Error + Send + Sync>),
    /// The address cannot be listened on.
    Listen(SocketAddr, io::Error),
    /// A file of the state directory cannot be written.
    Write(PathBuf, io::Error),
    /// The players file lacks too much of the fleet.
    Roster(String),
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
            Self::Config(_) => f.write_str("the configuration cannot be used"),
            Self::Fleet(_) => f.write_str("the fleet's files cannot be used"),
            Self::Tls(_) => f.write_str("the TLS files cannot be used"),
            Self::NotOurCertificate { certificate, expected } => write!(
                f,
                "the certificate is {certificate}, but conductor.toml makes this {expected}: issue one \
                 with `orchestra-certs issue`, or mend `name` and `domain`"
            ),
            Self::Open(_) => f.write_str("the store cannot be opened"),
            Self::Recover(_) => f.write_str("the store cannot be read"),
            Self::Listen(address, _) => write!(f, "cannot listen on {address}"),
            Self::Write(path, _) => write!(f, "cannot write {}", path.display()),
            Self::Roster(reason) => f.write_str(reason),
            Self::Store(_) => f.write_str("the store failed"),
            Self::System(_) => f.write_str("cannot start a thread"),
            Self::Server(_) => f.write_str("the server failed"),
        }
    }
}

impl Error for ServeError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Config(cause) => Some(cause),
            Self::Fleet(cause) => Some(cause),
            Self::Tls(cause) => Some(cause),
            Self::Open(cause) => Some(cause),
            Self::Recover(cause) | Self::Server(cause) => Some(cause.as_ref()),
            Self::Listen(_, cause) | Self::Write(_, cause) | Self::System(cause) => Some(cause),
            Self::Store(cause) => Some(cause),
            Self::NotOurCertificate { .. } | Self::Roster(_) => None,
        }
    }
}

/// Runs a conductor until it is told to stop. Blocks.
pub fn serve(options: Options) -> Result<(), ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(ServeError::System)?;
    let result = runtime.block_on(run(options));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn run(options: Options) -> Result<(), ServeError> {
    let config = Config::load(&options.config_dir).map_err(ServeError::Config)?;
    let fleet = Fleet::load(&options.config_dir).map_err(ServeError::Fleet)?;
    let credentials = Credentials::load(&config.tls, &config.domain).map_err(ServeError::Tls)?;
    check_identity(&config, &credentials)?;
    let tls = Reloadable::new(credentials.server_config().map_err(ServeError::Tls)?);

    let clock = Clock::start();
    let store = SqliteStore::open(&config.state_dir).map_err(ServeError::Open)?;
    let identity = store.identity();
    let readers = store.readers();
    let reader = store.reader().map_err(|error| ServeError::Recover(error.into()))?;
    let settings = Settings { most_tasks: config.limits.max_hosts };
    let mut engine =
        recover(settings, identity, &*reader).map_err(|error| ServeError::Recover(error.into()))?;
    drop(reader);
    engine.resume(clock.now());

    let (writer, writer_thread) = Writer::start(Box::new(store)).map_err(ServeError::System)?;
    let (handle, from_sessions, from_audience) = mailboxes();
    let (fleet_sender, fleet_receiver) = watch::channel(Arc::new(Fleet::default()));
    let (term_sender, term) = watch::channel(identity.term);
    let driver = Driver::new(engine, clock, writer, fleet_sender, term_sender);
    let mut driver = tokio::spawn(driver.run(from_sessions, from_audience));
    let reloader = Reloader::new(&config, handle.clone(), clock, tls.clone());
    reloader
        .load_roster(fleet, &config.limits, options.allow_removal)
        .await
        .map_err(|status| ServeError::Roster(status.message().to_owned()))?;

    let listener = TcpListener::bind(config.listen)
        .await
        .map_err(|cause| ServeError::Listen(config.listen, cause))?;
    let address =
        listener.local_addr().map_err(|cause| ServeError::Listen(config.listen, cause))?;
    write_address(&config, address)?;
    println!("{address}");
    tracing::info!(
        %address, name = %config.name, store = %identity.store, term = identity.term.0,
        players = fleet_receiver.borrow().hosts().len(), "conductor started"
    );

    let (stop, stopping) = watch::channel(false);
    let sessions = Sessions::new(handle.clone(), identity.store, term, stopping.clone());
    let facts = Facts {
        name: config.name.clone(),
        store_id: identity.store.to_string(),
        started_at: clock.now(),
    };
    let audience = AudienceService {
        driver: handle,
        readers,
        fleet: fleet_receiver,
        reloader: reloader.clone(),
        facts: Arc::new(facts),
    };
    let mut until = stopping;
    let server = Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .layer(AccessLayer)
        .add_service(
            PlayersServer::new(sessions)
                .max_decoding_message_size(limits::MESSAGE_BYTES)
                .max_encoding_message_size(limits::MESSAGE_BYTES),
        )
        .add_service(
            AudienceServer::new(audience)
                .max_decoding_message_size(limits::MESSAGE_BYTES)
                .max_encoding_message_size(limits::MESSAGE_BYTES),
        )
        .serve_with_incoming_shutdown(incoming(listener, tls, Limits::default()), async move {
            // The sender outlives the server, so this ends only when told to.
            let _ = until.wait_for(|stopping| *stopping).await;
        });
    let server = tokio::spawn(server);

    let failed = tokio::select! {
        result = &mut driver => Some(result),
        () = told_to_stop(reloader, options.lifeline) => None,
    };
    stop.send_replace(true);
    if let Some(result) = failed {
        // The driver ends by itself only when the store failed.
        return driver_result(result);
    }
    /// How long connections get to end by themselves.
    const PATIENCE: Duration = Duration::from_secs(5);
    match tokio::time::timeout(PATIENCE, server).await {
        Ok(Ok(result)) => result.map_err(|error| ServeError::Server(error.into()))?,
        Ok(Err(error)) => return Err(ServeError::Server(error.into())),
        Err(_) => tracing::warn!("connections did not end in time"),
    }
    let result = match tokio::time::timeout(PATIENCE, driver).await {
        Ok(result) => driver_result(result),
        Err(_) => Ok(()),
    };
    drop(writer_thread);
    tracing::info!("conductor stopped");
    result
}

fn driver_result(
    result: Result<Result<(), CommitError>, tokio::task::JoinError>,
) -> Result<(), ServeError> {
    match result {
        Ok(result) => result.map_err(ServeError::Store),
        Err(error) => Err(ServeError::Server(error.into())),
    }
}

/// Returns on TERM, INT or the end of the lifeline; reloads on HUP meanwhile.
async fn told_to_stop(reloader: Reloader, lifeline: Option<fs::File>) {
    let signals = [SignalKind::hangup(), SignalKind::terminate(), SignalKind::interrupt()];
    let [Ok(mut hangup), Ok(mut terminate), Ok(mut interrupt)] = signals.map(signal) else {
        tracing::error!("cannot listen for signals");
        return;
    };
    let mut cut = lifeline.map(watch_lifeline);
    loop {
        tokio::select! {
            Some(()) = hangup.recv() => {
                // The outcome is logged, and kept for `orc conductor status`.
                let _ = reloader.reload(false).await;
            }
            _ = terminate.recv() => return,
            _ = interrupt.recv() => return,
            true = ended(&mut cut) => return,
        }
    }
}

/// Reads the lifeline on a thread of its own. Nobody writes to it: it is cut when reading ends.
fn watch_lifeline(mut lifeline: fs::File) -> oneshot::Receiver<()> {
    let (cut, is_cut) = oneshot::channel();
    std::thread::spawn(move || {
        while matches!(lifeline.read(&mut [0; 64]), Ok(1..)) {}
        // Nobody waits any more if the conductor is stopping already.
        let _ = cut.send(());
    });
    is_cut
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

fn check_identity(config: &Config, credentials: &Credentials) -> Result<(), ServeError> {
    let expected = format!("spiffe://{}/conductor/{}", config.domain, config.name);
    let certificate = credentials.identity().to_string();
    match certificate == expected {
        true => Ok(()),
        false => Err(ServeError::NotOurCertificate { certificate, expected }),
    }
}

/// Tells other programs where this one listens: whole, or not at all.
fn write_address(config: &Config, address: SocketAddr) -> Result<(), ServeError> {
    let path = config.state_dir.join("address");
    let temporary = config.state_dir.join("address.new");
    fs::write(&temporary, format!("{address}\n"))
        .and_then(|()| fs::rename(&temporary, &path))
        .map_err(|cause| ServeError::Write(path, cause))
}

/// Rebuilds the engine from the store.
fn recover(
    settings: Settings,
    identity: orchestra_store::Identity,
    reader: &dyn Reader,
) -> Result<Engine, HistoryError> {
    let recovery = Recovery {
        store: identity.store,
        term: identity.term,
        recovered: reader.recovered()?,
        next_flow: reader.next_flow()?,
        players: reader.players()?,
        requests: reader.requests()?,
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
