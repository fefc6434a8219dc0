//! One player: a sitter, which is the daemon, and the agent that it starts.

use std::{fs, path::PathBuf};

use rustix::process::Signal;

use super::{
    Process,
    daemon::Daemon,
    eventually,
    process::{processes_with, signal},
};

/// A player: its sitter is the daemon.
#[derive(Debug)]
pub(crate) struct Player {
    /// Its name.
    pub(crate) name: String,
    /// Its directory.
    pub(crate) dir: PathBuf,
    /// Its sitter.
    pub(crate) sitter: Daemon,
}

impl Player {
    /// Its agent's process, once there is one that is not `other`.
    pub(crate) fn agent_other_than(&self, other: Option<i32>) -> i32 {
        let config = self.dir.join("player.toml").display().to_string();
        eventually("an agent", || {
            let is_agent = |process: &Process| {
                process.arguments.get(1).is_some_and(|word| word == "agent")
                    && Some(process.pid) != other
            };
            Some(processes_with(&config).into_iter().find(is_agent)?.pid)
        })
    }

    /// Its agent's process.
    pub(crate) fn agent(&self) -> i32 {
        self.agent_other_than(None)
    }

    /// Kills its agent as `kill -9` does.
    pub(crate) fn kill_agent(&self) {
        self.signal_agent(Signal::KILL);
    }

    /// Sends its agent a signal.
    pub(crate) fn signal_agent(&self, with: Signal) {
        signal(self.agent(), with);
    }

    /// Sets a key of its `player.toml`, for its next start; the value as it stands in TOML.
    pub(crate) fn set(&self, key: &str, value: &str) {
        let path = self.dir.join("player.toml");
        let text = fs::read_to_string(&path).expect("it was written");
        let others = text.lines().filter(|line| !line.starts_with(&format!("{key} =")));
        let others: Vec<&str> = others.collect();
        fs::write(&path, format!("{key} = {value}\n{}\n", others.join("\n"))).expect("a file");
    }

    /// Its spool.
    pub(crate) fn spool(&self) -> PathBuf {
        self.dir.join("spool")
    }
}
