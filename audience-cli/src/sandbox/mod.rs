//! `orc sandbox`: a whole fleet on one machine. A real conductor and real players, each a process
//! of its own, talking mutual TLS over loopback, with an authority made for the occasion.
//!
//! ```text
//! orc sandbox run ──┬── orc sandbox supervise ──┬── conductor
//!                   │                           ├── player (sitter) ── player (agent), scores
//!                   │                           ├── …
//!                   │                           └── COMMAND
//! ```
//!
//! Invariants:
//!
//! - Everything ends when the sandbox does, however it dies. The supervisor adopts whatever its
//!   descendants leave behind (it is their subreaper), and kills its children until there are
//!   none. The kernel tells it when `run` ends; `run` is a subreaper itself and does the same
//!   should the supervisor be killed; the kernel kills COMMAND with its supervisor; and every
//!   daemon holds the end of a pipe, its lifeline, whose other end the supervisor alone holds.
//!   Should both be killed, each sitter kills its attempts and whatever came loose from them: what
//!   carries its mark (`ORC_SPOOL`), and every child of its own, for it adopted what lost its
//!   parent. Without cgroups one thing remains: what a score of yours has left without that mark,
//!   and whose sitter has died since, outlives a sandbox of which both are killed at once.
//! - A daemon that dies is started again on the same address: the supervisor holds the port as
//!   long as it lives, so that nobody else gets it in between.
//! - Two sandboxes never meet: each has its own directory, port, authority and cgroup.
//! - Descriptors are passed on only around the one spawn that is meant to have them. The
//!   supervisor has a single thread: nothing else is spawned meanwhile.
//!
//! ```text
//! launch      run, start: makes the directory, starts the supervisor, waits
//! manage      stop, status, ps: from outside, through sandbox.json
//! supervise   the supervisor: from the first daemon to the last process
//! daemons     conductor and sitters: starting, restarting, stopping
//! attach      waits until all players are attached; says who is missing
//! record      sandbox.json
//! place       the directory: what is where, and making it
//! samples     the scores that this program carries
//! cgroup      one for the sandbox, where that can be had
//! process     /proc, and the end of all children
//! ```

use std::{
    env, ffi::OsString, io, os::unix::process::CommandExt as _, path::PathBuf, process::Command,
};

use orchestra_client::Exit;
use orchestra_model::HostSet;
use rustix::process::Signal;

use crate::error::{Failure, Render as _};

mod attach;
mod cgroup;
mod daemons;
mod launch;
mod manage;
mod place;
mod process;
mod record;
mod samples;
mod supervise;

/// The variable that says in which directory the sandbox around a program is.
const DIRECTORY: &str = "ORCHESTRA_SANDBOX";

/// Most players of a sandbox: each is two processes and a directory.
const PLAYERS: usize = 1_000;

const RUN_EXAMPLES: &str = "
Examples:
  orc sandbox run -- sh -c 'submitjob hello -w @all --wait && getstatus last -b'
  orc sandbox run --players 'db[1-10],fe[1-100]' -- bash";

const START_EXAMPLES: &str = "
Examples:
  eval \"$(orc sandbox start --players 'fe[1-6]')\"
  submitjob load -w @all --wait; orc sandbox stop";

/// `orc sandbox`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Args {
    /// Run a command in a sandbox of its own; returns what the command returns
    #[command(after_help = RUN_EXAMPLES)]
    Run(RunArgs),
    /// Start a sandbox and leave it running; prints the variables that lead to it
    #[command(after_help = START_EXAMPLES)]
    Start(FleetArgs),
    /// Stop a sandbox that was started
    Stop(WhichArgs),
    /// Tell whether a sandbox runs, and how many players are attached
    Status(WhichArgs),
    /// List the daemons of a sandbox with their process ids
    Ps(PsArgs),
    /// What `run` and `start` start
    #[command(hide = true)]
    Supervise(SuperviseArgs),
    /// What the supervisor runs the command through
    #[command(hide = true)]
    Within(WithinArgs),
}

/// What a sandbox is made of.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct FleetArgs {
    /// A player for each of these
    #[arg(long, value_name = "HOSTS", default_value = "db[1-2],fe[1-4]", value_parser = players)]
    players: HostSet,
    /// Where everything is kept; must be empty. Without it: a temporary directory, removed on
    /// success
    #[arg(long, value_name = "D")]
    dir: Option<PathBuf>,
    /// Scores, as they are; without it: a copy of the samples
    #[arg(long, value_name = "DIR")]
    scores: Option<PathBuf>,
    /// The conductor's deployments; copied
    #[arg(long, value_name = "DIR")]
    deployments: Option<PathBuf>,
    /// How many attempts each player takes at once
    #[arg(long, value_name = "N", default_value_t = 4,
          value_parser = clap::value_parser!(u32).range(1..=1_024))]
    max_tasks: u32,
    /// Leave a daemon that died dead
    #[arg(long)]
    no_restart: bool,
}

/// `orc sandbox run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// What the sandbox is made of.
    #[command(flatten)]
    fleet: FleetArgs,
    /// What to run in it; PATH and ORCHESTRA_… lead to the sandbox
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
}

/// `orc sandbox stop`, `status`.
#[derive(Debug, clap::Args)]
pub(crate) struct WhichArgs {
    /// The sandbox's directory
    #[arg(long, value_name = "D", env = DIRECTORY)]
    dir: PathBuf,
}

/// `orc sandbox ps`.
#[derive(Debug, clap::Args)]
pub(crate) struct PsArgs {
    /// Which sandbox.
    #[command(flatten)]
    which: WhichArgs,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// `orc sandbox supervise`, which only `run` and `start` call.
#[derive(Debug, clap::Args)]
pub(crate) struct SuperviseArgs {
    /// What the sandbox is made of.
    #[command(flatten)]
    fleet: FleetArgs,
    /// The directory goes with the sandbox.
    #[arg(long)]
    temporary: bool,
    /// The process without which there is no sandbox; without it, the sandbox goes on by itself
    /// once it has told on standard output that it is ready.
    #[arg(long)]
    parent: Option<i32>,
    /// What to run in it.
    #[arg(last = true)]
    command: Vec<OsString>,
}

/// `orc sandbox within`, which only a supervisor calls.
#[derive(Debug, clap::Args)]
pub(crate) struct WithinArgs {
    /// The supervisor: the command dies with it.
    #[arg(long)]
    parent: i32,
    /// What to become.
    #[arg(required = true, last = true)]
    command: Vec<OsString>,
}

fn players(text: &str) -> Result<HostSet, String> {
    let players = HostSet::define(text).map_err(|error| error.to_string())?;
    match players.len() {
        0 => Err("no players".to_owned()),
        1..=PLAYERS => Ok(players),
        n => Err(format!("{n} players: a sandbox holds at most {PLAYERS}")),
    }
}

/// Does what was asked, and tells of a failure. Returns the exit code: that of the command for
/// `run`, else one of the usual table.
pub(crate) fn run(args: Args) -> u8 {
    let done = match args {
        Args::Run(args) => launch::run(&args.fleet, &args.command),
        Args::Start(fleet) => launch::start(&fleet),
        Args::Stop(which) => manage::stop(&which.dir),
        Args::Status(which) => manage::status(&which.dir),
        Args::Ps(args) => manage::ps(&args.which.dir, args.json),
        Args::Supervise(args) => supervise::run(args),
        Args::Within(args) => Ok(within(&args)),
    };
    done.unwrap_or_else(|failure| {
        tell(failure.render().trim_end());
        failure.exit.code()
    })
}

/// Becomes the command, which the kernel kills should the supervisor be killed: then there is
/// nobody left to do so. Returns only where that fails, with the code that shells have for it.
fn within(args: &WithinArgs) -> u8 {
    const NOT_EXECUTABLE: u8 = 126;
    const NOT_FOUND: u8 = 127;
    let bound = process::end_with(args.parent, Signal::KILL);
    let Some((program, arguments)) = args.command.split_first() else { return NOT_FOUND };
    let error = match bound {
        Ok(()) => Command::new(program).args(arguments).exec(),
        Err(error) => error,
    };
    tell(format_args!("error: running {}: {error}", program.to_string_lossy()));
    match error.kind() {
        io::ErrorKind::NotFound => NOT_FOUND,
        _ => NOT_EXECUTABLE,
    }
}

/// Tells a line on standard error.
fn tell(line: impl std::fmt::Display) {
    crate::console::tell(&format!("{line}\n"), crate::view::Style::default());
}

/// A runtime of this thread alone, for waiting.
fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::broken("starting the runtime").because(error))?;
    runtime.block_on(work)
}

/// This program's own file.
fn this_program() -> Result<PathBuf, Failure> {
    env::current_exe().map_err(|error| Failure::broken("looking for this program").because(error))
}

/// The exit code of a process that ended so: 128 + the signal's number for a death by signal, as
/// shells have it.
fn code_of(exit: Option<i32>, signal: Option<i32>) -> u8 {
    let code = exit.or_else(|| signal.map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(Exit::Broken.code())
}
