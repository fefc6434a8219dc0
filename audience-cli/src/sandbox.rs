//! `orc sandbox`: a whole fleet on one machine. It has a real conductor and real players, each a
//! process of its own, which talk mutual TLS over loopback, with an authority made for this
//! sandbox.
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
//! - Everything ends with the sandbox, however the sandbox dies. The supervisor adopts what its
//!   descendants leave behind (it is their subreaper), and kills its children until there are none.
//!   The kernel tells it when `run` ends. `run` is a subreaper too, and does the same if the
//!   supervisor is killed. The kernel kills COMMAND with its supervisor. Every daemon holds the end
//!   of a pipe, its lifeline, whose other end only the supervisor holds. If both `run` and
//!   supervisor are killed, each sitter kills its attempts and what they left: processes with its
//!   mark (`ORC_SPOOL`), and every child of its own, because it adopted processes that lost their
//!   parent. Without cgroups one case remains: a process without that mark, whose sitter has died
//!   before, outlives a sandbox of which both are killed at once.
//! - A daemon that dies is started again on the same address. The supervisor holds the port as long
//!   as it lives, so that no other program gets it in between.
//! - Two sandboxes never meet: each has its own directory, port, authority and cgroup.
//! - Descriptors are inheritable only during the one spawn that is to have them. The supervisor has
//!   a single thread, so nothing else is spawned meanwhile.
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
    /// Runs the verb, and tells a failure. Returns the exit code: that of the command for `run`,
    /// else one of the usual table.
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
