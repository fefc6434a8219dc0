//! The command line.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Parser, ValueEnum};
use orchestra_model::{HostName, Millis};

use crate::delay::Delay;

/// Attaches emulated players to a real conductor, and measures.
///
/// The players are this program's; between them and the conductor everything is real: protocol,
/// mutual TLS with a certificate a player, the player's own link code and spool. Only processes
/// are replaced, by an answer after --delay. The conductor is a child with a store on disk, which
/// scenarios kill as `kill -9` does; it, `getstatus` and `player` are looked for beside this
/// program:
///
///     cargo build --release --bins && target/release/fleet ping -n 18000
///
/// Every scenario ends by killing the conductor, starting it again, and checking that every task
/// was executed once and has one verdict. It prints lines for people and a JSON document on one
/// line. See docs/fleet.md.
#[derive(Clone, Debug, Parser)]
#[command(name = "fleet", version, verbatim_doc_comment)]
pub(crate) struct Args {
    /// What to measure
    #[arg(required = true, value_enum, value_name = "SCENARIO")]
    pub(crate) scenarios: Vec<Scenario>,

    /// How many players
    #[arg(short = 'n', long, default_value_t = 1_000)]
    pub(crate) players: usize,

    /// How often each measurement is repeated; the median counts [default: 5]
    #[arg(long)]
    rounds: Option<usize>,

    /// How long `throughput`, each half of `constrained`, and `idle` last [default: 60]
    #[arg(long)]
    seconds: Option<u64>,

    /// How long each attempt takes in `ping`, `throughput` and `constrained`: 0, 10ms, 5ms..50ms, exp:20ms
    #[arg(long, default_value = "0", value_name = "DISTRIBUTION")]
    pub(crate) delay: Delay,

    /// Most tasks that a player takes at once, in `throughput` and `constrained`
    #[arg(long, default_value_t = 32)]
    pub(crate) max_tasks: u32,

    /// Flows that are under way at any time, in `throughput` and `constrained`
    #[arg(long, default_value_t = 2)]
    pub(crate) in_flight: usize,

    /// Watch each flow in `ping`, as `submitjob --wait` does
    #[arg(long)]
    pub(crate) watch: bool,

    /// How long the conductor is down, in `reconnect` [default: 1s]
    #[arg(long, value_name = "DURATION")]
    down: Option<Millis>,

    /// Living flows over all players, in `restart` [default: as many as make 1,000,000 tasks]
    #[arg(long)]
    flows: Option<usize>,

    /// How many wait for one flow, in `waiters` [default: 200]
    #[arg(long)]
    waiters: Option<usize>,

    /// Every host is in ten cells, in `restart`
    #[arg(long)]
    pub(crate) constrained: bool,

    /// Most players that dial at the same time when a fleet first attaches
    #[arg(long, default_value_t = 128)]
    pub(crate) dialling: usize,

    /// Threads of the emulator's runtime; with one, the orders of a burst wait for the emulator
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,

    /// Everything in a few seconds: for tests of this program
    #[arg(long)]
    short: bool,

    /// Print nothing but the JSON documents
    #[arg(long)]
    pub(crate) json: bool,

    /// Keep certificates, stores and logs here; certificates are used again [default: a temporary
    /// directory]
    #[arg(long)]
    pub(crate) dir: Option<PathBuf>,

    /// Where conductor, getstatus and player are [default: beside this program]
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: Option<PathBuf>,

    /// Attach to this conductor instead of starting one; its players file has p[1-N]
    #[arg(long, value_name = "ADDRESS:PORT", requires_all = ["conductor_name", "ca"])]
    pub(crate) conductor: Option<SocketAddr>,

    /// That conductor's name
    #[arg(long, value_name = "NAME")]
    pub(crate) conductor_name: Option<HostName>,

    /// The directory of its certificate authority, as orchestra-certs makes it
    #[arg(long, value_name = "DIR")]
    pub(crate) ca: Option<PathBuf>,

    /// Its process, where it is on this machine: for CPU and memory
    #[arg(long)]
    pub(crate) pid: Option<u32>,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// All players attach; beside it, the same to a bare tonic server
    Attach,
    /// One no-op job over all players, from submit to durable verdict
    Ping,
    /// Many short tasks, for a minute
    Throughput,
    /// Many short tasks where every host is in ten cells; beside it, where it is in none
    Constrained,
    /// The conductor is killed; until all are back and reconciled
    Reconnect,
    /// The conductor is started over a store with a million tasks of living flows
    Restart,
    /// Nothing happens
    Idle,
    /// Status of everything while a flow runs
    Listing,
    /// The outputs of a flow, of which three differ, gathered
    Gather,
    /// What up to 500 players write, a hundred lines a second each, is followed; beside it by somebody who
    /// has stopped reading
    Follow,
    /// Many wait for one flow of 100,000 tasks, which is cancelled; beside it, nobody waits
    Waiters,
    /// One player in a hundred reads nothing, one vanishes without closing
    Slow,
    /// Ten services on every player, named and chosen, from apply until all are ready; beside it, as many
    /// tasks. Then a restart over them, and a player that is lost
    Services,
    /// One real player runs real processes; beside it, spawning alone
    Exec,
    /// All of these, in this order
    All,
}

impl Scenario {
    /// Itself, or each one.
    pub(crate) fn each(self) -> Vec<Scenario> {
        match self {
            Self::All => {
                let all = Self::value_variants().iter().copied();
                all.filter(|scenario| *scenario != Self::All).collect()
            }
            one => vec![one],
        }
    }
}

impl Args {
    pub(crate) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(if self.short { 1 } else { 5 }).max(1)
    }

    /// Of what is measured over time.
    pub(crate) fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(if self.short { 1 } else { 60 }).max(1))
    }

    /// Of a flow beside which something else happens.
    pub(crate) fn flow_time(&self) -> Duration {
        if self.short { Duration::from_millis(600) } else { Duration::from_secs(10) }
    }

    /// Most tasks of such a flow, where there is a choice.
    pub(crate) fn flow_tasks(&self) -> usize {
        if self.short { 1_000 } else { 100_000 }
    }

    /// How many wait for one flow.
    pub(crate) fn waiters(&self) -> usize {
        self.waiters.unwrap_or(if self.short { 20 } else { 200 })
    }

    /// Living flows of a store that is read.
    pub(crate) fn flows(&self) -> usize {
        let tasks = if self.short { 1_000 } else { 1_000_000 };
        self.flows.unwrap_or(tasks / self.players).max(1)
    }

    /// How long the conductor is down.
    pub(crate) fn down(&self) -> Duration {
        let default = if self.short { Millis(200) } else { Millis::seconds(1) };
        self.down.unwrap_or(default).to_std()
    }

    /// Of what only has to be more than a moment.
    pub(crate) fn moment(&self) -> Duration {
        if self.short { Duration::from_millis(100) } else { Duration::from_secs(2) }
    }
}

/// The bare server, as `attach` and `ping` start it.
#[derive(Clone, Debug, Parser)]
pub(crate) struct Bare {
    #[arg(long)]
    pub(crate) ca: PathBuf,
    #[arg(long)]
    pub(crate) name: HostName,
    #[arg(long)]
    pub(crate) echo: bool,
    #[arg(long)]
    pub(crate) lifeline: u32,
}
