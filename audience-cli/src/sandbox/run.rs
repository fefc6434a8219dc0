//! `orc sandbox run`: a command in a sandbox of its own.

use std::{
    ffi::OsString,
    io,
    process::{Child, ExitStatus},
};

use orchestra_client::Exit;
use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    cgroup,
    fleet::Fleet,
    launch::{claim, remove, supervisor},
    place::Place,
    process::{self, code_of},
    record::Record,
};
use crate::{console::narrate, error::Failure, program::runtime};

const EXAMPLES: &str = "
Examples:
  orc sandbox run -- sh -c 'submitjob hello -w @all --wait && getstatus last -b'
  orc sandbox run --players 'db[1-10],fe[1-100]' -- bash";

/// `orc sandbox run`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Run {
    #[command(flatten)]
    fleet: Fleet,
    /// What to run in it; PATH and ORCHESTRA_… lead to the sandbox
    #[arg(value_name = "COMMAND", required = true, last = true)]
    command: Vec<OsString>,
}

impl Run {
    /// Returns the command's exit code.
    pub(super) fn run(self) -> Result<u8, Failure> {
        let (fleet, command) = (&self.fleet, &self.command);
        let (place, temporary) = claim(fleet)?;
        // If the supervisor is killed, its descendants become our children.
        set_child_subreaper(Some(getpid()))
            .map_err(|error| Failure::broken("becoming a subreaper").because(error))?;
        let supervisor = supervisor(fleet, &place, temporary)?
            .arg("--parent")
            .arg(std::process::id().to_string())
            .arg("--")
            .args(command)
            .spawn();
        let supervisor = supervisor
            .map_err(|error| Failure::broken("starting the sandbox's supervisor").because(error))?;
        let status = runtime()?.block_on(wait(supervisor))?;

        let code = match status.code() {
            Some(code) => code_of(Some(code), None),
            None => {
                after_supervisor(&place, status);
                Exit::Broken.code()
            }
        };
        if temporary {
            match code {
                0 => remove(place.root()),
                _ => narrate(format_args!("sandbox: kept in {}", place.root().display())),
            }
        }
        Ok(code)
    }
}

/// Waits for the supervisor, and passes on to it the signals that this process gets. The supervisor
/// is in the same process group and gets those of the keyboard itself; this process only ignores
/// them.
async fn wait(mut supervisor: Child) -> Result<ExitStatus, Failure> {
    let failed = |error: io::Error| Failure::broken("waiting for the sandbox").because(error);
    let mut ended = signal(SignalKind::child()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut quit = signal(SignalKind::quit()).map_err(failed)?;
    let pid = i32::try_from(supervisor.id()).unwrap_or_default();
    loop {
        if let Some(status) = supervisor.try_wait().map_err(failed)? {
            return Ok(status);
        }
        tokio::select! {
            _ = ended.recv() => {}
            _ = terminate.recv() => process::signal_child(pid, Signal::TERM),
            _ = hangup.recv() => process::signal_child(pid, Signal::TERM),
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    }
}

/// Does what the supervisor would have done, because it was killed.
fn after_supervisor(place: &Place, status: ExitStatus) {
    narrate(format_args!(
        "sandbox: the supervisor died ({status}): ending all that it had started"
    ));
    if let Err(error) = process::end_children() {
        narrate(format_args!("sandbox: {error}"));
    }
    if let Some(root) = Record::read(place).ok().and_then(|record| record.cgroup) {
        cgroup::remove(&root);
    }
}
