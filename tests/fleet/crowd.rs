//! N emulated players: the player's own link code, each with its certificate, over real
//! connections, each from a loopback address of its own.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use orchestra_certs::{ConnectError, channel_over};
use orchestra_link::{Aside, Dial, Endpoint, Link, SessionFailure, serve};
use orchestra_model::{FlowId, HostName, Timestamp};
use rustls::ClientConfig;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{Semaphore, mpsc},
    task::JoinHandle,
    time::sleep,
};
use tonic::transport::Channel;

use crate::{
    delay::Delay,
    meter::Meter,
    sitter::{Memory, Shared, Trace, WallClock, inventory},
    switch::{Gate, Stalled, Switch},
    trouble::{During as _, Result, Trouble},
    usage::open_descriptors,
    voice::Says,
};

/// As `orchestra_link` has it.
const DIAL: Duration = Duration::from_secs(10);
/// Players are at this address and after it, below the end of 127.0.0.0/8, as hosts are each at
/// their own: a conductor is fair by address.
const SOURCES: (Ipv4Addr, u64) = (Ipv4Addr::new(127, 1, 0, 0), 200 << 16);
/// Flows whose progress can be told apart at a time.
const FLOWS: usize = 1 << 14;
/// How long connections of a crowd that is over may take to be closed.
const CLOSING: Duration = Duration::from_secs(30);

/// What all players of a crowd share.
#[derive(Debug)]
pub(crate) struct Common {
    /// Tells this crowd's spools from those of all others.
    pub(crate) run: u64,
    /// Players whose session was accepted and has not ended.
    pub(crate) attached: Meter,
    /// Attempts that have ended.
    pub(crate) ended: Meter,
    /// Ends that the conductor has acknowledged, each once.
    pub(crate) acknowledged: Meter,
    /// Encoded scores of every snapshot.
    pub(crate) scores: Bytes,
    flows: Progress,
    clock: WallClock,
    dialling: Semaphore,
}

/// Ends of each flow, and who hears of those that are complete.
#[derive(Debug)]
struct Progress {
    counts: Box<[AtomicU32]>,
    /// How many make a flow complete; 0: nobody asks.
    complete_at: AtomicU32,
    complete: mpsc::UnboundedSender<FlowId>,
}

impl Common {
    /// Notes the end of an attempt.
    pub(crate) fn ended(&self, flow: FlowId) {
        self.ended.up();
        let complete_at = self.flows.complete_at.load(Ordering::Relaxed);
        if complete_at == 0 {
            return;
        }
        let count = &self.flows.counts[flow.0 as usize % FLOWS];
        if count.fetch_add(1, Ordering::Relaxed) + 1 == complete_at {
            count.store(0, Ordering::Relaxed);
            // Whoever asked may have stopped asking.
            let _ = self.flows.complete.send(flow);
        }
    }

    pub(crate) fn wall_clock(&self, moment: Instant) -> Timestamp {
        self.clock.of(moment)
    }
}

/// How a crowd behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Manner {
    /// Most tasks that each takes at once.
    pub(crate) max_tasks: u32,
    /// How long each attempt takes.
    pub(crate) delay: Delay,
    /// Most that dial at the same time, at first; later they do as players do.
    pub(crate) dialling: usize,
}

/// A player's name and what it shows in the handshake.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) host: HostName,
    pub(crate) tls: Arc<ClientConfig>,
}

/// N players.
#[derive(Debug)]
pub(crate) struct Crowd {
    pub(crate) common: Arc<Common>,
    players: Vec<Player>,
    complete: mpsc::UnboundedReceiver<FlowId>,
    descriptors_before: usize,
}

#[derive(Debug)]
struct Player {
    sitter: Shared,
    /// Its process makes no progress.
    stalled: Arc<Switch>,
    /// Its network swallows everything.
    cut_off: Arc<Switch>,
    task: JoinHandle<()>,
}

impl Crowd {
    /// Starts them all; returns at once.
    pub(crate) fn start(
        identities: &[Identity],
        conductor: SocketAddr,
        manner: Manner,
    ) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::start_again(identities, conductor, manner, now.as_nanos() as u64, &[])
    }

    /// Starts players of an earlier `run` again, who remember something, each by its place.
    pub(crate) fn start_again(
        identities: &[Identity],
        conductor: SocketAddr,
        manner: Manner,
        run: u64,
        memories: &[Memory],
    ) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (complete_sender, complete) = mpsc::unbounded_channel();
        let common = Arc::new(Common {
            run,
            attached: Meter::default(),
            ended: Meter::default(),
            acknowledged: Meter::default(),
            scores: inventory(),
            flows: Progress {
                counts: (0..FLOWS).map(|_| AtomicU32::new(0)).collect(),
                complete_at: AtomicU32::new(0),
                complete: complete_sender,
            },
            clock: WallClock { at: Instant::now(), wall: Timestamp(now.as_millis() as u64) },
            dialling: Semaphore::new(manner.dialling),
        });
        let descriptors_before = open_descriptors();
        let endpoint: Endpoint = conductor.to_string().parse().during("reading the address")?;
        let players = identities.iter().zip(0_u64..).map(|(identity, number)| {
            let sitter = Shared::new(Arc::clone(&common), number, manner.max_tasks, manner.delay);
            if let Some(memory) = memories.get(number as usize) {
                sitter.lock().remember(*memory);
            }
            let (stalled, cut_off) = (Arc::<Switch>::default(), Arc::<Switch>::default());
            let dialler = Dialler {
                endpoint: [endpoint.clone()],
                address: conductor,
                source: source(conductor, number),
                identity: identity.clone(),
                cut_off: Arc::clone(&cut_off),
                common: Arc::clone(&common),
            };
            let link = Link { from_sitter: sitter.clone(), to_sitter: sitter.clone() };
            let player = async move {
                // Ends only with the sitter, and this one stays.
                let _ = serve(&dialler, "emulated", link, Aside::none()).await;
            };
            let player = Stalled { switch: Arc::clone(&stalled), inner: Box::pin(player) };
            Player { sitter, stalled, cut_off, task: tokio::spawn(player) }
        });
        Ok(Self { players: players.collect(), common, complete, descriptors_before })
    }

    pub(crate) fn len(&self) -> usize {
        self.players.len()
    }

    /// Waits until all are attached; returns when that was.
    pub(crate) async fn attached(&self, limit: Duration) -> Result<Instant> {
        self.common.attached.reach(self.len() as u64, limit, "attached players").await
    }

    /// From here on everybody may dial at once.
    pub(crate) fn lift_dialling(&self) {
        self.common.dialling.add_permits(self.len());
    }

    /// How long attempts take that start from now on.
    pub(crate) fn set_delay(&self, delay: Delay) {
        self.players.iter().for_each(|player| player.sitter.lock().set_delay(delay));
    }

    /// What attempts write from now on.
    pub(crate) fn set_says(&self, says: Says) {
        self.players.iter().for_each(|player| player.sitter.lock().set_says(says));
    }

    /// Tells of flows with so many tasks as soon as all of them have ended.
    pub(crate) fn tell_complete(&mut self, tasks: u32) -> &mut mpsc::UnboundedReceiver<FlowId> {
        self.common.flows.complete_at.store(tasks, Ordering::Relaxed);
        self.common.flows.counts.iter().for_each(|count| count.store(0, Ordering::Relaxed));
        &mut self.complete
    }

    /// Stops the processes of some players, and cuts off others; by their places.
    pub(crate) fn disturb(&self, stalled: &[usize], cut_off: &[usize]) {
        stalled.iter().filter_map(|place| self.players.get(*place)).for_each(|p| p.stalled.stop());
        cut_off.iter().filter_map(|place| self.players.get(*place)).for_each(|p| p.cut_off.stop());
    }

    /// Ends a player, by its place, as a host that loses its power and whose peers are told so.
    pub(crate) fn lose(&self, place: usize) {
        self.players.get(place).iter().for_each(|player| player.task.abort());
    }

    /// Lets everybody go on.
    pub(crate) fn heal(&self) {
        for player in &self.players {
            player.stalled.go_on();
            player.cut_off.go_on();
        }
    }

    /// What each player executed since this was last asked, by place. Fails if the conductor did
    /// what it must not do.
    pub(crate) fn take_traces(&self) -> Result<Vec<Vec<Trace>>> {
        let traces = self.players.iter().map(|player| {
            let mut sitter = player.sitter.lock();
            match sitter.violation.take() {
                None => Ok(sitter.take_traces()),
                Some(why) => Err(Trouble::new(format!("the conductor broke the protocol: {why}"))),
            }
        });
        traces.collect()
    }

    /// Ends them all, and returns when their connections are closed.
    pub(crate) async fn stop(self) -> Result<()> {
        self.players.iter().for_each(|player| player.task.abort());
        for player in self.players {
            // Aborted is what it is.
            let _ = player.task.await;
        }
        let deadline = Instant::now() + CLOSING;
        // What else was opened meanwhile is little.
        while open_descriptors() > self.descriptors_before + 16 {
            if Instant::now() > deadline {
                return Err(Trouble::new("the players' connections did not close"));
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }
}

/// Where a player connects from: its own choice where the conductor is not on this machine.
fn source(conductor: SocketAddr, number: u64) -> Option<IpAddr> {
    let (first, count) = SOURCES;
    let address = first.to_bits() + (number % count) as u32;
    matches!(conductor.ip(), IpAddr::V4(ip) if ip.is_loopback())
        .then(|| Ipv4Addr::from_bits(address).into())
}

/// Dials as a player does, from a chosen address, through a gate, with a certificate that was read
/// before.
struct Dialler {
    endpoint: [Endpoint; 1],
    address: SocketAddr,
    source: Option<IpAddr>,
    identity: Identity,
    cut_off: Arc<Switch>,
    common: Arc<Common>,
}

impl Dialler {
    async fn connect(&self) -> std::io::Result<TcpStream> {
        let Some(source) = self.source else { return TcpStream::connect(self.address).await };
        let socket = TcpSocket::new_v4()?;
        // A port that rests after an earlier connection is as good as any.
        socket.set_reuseaddr(true)?;
        socket.bind((source, 0).into())?;
        socket.connect(self.address).await
    }
}

impl Dial for Dialler {
    fn conductors(&self) -> &[Endpoint] {
        &self.endpoint
    }

    async fn dial(
        &self,
        endpoint: &Endpoint,
    ) -> std::result::Result<(Channel, HostName), SessionFailure> {
        // Never closed.
        let _permit = self.common.dialling.acquire().await;
        let address = endpoint.to_string();
        let unreachable = |source| {
            SessionFailure::Connect(ConnectError::Unreachable { address: address.clone(), source })
        };
        let tcp = self.connect().await.map_err(unreachable)?;
        tcp.set_nodelay(true).map_err(unreachable)?;
        let io = Gate { switch: Arc::clone(&self.cut_off), inner: tcp };
        let tls = Arc::clone(&self.identity.tls);
        let channel =
            channel_over(io, &address, tls, DIAL).await.map_err(SessionFailure::Connect)?;
        Ok((channel, self.identity.host.clone()))
    }
}
