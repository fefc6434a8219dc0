//! What `run` and `start` share: the directory, and the supervisor.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Command};

use super::{fleet::Fleet, place::Place, process::this_program};
use crate::{console::narrate, error::Failure};

/// Makes the sandbox's directory. Returns it, and whether it is removed with the sandbox.
pub(super) fn claim(fleet: &Fleet) -> Result<(Place, bool), Failure> {
    let (directory, temporary) = match &fleet.dir {
        Some(directory) => (directory.clone(), false),
        None => {
            let made = tempfile::Builder::new()
                .prefix("orchestra-sandbox-")
                .permissions(fs::Permissions::from_mode(0o700))
                .tempdir();
            let made = made.map_err(|error| {
                Failure::broken("making a temporary directory for the sandbox").because(error)
            })?;
            (made.keep(), true)
        }
    };
    let place = Place::at(&directory)?;
    place.claim()?;
    Ok((place, temporary))
}

/// Returns the command that runs this program as the supervisor of this sandbox.
pub(super) fn supervisor(
    fleet: &Fleet,
    place: &Place,
    temporary: bool,
) -> Result<Command, Failure> {
    let mut command = Command::new(this_program()?);
    command.args(["sandbox", "supervise", "--players", &fleet.players.to_string()]);
    command.arg("--dir").arg(place.root());
    command.args(["--max-tasks", &fleet.max_tasks.to_string()]);
    if let Some(scores) = &fleet.scores {
        command.arg("--scores").arg(scores);
    }
    if let Some(deployments) = &fleet.deployments {
        command.arg("--deployments").arg(deployments);
    }
    if fleet.relays {
        command.arg("--relays");
    }
    if fleet.no_restart {
        command.arg("--no-restart");
    }
    if temporary {
        command.arg("--temporary");
    }
    Ok(command)
}

/// Removes the directory of a sandbox that has ended.
pub(super) fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        narrate(format_args!("sandbox: cannot remove {}: {error}", directory.display()));
    }
}
