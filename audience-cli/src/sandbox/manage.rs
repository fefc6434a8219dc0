//! `stop`, `status` and `ps`: a sandbox from outside.

use std::{
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use orchestra_client::{Client, Exit};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Signal, pidfd_send_signal},
};

use super::{
    block_on, cgroup,
    launch::remove,
    place::Place,
    record::{Daemon, Listing, Record, Role},
};
use crate::error::Failure;

/// How long a supervisor gets to stop everything.
const STOP: Duration = Duration::from_secs(60);

/// `orc sandbox stop`. It is over when this returns.
pub(super) fn stop(directory: &Path) -> Result<u8, Failure> {
    let place = Place::at(directory)?;
    let record = Record::read(&place)?;
    let what = || format!("stopping the sandbox in {}", place.root().display());
    if let Some(supervisor) = record.supervisor.handle() {
        let failed = |error: rustix::io::Errno| Failure::broken(what()).because(error);
        match pidfd_send_signal(&supervisor, Signal::TERM) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => {}
            Err(error) => return Err(failed(error)),
        }
        if !ended(&supervisor, STOP).map_err(failed)? {
            return Err(Failure::broken(format!("{}: it did not end within {STOP:?}", what()))
                .hint(format!("kill -KILL {}", record.supervisor.pid)));
        }
    }
    // Of a supervisor that was killed: the daemons went by themselves, this could not.
    if let Some(root) = &record.cgroup {
        cgroup::remove(root);
    }
    if record.temporary {
        remove(place.root());
    }
    Ok(Exit::Ok.code())
}

/// `orc sandbox status`.
pub(super) fn status(directory: &Path) -> Result<u8, Failure> {
    let place = Place::at(directory)?;
    let record = Record::read(&place)?;
    if !record.supervisor.runs() {
        print(&format!("{}: not running\n", place.root().display()))?;
        return Ok(Exit::Broken.code());
    }
    let status = block_on(async {
        Client::connect(place.connection(record.conductor)?).await?.conductor().await
    })?;
    print(&format!(
        "{}: running, {} of {} players attached; conductor at {}, supervisor {}\n",
        place.root().display(),
        status.attached,
        record.players,
        record.conductor,
        record.supervisor.pid,
    ))?;
    Ok(Exit::Ok.code())
}

/// `orc sandbox ps`.
pub(super) fn ps(directory: &Path, json: bool) -> Result<u8, Failure> {
    let record = Record::read(&Place::at(directory)?)?;
    let running = record.running();
    if json {
        let text = serde_json::to_string(&Listing::of(&running))
            .map_err(|error| Failure::broken("writing the list of daemons").because(error))?;
        print(&format!("{text}\n"))?;
    } else {
        print(&table(&running))?;
    }
    Ok(Exit::Ok.code())
}

fn table(daemons: &[Daemon]) -> String {
    let width = daemons.iter().map(|daemon| daemon.name.len()).max().unwrap_or_default();
    let lines = daemons.iter().map(|daemon| {
        let role = match daemon.role {
            Role::Conductor => "conductor",
            Role::Sitter => "sitter",
            Role::Agent => "agent",
        };
        format!("{:width$}  {role:9}  {}\n", daemon.name, daemon.process.pid)
    });
    lines.collect()
}

/// Waits for the end of a process.
fn ended(process: &OwnedFd, within: Duration) -> rustix::io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(|_| rustix::io::Errno::INVAL)?;
    let mut events = [PollFd::new(process, PollFlags::IN)];
    Ok(poll(&mut events, Some(&timeout))? > 0)
}

fn print(text: &str) -> Result<(), Failure> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::broken("writing the answer to standard output").because(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::process::Process, *};

    #[test]
    fn the_table_has_a_line_a_daemon() {
        let daemon = |name: &str, role, pid| Daemon {
            name: name.into(),
            role,
            process: Process { pid, started: 1 },
        };
        let daemons =
            [daemon("conductor", Role::Conductor, 7), daemon("db1", Role::Sitter, 12_345)];
        assert_eq!(table(&daemons), "conductor  conductor  7\ndb1        sitter     12345\n");
    }
}
