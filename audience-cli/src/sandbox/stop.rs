//! `orc sandbox stop`.

use std::time::Duration;

use orchestra_client::Exit;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fd::OwnedFd,
    process::{Signal, pidfd_send_signal},
};

use super::{cgroup, launch::remove, place::Place, record::Record, which::Which};
use crate::error::Failure;

/// How long a supervisor may take to stop everything.
const STOP: Duration = Duration::from_secs(60);

/// `orc sandbox stop`.
#[derive(Debug, clap::Args)]
pub(crate) struct Stop {
    #[command(flatten)]
    which: Which,
}

impl Stop {
    /// The sandbox has ended when this returns.
    pub(super) fn run(self) -> Result<u8, Failure> {
        let place = Place::at(&self.which.dir)?;
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
        // The daemons of a supervisor that was killed have ended by themselves, but its cgroup is
        // left.
        if let Some(root) = &record.cgroup {
            cgroup::remove(root);
        }
        if record.temporary {
            remove(place.root());
        }
        Ok(Exit::Ok.code())
    }
}

/// Waits for the end of a process.
fn ended(process: &OwnedFd, within: Duration) -> rustix::io::Result<bool> {
    let timeout = Timespec::try_from(within).map_err(|_| rustix::io::Errno::INVAL)?;
    let mut events = [PollFd::new(process, PollFlags::IN)];
    Ok(poll(&mut events, Some(&timeout))? > 0)
}
