//! Conductor and sitters: starts them, starts those again that died, and stops all.

use std::{
    collections::HashMap,
    io,
    os::{fd::AsRawFd as _, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use orchestra_model::HostName;
use rustix::{
    fd::OwnedFd,
    io::{FdFlags, fcntl_setfd},
    pipe::{PipeFlags, pipe_with},
    process::{Signal, WaitStatus},
};

use super::{
    attach::tail,
    fleet::Fleet,
    place::{Place, programs},
    process::{Process, signal_child},
    record::{Daemon, Role},
};
use crate::error::Failure;

/// A daemon that died within this time after its start most likely could not start properly.
const QUICK: Duration = Duration::from_secs(1);
/// How long to wait before the third start in a row; the first two are at once. Each further wait
/// is twice as long, up to a bound.
const BACKOFF: Duration = Duration::from_millis(100);
const DOUBLINGS: u32 = 6;
/// After so many quick deaths in a row another start will not help.
pub(super) const HOPELESS: u32 = 4;

/// All daemons of a sandbox.
pub(super) struct Daemons {
    all: Vec<One>,
    by_pid: HashMap<i32, usize>,
    restart: bool,
    /// Every daemon inherits the first end; only this process holds the second.
    lifeline: OwnedFd,
    _held: OwnedFd,
}

struct One {
    name: String,
    role: Role,
    directory: PathBuf,
    program: PathBuf,
    arguments: Vec<PathBuf>,
    process: Option<Process>,
    started_at: Instant,
    quick_deaths: u32,
    /// When to start it again.
    due: Option<Instant>,
}

/// A daemon died.
pub(super) struct Death {
    /// Which daemon died, how, and the end of its log.
    pub text: String,
    /// How often it died soon after its start, in a row.
    pub quick: u32,
}

impl Daemons {
    /// Returns the daemons of this place, none of them started.
    pub(super) fn new(place: &Place, fleet: &Fleet) -> Result<Self, Failure> {
        let (players, restart) = (&fleet.players, !fleet.no_restart);
        let programs = programs()?;
        let mut all = vec![One::new(
            "conductor",
            Role::Conductor,
            place.conductor(),
            program(&programs, "conductor")?,
            vec!["--new-store".into(), "--config-dir".into(), place.conductor()],
        )];
        let player = program(&programs, "player")?;
        all.extend(players.iter().map(|host: &HostName| {
            let directory = place.player(host);
            let config = directory.join("player.toml");
            One::new(
                host.as_str(),
                Role::Sitter,
                directory,
                player.clone(),
                vec!["--config".into(), config],
            )
        }));
        if fleet.relays {
            let relay = program(&programs, "relay")?;
            all.extend(players.iter().map(|host| {
                let directory = place.relay(host);
                let arguments = vec!["--config".into(), directory.join("relay.toml")];
                One::new(host.as_str(), Role::Relay, directory, relay.clone(), arguments)
            }));
        }
        let (lifeline, held) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| {
            Failure::broken("making the lifeline of the daemons").because(io::Error::from(error))
        })?;
        Ok(Self { all, by_pid: HashMap::new(), restart, lifeline, _held: held })
    }

    /// Starts all of this role.
    pub(super) fn start(&mut self, role: Role) -> Result<(), Failure> {
        for index in 0..self.all.len() {
            if self.all[index].role == role {
                self.start_one(index)?;
            }
        }
        Ok(())
    }

    /// A child has ended: if it was a daemon of ours, plans its next start.
    pub(super) fn ended(&mut self, pid: i32, status: WaitStatus) -> Option<Death> {
        let index = self.by_pid.remove(&pid)?;
        let one = self.all.get_mut(index)?;
        one.process = None;
        let lived = one.started_at.elapsed();
        one.quick_deaths = if lived < QUICK { one.quick_deaths + 1 } else { 0 };
        if self.restart {
            one.due = Some(Instant::now() + backoff(one.quick_deaths));
        }
        let how = match (status.exit_status(), status.terminating_signal()) {
            (Some(code), _) => format!("exited with {code}"),
            (None, Some(signal)) => format!("was killed by signal {signal}"),
            (None, None) => "ended".to_owned(),
        };
        Some(Death {
            text: format!(
                "{} {how} after {lived:.1?}\n{}",
                one.called(),
                tail(&one.name, &one.directory)
            ),
            quick: one.quick_deaths,
        })
    }

    /// When the next daemon is to be started again.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.all.iter().filter_map(|one| one.due).min()
    }

    /// Starts those again whose time has come.
    pub(super) fn start_due(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        for index in 0..self.all.len() {
            if self.all[index].due.is_some_and(|due| due <= now) {
                self.start_one(index)?;
            }
        }
        Ok(())
    }

    /// Tells all of this role to stop.
    pub(super) fn stop(&self, role: Role) {
        self.of(role).for_each(|process| signal_child(process.pid, Signal::TERM));
    }

    /// Returns the running daemons of this role.
    pub(super) fn of(&self, role: Role) -> impl Iterator<Item = Process> {
        self.all.iter().filter(move |one| one.role == role).filter_map(|one| one.process)
    }

    /// Starts no daemon again from now on.
    pub(super) fn start_no_more(&mut self) {
        self.restart = false;
        self.all.iter_mut().for_each(|one| one.due = None);
    }

    /// Returns the daemons that run, for the record.
    pub(super) fn list(&self) -> Vec<Daemon> {
        let daemons = self.all.iter().filter_map(|one| {
            Some(Daemon { name: one.name.clone(), role: one.role, process: one.process? })
        });
        daemons.collect()
    }

    fn start_one(&mut self, index: usize) -> Result<(), Failure> {
        let Some(one) = self.all.get_mut(index) else { return Ok(()) };
        one.due = None;
        let pid = one.spawn(&self.lifeline).map_err(|error| {
            Failure::broken(format!("starting {} ({})", one.called(), one.program.display()))
                .because(error)
        })?;
        self.by_pid.insert(pid, index);
        Ok(())
    }
}

impl One {
    fn new(
        name: &str,
        role: Role,
        directory: PathBuf,
        program: PathBuf,
        arguments: Vec<PathBuf>,
    ) -> Self {
        Self {
            name: name.to_owned(),
            role,
            directory,
            program,
            arguments,
            process: None,
            started_at: Instant::now(),
            quick_deaths: 0,
            due: None,
        }
    }

    fn called(&self) -> String {
        match self.role {
            Role::Conductor => "the conductor".to_owned(),
            Role::Sitter | Role::Agent => format!("player {}", self.name),
            Role::Relay => format!("the relay of {}", self.name),
        }
    }

    fn spawn(&mut self, lifeline: &OwnedFd) -> io::Result<i32> {
        let log = Place::log(&self.directory)?;
        let mut command = Command::new(&self.program);
        command
            .args(&self.arguments)
            .arg(format!("--lifeline={}", lifeline.as_raw_fd()))
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // The daemon is not in the terminal's foreground, whose keys are for the command.
            .process_group(0);
        fcntl_setfd(lifeline, FdFlags::empty())?;
        let spawned = command.spawn();
        fcntl_setfd(lifeline, FdFlags::CLOEXEC)?;
        let pid = i32::try_from(spawned?.id()).map_err(io::Error::other)?;
        self.process = Process::of(pid);
        self.started_at = Instant::now();
        Ok(pid)
    }
}

/// How long to wait before the next start, after so many quick deaths in a row.
fn backoff(quick_deaths: u32) -> Duration {
    match quick_deaths {
        0 | 1 => Duration::ZERO,
        n => BACKOFF * (1 << (n - 2).min(DOUBLINGS)),
    }
}

/// Returns the path of a program beside this one; else its name, to be found in the search path.
fn program(directory: &Path, name: &str) -> Result<PathBuf, Failure> {
    let beside = directory.join(name);
    if beside.is_file() {
        return Ok(beside);
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut found = std::env::split_paths(&path).map(|directory| directory.join(name));
    let absolute = found.find(|path| path.is_absolute() && path.is_file());
    absolute.ok_or_else(|| {
        Failure::broken(format!(
            "starting the sandbox: there is no program {name} in {}, nor in PATH",
            directory.display()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Render as _;

    #[test]
    fn the_first_restarts_are_at_once_and_later_ones_bounded() {
        let waits: Vec<u128> = [0, 1, 2, 3, 8, 9, u32::MAX].map(|n| backoff(n).as_millis()).into();
        assert_eq!(waits, [0, 0, 100, 200, 6_400, 6_400, 6_400]);
    }

    #[test]
    fn a_program_that_is_nowhere_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let text = program(directory.path(), "no-such-program").unwrap_err().render();
        assert!(text.contains("there is no program no-such-program in /"), "{text}");
    }
}
