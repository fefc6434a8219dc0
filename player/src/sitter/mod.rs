//! The sitter: owns processes, spool, output, limits, timeouts and kills.
//!
//! The sitter is one event loop in one thread; beside it there is only the log's thread, which
//! writes lines. The loop waits for signals, its agent's socket, its launchers' sockets, the ends
//! of processes, and one timer. It takes *all* that is ready, ends before orders; tells the
//! [`Spool`]; makes durable what the spool wants durable, in one write; and does what the spool
//! then asks for. The rules of delivery are the spool's alone. While nothing happens, nothing wakes
//! the sitter.
//!
//! What holds:
//!
//! - Nothing is started, reported or forgotten before it is on disk.
//! - Only scores of this host run, checked and copied by `scores.rs`, as the user that the score or
//!   the configuration names. Nobody sends code.
//! - What the agent sends is trusted for its form alone, and the agent is never waited for.
//! - Nothing that runs as another user can make the sitter wait, or holds a descriptor of the
//!   sitter: see `launcher`. The sitter opens no pipe that a score has: see `stream`.
//! - An attempt that is timed out or cancelled leaves nothing behind, and its end is reported
//!   within the grace and a second. An attempt that exits by itself may leave processes behind.
//! - A sitter that dies leaves scores running, and the next sitter takes them over (`adopt.rs`).
//!
//! ```text
//! mod        start, the loop                    attempt   one attempt's states
//! events     what each event means              stream    its pipes and files, by name
//! settle     what the spool asks for            pipe      its pipes, for launchers
//! start      from an order to a process         capture   its output, as it is written
//! launcher   who makes processes, reads pipes   kept      its output, as it is read back
//! adopt      from an earlier sitter's attempts  cgroup    its processes
//! ending     stop, upgrade, lifeline            hunt      its processes, without cgroups
//! unit       what is kept running               logs      what that writes, as it is read back
//! limits     what its runs may have             probers   who asks units how they are
//! vitals     what host and units use            guarding  who ends runs without a lease
//! places    where bundles are taken             sys       everything unsafe
//! shelf     outputs of attempts that are over
//! ```

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    os::fd::RawFd,
    path::PathBuf,
    rc::Rc,
};

use orchestra_certs::{Identity as CertificateIdentity, Role};
use orchestra_model::{
    HostName,
    delivery::{AttemptKey, Refusal},
    score::BuiltIn,
};
use orchestra_spool::{Input, Plan, Spool};
use rustix::{
    fd::{AsFd, OwnedFd},
    fs::{Mode, OFlags},
};

mod adopt;
mod agent_process;
mod attempt;
mod capture;
mod cgroup;
mod check;
pub(crate) mod clock;
mod commands;
mod deliveries;
mod ending;
mod environment;
mod events;
mod guarding;
mod host_policy;
mod hunt;
mod journal;
mod kept;
pub mod launcher;
mod limits;
mod logs;
mod memory_file;
mod pipe;
pub(crate) mod places;
pub(crate) mod poll;
mod probers;
pub(crate) mod procfs;
mod response;
mod scores;
mod settle;
mod shelf;
mod signals;
mod spares;
mod spool_dir;
mod start;
mod stream;
pub(crate) mod sys;
mod unit;
mod upgrade;
mod users;
mod vitals;
mod watchdog;
mod wire;

use self::{
    adopt::Nursery,
    agent_process::Agent,
    attempt::Attempt,
    cgroup::Cgroups,
    clock::BootMillis,
    commands::JobParts,
    deliveries::Deliveries,
    environment::Surroundings,
    guarding::Guarding,
    host_policy::HostPolicy,
    journal::{Journal, Opened},
    launcher::{Keep, Launchers, Orphan, Ready, TapId},
    places::LocalPlaces,
    poll::{Interest, Poller, Token},
    probers::Probers,
    scores::Scores,
    shelf::KeptOutputs,
    signals::Signals,
    spool_dir::SpoolDir,
    start::{Admitted, Newborn},
    sys::{FileLimit, Identity},
    unit::{Keeping, Place},
    users::Users,
    vitals::{Beat, Vitals},
    watchdog::Watchdog,
};
use crate::config::Config;

pub use self::{
    cgroup::CgroupError, check::check, journal::JournalError, scores::ScanError,
    spool_dir::SpoolDirError, users::UserError,
};
pub(crate) use self::{cgroup::Leaf, hunt::Trail, procfs::boot_id as own_boot};

/// Starts the log of this process, which may become a sitter. No signal reaches the log's thread,
/// so that it takes none between the last question of `upgrade::execute` whether one has come and
/// the execution.
pub fn start_log() -> orchestra_daemon::log::Log {
    sys::with_signals_blocked(orchestra_daemon::log::start)
}

/// Runs the sitter until it is asked to stop or, with a `lifeline`, until the other end of that
/// descriptor closes.
///
/// To be called by a program that has no thread beside its log's, and that needs no open
/// descriptors but the standard three: all others are taken for leftovers of an execution in place,
/// and closed.
pub fn run(config: Config, lifeline: Option<RawFd>) -> Result<(), SitterError> {
    let program = upgrade::program().map_err(SitterError::Process)?;
    let mut inherited = upgrade::inherited(lifeline).map_err(SitterError::Process)?;
    let signals = Signals::catch().map_err(SitterError::Process)?;
    let before = inherited.len();
    // Signals were blocked until now if this is an execution in place.
    sys::unblock_signals();
    let mut sitter = Sitter::new(config, program, lifeline, signals, &mut inherited)?;
    // The spool's lock was among the descriptors that were left open.
    let in_place = inherited.len() < before;
    sitter.adopt_everything(in_place);
    drop(inherited);
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        player = %sitter.surroundings.player,
        spool = %sitter.spool.state().id(),
        attempts = sitter.attempts.len(),
        units = sitter.keeping.engine.state().units().len(),
        cgroups = sitter.cgroups.is_some(),
        "the player is up"
    );
    sitter.serve()
}

/// Why there is no sitter (any more).
#[derive(Debug, thiserror::Error)]
pub enum SitterError {
    /// A system call failed that normally never does.
    #[error("setting the player's process up")]
    Process(#[source] io::Error),
    /// The lifeline is no open descriptor.
    #[error("--lifeline {0}: no such descriptor is open")]
    Lifeline(RawFd),
    /// The player's name cannot be read from its certificate.
    #[error("finding out the player's name")]
    Certificate(#[source] orchestra_certs::LoadError),
    /// The certificate names no one.
    #[error("finding out the player's name")]
    Identity(#[source] orchestra_certs::InvalidIdentity),
    /// The certificate names somebody who is no player.
    #[error("the certificate of tls.cert is that of {0}, which is no player")]
    NotAPlayer(String),
    /// The spool cannot be used.
    #[error("taking the spool")]
    Spool(#[source] SpoolDirError),
    /// Its journal cannot be used.
    #[error("taking the spool")]
    Journal(#[source] JournalError),
    /// A user of the configuration, under this key, cannot be found or switched to.
    #[error("finding the user that {0} names")]
    User(&'static str, #[source] UserError),
    /// There are no cgroups where the configuration says.
    #[error("finding cgroups")]
    Cgroup(#[source] CgroupError),
    /// Waiting for events failed.
    #[error("waiting for events")]
    Wait(#[source] io::Error),
}

/// The tokens of signals, of the lifeline, of the agent and of the guard. From [`FIRST_ID`] on tokens are ids of
/// attempts whose first processes are not our children.
const SIGNALS: Token = Token(0);
const LIFELINE: Token = Token(1);
const AGENT: Token = Token(2);
const GUARD: Token = Token(3);
const FIRST_ID: u64 = 4;
/// How long a sitter that starts waits for the end of an earlier sitter's launchers, in
/// milliseconds. They were killed, so only launchers that are stuck last longer than a moment.
const LAST_LAUNCHERS: u64 = 500;
/// From here on tokens belong to probers, one for each user.
const PROBERS: Token = Token(1 << 60);
/// From here on tokens belong to the alarms of runs' memory: this number plus the run's id.
const ALARMS: Token = Token(1 << 61);
/// From here on tokens belong to launchers. No attempt's id comes near.
const LAUNCHERS: Token = Token(1 << 62);

/// Everything that the event loop holds.
struct Sitter {
    config: Config,
    /// The path of this program at its start.
    program: PathBuf,
    boot: orchestra_spool::BootId,
    poller: Poller,
    signals: Signals,
    lifeline: Option<OwnedFd>,
    null: OwnedFd,
    file_limit: FileLimit,
    spool_dir: SpoolDir,
    journal: Journal<orchestra_spool::State>,
    spool: Spool,
    /// When to replace a journal that could not be written by a fresh one.
    rewrite_at: Option<BootMillis>,
    scores: Scores,
    places: LocalPlaces,
    /// Which audiences may run which scores here.
    host_policy: HostPolicy,
    /// Whether a place was changed since the last snapshot, and nobody was told yet.
    places_changed: bool,
    users: Users,
    cgroups: Option<Cgroups>,
    surroundings: Surroundings,
    agent: Agent,
    launchers: Launchers<Newborn>,
    probers: Probers,
    guarding: Guarding,
    /// The user as whom ports are probed; `None`: our own.
    prober_user: Option<Identity>,
    watchdog: Option<Watchdog>,
    parts: JobParts,
    /// What is needed for starts that the spool has not asked for yet.
    admitted: BTreeMap<AttemptKey, Admitted>,
    /// Attempts that are durably starting and have no process yet.
    starts: VecDeque<(AttemptKey, Plan)>,
    /// Attempts that are durably starting and wait for bundles.
    deliveries: Deliveries,
    /// What is kept running.
    keeping: Keeping,
    vitals: Vitals,
    /// Attempts that are not over, by id, which is also their token.
    attempts: BTreeMap<u64, Attempt>,
    /// Attempts that are over, and whose end is not durable yet; and whether what they wrote may be kept
    /// beyond that.
    over: Vec<(Attempt, bool)>,
    /// What is kept of outputs of attempts whose end is durable.
    shelf: KeptOutputs,
    /// The directories of attempts that are over, and to whose pipes a process may still write.
    lingering: BTreeMap<TapId, String>,
    /// Cgroups of attempts that are over, in which processes live.
    left: Vec<Leaf>,
    next_id: u64,
    /// Set when the sitter is to stop: no new orders are taken, and at this moment it leaves what
    /// still runs.
    stop_at: Option<BootMillis>,
    /// Whether to execute the sitter anew as soon as nothing is known in memory alone.
    upgrade: bool,
}

impl Sitter {
    fn new(
        config: Config,
        program: PathBuf,
        lifeline: Option<RawFd>,
        signals: Signals,
        inherited: &mut Vec<OwnedFd>,
    ) -> Result<Self, SitterError> {
        let lifeline = lifeline.map(take_lifeline).transpose()?;
        let player = own_name(&config)?;
        let spool_dir = SpoolDir::open(&config.spool_dir, inherited).map_err(SitterError::Spool)?;
        let opened = Journal::open(spool_dir.dir(), unit::fresh_spool_id);
        let Opened { journal, state, .. } = opened.map_err(SitterError::Journal)?;
        let spool = Spool::recover(state, config.max_tasks);
        let mut users = Users::default();
        let agent_user = users.run_as(&config.agent_user);
        let agent_user = agent_user.map_err(|why| SitterError::User("agent_user", why))?;
        users.run_as(&config.task_user).map_err(|why| SitterError::User("task_user", why))?;
        let prober_user =
            users.prober(&config).map_err(|why| SitterError::User("prober_user", why))?;
        let prober_user = prober_user.identity;
        let processes_max = config.processes_max;
        let spool_path = std::fs::canonicalize(&config.spool_dir).map_err(SitterError::Process)?;
        let place = Place::new(&config.run_dir, &player, &spool_path);
        let id = spool.state().id();
        let cgroups = Cgroups::find(&config.cgroup, id, place.tag(), processes_max);
        let cgroups = cgroups.map_err(SitterError::Cgroup)?;
        let boot = procfs::boot_id().map_err(SitterError::Process)?;
        let keeping = unit::open(&config, &spool_dir, id, place, cgroups.as_ref(), boot);
        let keeping = keeping.map_err(SitterError::Journal)?;
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .map_err(|error| SitterError::Process(error.into()))?;
        let null = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let null = null.map_err(|error| SitterError::Process(error.into()))?;
        let poller = Poller::new().map_err(SitterError::Process)?;
        poller.add(&signals, SIGNALS, Interest::Read).map_err(SitterError::Process)?;
        if let Some(lifeline) = &lifeline {
            poller.add(lifeline, LIFELINE, Interest::Read).map_err(SitterError::Process)?;
        }
        let shelf = KeptOutputs::open(&config, &spool_dir);
        let beat = Beat::of(&player);
        let surroundings = Surroundings { spool: spool.state().id(), player };
        let file_limit = FileLimit::raise();
        let mark = environment::mark_of_launchers(surroundings.spool);
        let launchers =
            Launchers::new(mark, file_limit, LAUNCHERS, beat).map_err(SitterError::Process)?;
        let confs = spool_dir.remembered_confs().map_err(|cause| {
            SitterError::Spool(SpoolDirError::Open(spool_dir.path().to_owned(), cause))
        })?;
        let mut sitter = Self {
            boot,
            agent: Agent::new(program.clone(), &config, agent_user, AGENT),
            launchers,
            probers: Probers::new(PROBERS),
            guarding: Guarding::new(GUARD),
            prober_user,
            watchdog: Watchdog::from_environment().map_err(SitterError::Process)?,
            program,
            poller,
            signals,
            lifeline,
            null,
            file_limit,
            spool_dir,
            journal,
            spool,
            rewrite_at: None,
            scores: Scores::remembering(confs),
            places: LocalPlaces::default(),
            host_policy: HostPolicy::default(),
            places_changed: false,
            users,
            cgroups,
            surroundings,
            parts: JobParts::default(),
            admitted: BTreeMap::new(),
            starts: VecDeque::new(),
            deliveries: Deliveries::default(),
            keeping,
            vitals: Vitals::new(beat),
            attempts: BTreeMap::new(),
            over: Vec::new(),
            shelf,
            lingering: BTreeMap::new(),
            left: Vec::new(),
            next_id: FIRST_ID,
            stop_at: None,
            upgrade: false,
            config,
        };
        sitter.scan();
        Ok(sitter)
    }

    /// Takes over what an earlier sitter left.
    fn adopt_everything(&mut self, in_place: bool) {
        if !in_place {
            self.end_strays();
        }
        self.give_back_unbegun();
        let now = BootMillis::now();
        let mut nursery = Nursery {
            spool_dir: &self.spool_dir,
            cgroups: self.cgroups.as_ref(),
            boot: self.boot,
            output_max: self.config.output_max,
            launchers: &mut self.launchers,
            poller: &self.poller,
            in_place,
        };
        let adopt = |(key, live)| nursery.adopt(key, live, now);
        let processes = || self.spool.live().filter(|(_, live)| !live.plan.is_watching());
        let adopted: Vec<Attempt> = processes().map(adopt).collect();
        let cancelling: Vec<AttemptKey> =
            processes().filter(|(_, live)| live.cancelling).map(|(key, _)| key).collect();
        for attempt in adopted {
            self.insert(attempt);
        }
        for key in cancelling {
            self.cancel(key, now);
        }
        self.adopt_leftovers();
        self.adopt_units();
        // Children may have ended before signals were caught.
        self.reap(now);
    }

    /// Refuses attempts that an earlier sitter accepted, and that certainly have no process because their
    /// bundles had not come: they are ordered again.
    fn give_back_unbegun(&mut self) {
        let unbegun = self.spool.live().filter(|(key, live)| {
            live.process.is_none()
                && BuiltIn::of(&live.plan.score).is_some()
                && self.places.has_not_begun(*key)
        });
        let unbegun: Vec<AttemptKey> = unbegun.map(|(key, _)| key).collect();
        for key in unbegun {
            tracing::info!(attempt = %key, "an attempt that waited for a bundle is given back");
            self.spool.handle(Input::StartFailed { key, refusal: Refusal::Busy });
        }
    }

    /// Ends what an earlier sitter's launchers left. Newborns are killed, because what was starting
    /// is lost and must not begin later. Launchers end with their sitter, but are waited for: the
    /// bytes that one was just moving out of a pipe must be in the file before the next launcher
    /// looks at it. A launcher that is stuck is not waited for.
    ///
    /// A sitter that was executed in place left nothing.
    fn end_strays(&self) {
        let attempts = self.spool_dir.attempt_names().unwrap_or_default();
        if attempts.is_empty() && !self.keeping.is_anything_alive() {
            return;
        }
        let strays = hunt::Trail::of_launchers(self.surroundings.spool);
        let until = BootMillis::now().after(LAST_LAUNCHERS);
        while strays.kill() > 0 && BootMillis::now() < until {
            let nap = rustix::time::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
            let _ = rustix::event::poll(&mut [], Some(&nap));
        }
    }

    /// Adopts pipes and cgroups of attempts that are settled.
    fn adopt_leftovers(&mut self) {
        let known: Vec<String> =
            self.spool.live().map(|(key, _)| spool_dir::attempt_name(key)).collect();
        let names = self.spool_dir.attempt_names().unwrap_or_default();
        for name in names.into_iter().filter(|name| !known.contains(name)) {
            self.adopt_lingering(name);
        }
        if let Some(cgroups) = &self.cgroups {
            let leaves = self.spool.live().filter_map(|(_, live)| live.plan.cgroup.as_ref());
            let known = leaves.map(|path| path.as_str().to_owned()).collect();
            self.left = cgroups.strays(&known);
        }
        self.sweep();
    }

    /// Has the pipes of a settled attempt read until no process can write to them any more.
    fn adopt_lingering(&mut self, name: String) {
        let directory = self.spool_dir.open_attempt(&name).ok();
        let owner = directory.as_ref().and_then(|dir| stream::owner_of_pipes(dir.as_fd()));
        let (Some(directory), Some(uid)) = (directory.map(Rc::new), owner) else {
            return self.spool_dir.remove_attempt(&name);
        };
        let orphan = Orphan {
            directory: &directory,
            keep: Keep::First(self.config.output_max),
            ready: Ready::Unasked,
            discards: true,
            unattended: false,
        };
        match self.launchers.adopt(&self.poller, uid, orphan, BootMillis::now()) {
            Ok(tap) => self.linger(tap, name),
            // The next sitter tries again.
            Err(error) => {
                let error = orchestra_model::chain(&error);
                tracing::error!(attempt = name, error, "cannot have pipes read that were left");
            }
        }
    }

    /// The loop. Returns when the sitter is to end.
    fn serve(&mut self) -> Result<(), SitterError> {
        loop {
            // This is first, because adoption may have led to reports.
            self.settle();
            self.try_upgrade();
            // Both use one moment, so that a stop that is not due for the first wakes the second.
            let now = BootMillis::now();
            let ends = self.may_end(now);
            // This is last, because each step before may settle something, and only a wait follows.
            self.agent.flush(&self.poller, now);
            if let Some(watchdog) = &mut self.watchdog {
                watchdog.tick(now);
            }
            if ends {
                return Ok(());
            }
            let deadline = self.next_deadline(now);
            let ready = self.poller.wait(deadline).map_err(SitterError::Wait)?;
            if self.turn(&ready) == events::Verdict::KillEverything {
                self.kill_everything();
                return Ok(());
            }
        }
    }

    /// Returns the next deadline.
    fn next_deadline(&self, now: BootMillis) -> Option<BootMillis> {
        if self.next_start().is_some() || self.next_spawn().is_some() {
            return Some(BootMillis::default());
        }
        let attempts = self.attempts.values().filter_map(Attempt::next_deadline);
        // Once that moment has come, what the stop waits for has deadlines of its own.
        let stop_at = self.stop_at.filter(|at| *at > now);
        let (agent, launchers) = (self.agent.next_deadline(), self.launchers.next_deadline());
        let watchdog = self.watchdog.as_ref().map(Watchdog::next_deadline);
        let (units, logs) = (self.keeping.next_deadline(), self.next_look_at_logs());
        let deliveries = self.deliveries.next_deadline();
        let own =
            [units, logs, deliveries, self.probers.next_deadline(), self.vitals.next_deadline()];
        let others = [agent, launchers, watchdog, self.rewrite_at, stop_at, self.shelf.look_at];
        let others = own.into_iter().chain(others);
        attempts.chain(others.flatten()).min()
    }

    fn fresh_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }
}

/// Takes the descriptor whose end means that this player is not needed any more.
fn take_lifeline(number: RawFd) -> Result<OwnedFd, SitterError> {
    let lifeline = sys::inherited([number]).pop().ok_or(SitterError::Lifeline(number))?;
    rustix::io::ioctl_fionbio(&lifeline, true)
        .map_err(|error| SitterError::Process(error.into()))?;
    Ok(lifeline)
}

/// Reads a file below a directory.
pub(crate) fn file_below(directory: impl AsFd, name: &str) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(directory, name, flags, Mode::empty())?;
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut std::fs::File::from(file), &mut bytes)?;
    Ok(bytes)
}

/// Returns this player's name: the one in its certificate, which the conductor reads too.
fn own_name(config: &Config) -> Result<HostName, SitterError> {
    let certificates = orchestra_certs::read_certificates(&config.tls.cert);
    let certificates = certificates.map_err(SitterError::Certificate)?;
    // `read_certificates` returns at least one.
    let first = certificates.first().map_or(&[][..], AsRef::as_ref);
    let identity = CertificateIdentity::of_certificate(first).map_err(SitterError::Identity)?;
    let not_a_player = || SitterError::NotAPlayer(identity.name().to_owned());
    match identity.role() {
        Role::Player => HostName::new(identity.name()).map_err(|_| not_a_player()),
        Role::Conductor | Role::Audience | Role::Relay => Err(not_a_player()),
    }
}
