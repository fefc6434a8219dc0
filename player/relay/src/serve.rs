//! Starting and stopping a relay, and reading its certificates again.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc};

use orchestra_bundle::Depot;
use orchestra_certs::{
    Acceptance, Credentials, Door, Incoming, Limits, Lines, LoadError, NewestLists, Peer,
    TicketJudge, incoming,
};
use orchestra_daemon::lifeline::Lifeline;
use orchestra_model::{HostName, chain};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::{Semaphore, watch},
};
use tokio_stream::StreamExt as _;

use crate::{
    child::{self, Shared},
    config::{Config, RelayConfigError},
    rate::Rate,
};

/// How a relay is started.
#[derive(Debug)]
pub struct RelayOptions {
    /// The file of its configuration.
    pub config: PathBuf,
    /// The relay stops when this descriptor reaches its end.
    pub lifeline: Option<fs::File>,
}

/// Why a relay does not run.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    #[error(transparent)]
    Config(#[from] RelayConfigError),
    #[error("the relay's certificate")]
    Credentials(#[from] LoadError),
    #[error("listening on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    #[error("starting")]
    System(#[source] io::Error),
}

/// Threads that read from the disk.
const BLOCKING_THREADS: usize = 16;
/// Connections beyond the children that are served, each of which hears at once that the relay is busy.
const OTHERS: usize = 64;

/// Runs a relay until it is told to stop. Blocks.
pub fn serve(options: RelayOptions) -> Result<(), RelayError> {
    let config = Config::load(&options.config)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(BLOCKING_THREADS)
        .enable_all()
        .build()
        .map_err(RelayError::System)?;
    runtime.block_on(async {
        let mut hangup = signal(SignalKind::hangup()).map_err(RelayError::System)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(RelayError::System)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(RelayError::System)?;
        let lifeline = options.lifeline.map(Lifeline::watch).transpose();
        let mut lifeline = lifeline.map_err(RelayError::System)?;
        let relay = Relay::start(&config).await?;
        let reloader = relay.reloader();
        let mut running = std::pin::pin!(relay.run());
        loop {
            tokio::select! {
                () = &mut running => return Ok(()),
                Some(()) = hangup.recv() => reloader.reload(),
                _ = terminate.recv() => return Ok(()),
                _ = interrupt.recv() => return Ok(()),
                true = Lifeline::ended(&mut lifeline) => return Ok(()),
            }
        }
    })
}

/// A relay that listens.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    incoming: Incoming,
    shared: Arc<Shared>,
    /// Of children that are not served any more.
    told: Lines,
    reloader: Reloader,
}

/// Reads the certificates of a relay again.
#[derive(Clone, Debug)]
pub(crate) struct Reloader {
    config: Config,
    newest: NewestLists,
    door: Door,
    judge: watch::Sender<Arc<TicketJudge>>,
}

impl Relay {
    /// Reads the certificates and listens. Must be called within a tokio runtime.
    pub async fn start(config: &Config) -> Result<Self, RelayError> {
        let newest = NewestLists::default();
        let (acceptance, judge) = read(config, &newest)?;
        let (judge, is_judged_by) = watch::channel(judge);
        let unable = |error| RelayError::Listen(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(unable)?;
        let address = listener.local_addr().map_err(unable)?;
        let children = config.serve_children as usize;
        let shared = Shared {
            depot: Depot::at(&config.depot),
            places: Semaphore::new(children),
            rate: Rate::new(config.serve_rate),
            judge: is_judged_by,
        };
        let name = acceptance.identity().clone();
        let door = Door::new(acceptance);
        let limits = Limits { inside: children + OTHERS, places: 256, ..Limits::default() };
        let incoming = incoming(listener, door.clone(), limits);
        tracing::info!(%address, %name, depot = %config.depot.display(), children, "relay started");
        let reloader = Reloader { config: config.clone(), newest, door, judge };
        let told = Lines::new(|children| {
            tracing::warn!(children, "further children were not served any more within a second");
        });
        Ok(Self { address, incoming, shared: Arc::new(shared), told, reloader })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn reloader(&self) -> Reloader {
        self.reloader.clone()
    }

    /// Serves whoever comes. Does not end by itself; what is being sent ends when this is dropped.
    pub async fn run(mut self) {
        let mut children = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                next = self.incoming.next() => match next {
                    Some(Ok(stream)) => {
                        let peer = stream.peer().clone();
                        let (shared, told) = (Arc::clone(&self.shared), self.told.clone());
                        children.spawn(serve_peer(stream, peer, shared, told));
                    }
                    Some(Err(error)) => tracing::warn!(%error, "a connection failed"),
                    None => return,
                },
                Some(_) = children.join_next() => {}
            }
        }
    }
}

async fn serve_peer(
    stream: orchestra_certs::TlsStream,
    peer: Peer,
    shared: Arc<Shared>,
    told: Lines,
) {
    let Peer { identity, address, .. } = peer;
    let served = match HostName::new(identity.name()) {
        Ok(name) => child::serve(stream, identity.role(), name, shared).await,
        // An audience's name need not be a host's; it fetches nothing anyway.
        Err(why) => Err(child::ChildError::Refused(why.to_string())),
    };
    match served {
        Ok(bytes) => tracing::debug!(peer = %identity, %address, bytes, "a child left"),
        Err(why) => {
            let reason = chain(&why);
            told.write(|| {
                tracing::warn!(peer = %identity, %address, reason, "a child is not served any more");
            });
        }
    }
}

impl Reloader {
    /// Puts the certificates in force that the files hold now. If they cannot be used, what was read
    /// before stays in force.
    pub(crate) fn reload(&self) {
        match read(&self.config, &self.newest) {
            Ok((acceptance, judge)) => {
                let ended = self.door.replace(&acceptance);
                self.judge.send_replace(judge);
                tracing::info!(ended, "certificates were read again");
            }
            Err(error) => {
                let reason = chain(&error);
                tracing::error!(reason, "certificates cannot be used: those before stay in force");
            }
        }
    }
}

fn read(
    config: &Config,
    newest: &NewestLists,
) -> Result<(Arc<Acceptance>, Arc<TicketJudge>), LoadError> {
    let credentials = Credentials::load_after(&config.tls, &config.domain, newest)?;
    if let Some(older) = credentials.older_list() {
        tracing::warn!("{older}");
    }
    Ok((credentials.relay_acceptance()?, Arc::new(credentials.ticket_judge()?)))
}
