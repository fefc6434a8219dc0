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
//! run, start          make the directory, start the supervisor, wait
//! stop, status, ps    from outside, through sandbox.json
//! supervise           the supervisor: from the first daemon to the last process
//! within              what the supervisor runs the command through
//! launch              what run and start share
//! fleet, which        flags that verbs share
//! daemons             conductor and sitters: starting, restarting, stopping
//! attach              waits until all players are attached; says who is missing
//! signals             what the supervisor hears
//! furnish             makes what the directory holds
//! record              sandbox.json
//! place               the directory: what is where
//! samples             the scores that this program carries
//! cgroup              one for the sandbox, where that can be had
//! process             /proc, and the end of all children
//! ```

mod attach;
mod cgroup;
mod daemons;
mod fleet;
mod furnish;
mod launch;
mod place;
mod process;
mod ps;
mod record;
mod run;
mod samples;
mod signals;
mod start;
mod status;
mod stop;
mod supervise;
mod which;
mod within;

use crate::{console::narrate, error::Render as _};

/// `orc sandbox`
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Verbs {
    /// Run a command in a sandbox of its own; returns what the command returns
    Run(run::Run),
    /// Start a sandbox and leave it running; prints the variables that lead to it
    Start(start::Start),
    /// Stop a sandbox that was started
    Stop(stop::Stop),
    /// Tell whether a sandbox runs, and how many players are attached
    Status(status::Status),
    /// List the daemons of a sandbox with their process ids
    Ps(ps::Ps),
    /// What `run` and `start` start
    #[command(hide = true)]
    Supervise(supervise::Supervise),
    /// What the supervisor runs the command through
    #[command(hide = true)]
    Within(within::Within),
}

impl Verbs {
    /// Does what was asked, and tells of a failure. Returns the exit code: that of the command for
    /// `run`, else one of the usual table.
    pub(crate) fn run(self) -> u8 {
        let done = match self {
            Verbs::Run(verb) => verb.run(),
            Verbs::Start(verb) => verb.run(),
            Verbs::Stop(verb) => verb.run(),
            Verbs::Status(verb) => verb.run(),
            Verbs::Ps(verb) => verb.run(),
            Verbs::Supervise(verb) => verb.run(),
            Verbs::Within(verb) => Ok(verb.run()),
        };
        done.unwrap_or_else(|failure| {
            narrate(failure.render().trim_end());
            failure.exit.code()
        })
    }
}
