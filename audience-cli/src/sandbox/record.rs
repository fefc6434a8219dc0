//! `sandbox.json`: the processes of a sandbox, for verbs that run outside of it.
//!
//! It is written anew, whole or not at all, whenever a daemon was started. Agents are not in it:
//! their sitters start them again at any time, so they are looked for when a verb asks.

use std::{
    collections::HashMap,
    fs, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    place::Place,
    process::{Entry, Process, arguments},
};
use crate::error::Failure;

/// The version of the file.
const SCHEMA: u32 = 1;

/// What a supervisor without a command says on standard output when everything runs.
pub(super) const READY: &str = "ready";

/// What `sandbox.json` holds.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Record {
    schema: u32,
    /// The process that holds everything together.
    pub supervisor: Process,
    /// Whether the directory is removed with the sandbox.
    pub temporary: bool,
    /// Where the conductor listens.
    pub conductor: SocketAddr,
    /// How many players there are.
    pub players: usize,
    /// The sandbox's cgroup.
    pub cgroup: Option<PathBuf>,
    /// Conductor and sitters that run.
    pub daemons: Vec<Daemon>,
}

/// One daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Daemon {
    /// The host's name; `conductor` for the conductor.
    pub name: String,
    pub role: Role,
    #[serde(flatten)]
    pub process: Process,
}

/// What a daemon is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Role {
    Conductor,
    /// A player's process for scores.
    Sitter,
    /// A player's process for the network.
    Agent,
    /// What serves bundles beside a player.
    Relay,
}

impl Record {
    /// Returns the record of a sandbox in which no daemon runs yet.
    pub(super) fn new(supervisor: Process, temporary: bool, conductor: SocketAddr) -> Self {
        Self {
            schema: SCHEMA,
            supervisor,
            temporary,
            conductor,
            players: 0,
            cgroup: None,
            daemons: Vec::new(),
        }
    }

    /// Writes the record under another name, then renames it, so that a reader never sees half of
    /// one.
    pub(super) fn write(&self, place: &Place) -> io::Result<()> {
        let path = place.record();
        let beside = path.with_extension("json.new");
        fs::write(&beside, serde_json::to_vec_pretty(self)?)?;
        fs::rename(&beside, &path)
    }

    /// Reads the record of a sandbox.
    pub(super) fn read(place: &Place) -> Result<Self, Failure> {
        let path = place.record();
        let what = || format!("looking for a sandbox in {}", place.root().display());
        let bytes = fs::read(&path).map_err(|error| Failure::broken(what()).because(error))?;
        let record: Self = serde_json::from_slice(&bytes)
            .map_err(|error| Failure::broken(what()).because(error))?;
        match record.schema {
            SCHEMA => Ok(record),
            other => Err(Failure::broken(format!(
                "{}: {} has schema {other}, which this version does not know",
                what(),
                path.display()
            ))),
        }
    }

    /// Returns every daemon that runs now: the conductor, then sitters, each with its agent.
    pub(super) fn running(&self) -> Vec<Daemon> {
        let mut children: HashMap<i32, Vec<Process>> = HashMap::new();
        for entry in Entry::all().into_iter().filter(|entry| !entry.zombie) {
            children.entry(entry.parent).or_default().push(entry.process);
        }
        let mut running = Vec::new();
        for daemon in self.daemons.iter().filter(|daemon| daemon.process.runs()) {
            running.push(daemon.clone());
            let below = children.get(&daemon.process.pid).into_iter().flatten();
            // Scores are children of the sitter too; `player agent …` is its agent.
            let agents = below.filter(|process| is_agent(process.pid));
            running.extend(agents.map(|process| Daemon {
                name: daemon.name.clone(),
                role: Role::Agent,
                process: *process,
            }));
        }
        running
    }
}

/// Whether this child of a sitter is its agent.
pub(super) fn is_agent(pid: i32) -> bool {
    let arguments = arguments(pid);
    let mut arguments = arguments.iter().map(String::as_str);
    let program = arguments.next().map(Path::new).and_then(Path::file_name);
    program.is_some_and(|name| name == "player") && arguments.next() == Some("agent")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Render as _;

    #[test]
    fn a_record_comes_back_as_it_was_and_knows_who_runs() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(directory.path()).unwrap();
        let me = Process::of(i32::try_from(std::process::id()).unwrap()).unwrap();
        let mut record = Record::new(me, true, "127.0.0.1:1".parse().unwrap());
        let daemon =
            |name: &str, process| Daemon { name: name.into(), role: Role::Sitter, process };
        let gone = Process { started: me.started + 1, ..me };
        record.daemons = vec![daemon("db1", me), daemon("db2", gone)];
        record.write(&place).unwrap();

        let read = Record::read(&place).unwrap();
        assert_eq!(read.daemons, record.daemons);
        assert_eq!(read.running(), [daemon("db1", me)]);
    }

    #[test]
    fn no_sandbox_and_another_schema_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(directory.path()).unwrap();
        let text = Record::read(&place).unwrap_err().render();
        assert!(text.starts_with("error: looking for a sandbox in /"), "{text}");
    }
}
