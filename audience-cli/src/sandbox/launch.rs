//! `run` and `start`: the directory, the supervisor, and waiting for it.

use std::{
    ffi::OsString,
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    os::unix::{fs::PermissionsExt as _, process::ExitStatusExt as _},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
};

use orchestra_client::Exit;
use rustix::process::{Signal, getpid, set_child_subreaper};
use tokio::signal::unix::{SignalKind, signal};

use super::{
    FleetArgs, block_on, cgroup, code_of,
    place::{Place, programs},
    process,
    record::{READY, Record},
    tell, this_program,
};
use crate::error::Failure;

/// `orc sandbox run`. Returns the command's exit code.
pub(super) fn run(fleet: &FleetArgs, command: &[OsString]) -> Result<u8, Failure> {
    let (place, temporary) = claim(fleet)?;
    // Should the supervisor be killed, all that was below it comes to us.
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
    let status = block_on(wait(supervisor))?;

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
            _ => tell(format_args!("sandbox: kept in {}", place.root().display())),
        }
    }
    Ok(code)
}

/// `orc sandbox start`. Prints the variables that lead to the sandbox, for the shell to read.
pub(super) fn start(fleet: &FleetArgs) -> Result<u8, Failure> {
    let (place, temporary) = claim(fleet)?;
    let what = "starting the sandbox's supervisor";
    let failed = |error: io::Error| Failure::broken(what).because(error);
    let mut supervisor = supervisor(fleet, &place, temporary)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    // Nothing but the end comes of a sandbox that did not get ready; why, it has told itself.
    let mut ready = String::new();
    if let Some(stdout) = supervisor.stdout.take() {
        BufReader::new(stdout).read_line(&mut ready).map_err(failed)?;
    }
    if ready.trim_end() != READY {
        let status = supervisor.wait().map_err(failed)?;
        tell(format_args!("sandbox: kept in {}", place.root().display()));
        return Ok(code_of(status.code().filter(|code| *code != 0), status.signal()));
    }

    let record = Record::read(&place)?;
    let variables = place.variables(record.conductor, &programs()?, std::env::var_os("PATH"));
    let mut text = String::new();
    for (name, value) in variables {
        text += &format!("export {name}={}\n", shell_quoted(&value.to_string_lossy()));
    }
    io::stdout().write_all(text.as_bytes()).map_err(|error| {
        Failure::broken("writing the variables to standard output").because(error)
    })?;
    Ok(Exit::Ok.code())
}

/// The sandbox's directory, and whether it goes with the sandbox.
fn claim(fleet: &FleetArgs) -> Result<(Place, bool), Failure> {
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

/// This program, as the supervisor of this sandbox.
fn supervisor(fleet: &FleetArgs, place: &Place, temporary: bool) -> Result<Command, Failure> {
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
    if fleet.no_restart {
        command.arg("--no-restart");
    }
    if temporary {
        command.arg("--temporary");
    }
    Ok(command)
}

/// Waits for the supervisor, which gets the signals that this process gets. Those of the keyboard
/// it gets itself, being of the same process group, and this process only survives them.
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

/// The supervisor was killed: does what it would have done.
fn after_supervisor(place: &Place, status: ExitStatus) {
    tell(format_args!("sandbox: the supervisor died ({status}): ending all that it had started"));
    if let Err(error) = process::end_children() {
        tell(format_args!("sandbox: {error}"));
    }
    if let Some(root) = Record::read(place).ok().and_then(|record| record.cgroup) {
        cgroup::remove(&root);
    }
}

/// Removes the directory of a sandbox that has ended.
pub(super) fn remove(directory: &Path) {
    if let Err(error) = fs::remove_dir_all(directory) {
        tell(format_args!("sandbox: cannot remove {}: {error}", directory.display()));
    }
}

fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_survive_the_shell() {
        for text in ["plain", "with space", "it's", "$HOME `x` \\ \"", ""] {
            let script = format!("printf %s {}", shell_quoted(text));
            let output = Command::new("sh").arg("-c").arg(script).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), text);
        }
    }
}
