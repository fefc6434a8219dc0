//! `player.toml`: read, checked, and turned into a [`Config`] before anything else happens.
//!
//! All problems are told at once, with file, line and key: unknown keys with the nearest known one,
//! values with the rule that they break. Defaults are in this file and nowhere else.
//!
//! Left to others: whether users, directories and keys exist as named (the sitter and the agent
//! find out when they use them).

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use orchestra_bundle::DepotRoom;
use orchestra_certs::{NewestLists, TlsFiles, read_regular};
use orchestra_document::{Fields, Problems, settings};
use orchestra_link::{Dialler, Endpoint};
use orchestra_model::{ByteSize, HostName, Millis, limits};

use crate::fetching::FetchPlace;

/// Where the configuration is, unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/orchestra/player.toml";

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 64 << 10;
/// Most conductors of the list.
const CONDUCTORS: usize = 64;
/// The least and most that may be kept of a stream, in bytes. Each attempt keeps two streams on
/// disk until it is acknowledged.
const OUTPUT_BYTES: (ByteSize, ByteSize) = (ByteSize(4 << 10), ByteSize(64 << 20));
/// How long at most outputs of attempts that are over may be kept.
const OUTPUT_KEEP: Millis = Millis::days(30);
/// The most that all of them may take on the disk. With nothing, nothing is kept.
const OUTPUT_BUDGET: ByteSize = ByteSize(1 << 40);
/// The most that bundles from other hosts may take on the disk.
const DEPOT_BYTES: ByteSize = ByteSize(1 << 50);
/// How long at most a bundle from another host stays for others.
const SERVE_FOR: Millis = Millis::days(30);
/// The least and most that may be kept of what all units write.
const LOG_BUDGET: (ByteSize, ByteSize) = (ByteSize(16 << 20), ByteSize(1 << 40));
/// What is kept of what all units write if nobody says how much, in bytes.
pub(crate) const DEFAULT_LOG_BUDGET: u64 = 1 << 30;
/// Most that `processes_max` may be: the kernel has no more numbers for processes.
const PROCESSES: u32 = 1 << 22;
/// Longest grace between TERM and KILL: it is part of how long a conductor waits for the end of
/// an attempt.
const KILL_GRACE: Millis = Millis::minutes(60);

/// The configuration of this player. Every value is within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that it was read from, absolute.
    pub file: PathBuf,
    /// Where conductors listen, tried in turn; at least one, at most 64.
    pub conductors: Vec<Endpoint>,
    /// The only conductor that is accepted, by the name in its certificate.
    pub conductor_name: HostName,
    /// The only domain whose certificates are accepted.
    pub domain: HostName,
    /// Where the scores are. Absolute.
    pub scores_dir: PathBuf,
    /// Where the files of places for bundles are. Absolute.
    pub places_dir: PathBuf,
    /// The file that says which audiences may run which scores here; `None` if that is left to the
    /// conductor. Absolute.
    pub policy: Option<PathBuf>,
    /// Where the content of bundles is on this host. Absolute.
    pub depot_dir: PathBuf,
    /// How much of the disk bundles may take there that came from other hosts, in bytes; at most 1 PiB.
    pub depot_max: u64,
    /// For how long a bundle from another host stays there after it was used last, so that others can be
    /// served; at most 30 days.
    pub serve_for: Millis,
    /// Where the spool is. Absolute.
    pub spool_dir: PathBuf,
    /// How many attempts run at once: 1 to [`limits::MAX_TASKS`].
    pub max_tasks: u32,
    /// The user as whom the agent runs.
    pub agent_user: RunAs,
    /// The user as whom scores run if their `.conf` names none.
    pub task_user: RunAs,
    /// The user as whom ports are probed. `None`: `orchestra-probe` if there is such a user, else
    /// the user as whom tasks run.
    pub prober_user: Option<RunAs>,
    /// How much is kept of each stream of an attempt, in bytes: 4 KiB to 64 MiB.
    pub output_max: u64,
    /// How long what an attempt wrote is kept after its end, as far as the end does not tell it; at most 30
    /// days. With 0 nothing is.
    pub output_keep: Millis,
    /// How much of that may be on the disk together, in bytes; at most 1 TiB. The oldest goes first.
    pub output_budget: u64,
    /// How much the logs of all units together may take on the disk, in bytes: 16 MiB to 1 TiB.
    pub log_budget: u64,
    /// The time between TERM and KILL; at most an hour.
    pub kill_grace: Millis,
    /// How long a stop waits for what runs. With 0 all is left to the next player.
    pub stop_grace: Millis,
    /// Where attempts get their cgroups.
    pub cgroup: Cgroup,
    /// Most processes and threads of one attempt, or of one unit; 1 to 4,194,304.
    pub processes_max: Option<u32>,
    /// How many units are kept running: 1 to [`limits::UNITS`].
    pub max_units: u32,
    /// Where units' run directories are, best in memory. Absolute.
    pub run_dir: PathBuf,
    /// Where services with `state_dir` have theirs: on a disk that outlives a reboot. Absolute.
    pub services_dir: PathBuf,
    /// The agent's key and certificates, for the agent's user alone (0600). Absolute.
    pub tls: TlsFiles,
}

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// `"self"`: the user who started the player. Nothing is switched.
    Caller,
    /// A user of this name, looked up when it is needed.
    User(String),
}

/// Where attempts get cgroups of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cgroup {
    /// `"auto"`: below the cgroup that the player was started in, where that can be written; else
    /// none.
    Auto,
    /// `"none"`: process groups and environment markers only.
    None,
    /// Below this directory of a cgroup v2 file system; a start without it fails.
    At(PathBuf),
}

impl Config {
    /// Reads and checks `file`. Relative paths in it start from the directory that holds it.
    pub fn load(file: &Path) -> Result<Config, ConfigError> {
        let failed = |source| ConfigError::Read { file: file.to_owned(), source };
        let absolute = std::path::absolute(file).map_err(failed)?;
        let text = read_regular(&absolute, FILE_BYTES).map_err(failed)?;
        Config::parse(&absolute, &text)
    }

    /// Checks `text` as if it were the content of `file`, an absolute path.
    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        settings(text, |fields, problems| read(file, fields, problems))
            .map_err(|problems| ConfigError::Invalid { file: file.to_owned(), problems })
    }
}

impl Config {
    /// Where the agent fetches bundles to, and as whom.
    pub fn fetch_place(&self) -> FetchPlace {
        FetchPlace {
            depot: self.depot_dir.clone(),
            room: DepotRoom {
                most: ByteSize(self.depot_max),
                serve_for: self.serve_for.to_std(),
                in_use: BTreeSet::new(),
            },
            domain: self.domain.clone(),
            files: self.tls.clone(),
            newest: NewestLists::default(),
        }
    }

    /// How the agent reaches a conductor.
    pub fn dialler(&self) -> Dialler {
        Dialler {
            conductors: self.conductors.clone(),
            conductor_name: self.conductor_name.clone(),
            domain: self.domain.clone(),
            files: self.tls.clone(),
            newest: NewestLists::default(),
        }
    }
}

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("reading configuration {}", .file.display())]
    Read { file: PathBuf, source: io::Error },
    /// It is not TOML, keys are unknown or missing, or values break a rule: all of it.
    #[error("configuration {}", .file.display())]
    Invalid {
        file: PathBuf,
        /// At least one.
        #[source]
        problems: Problems,
    },
}

/// Reads all fields; `None` if a value is missing or wrong, which is then in `problems`. Every
/// field is read before the first `?`, so that all problems are told.
fn read(file: &Path, fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Config> {
    let base = file.parent().unwrap_or(Path::new("/"));
    let conductors = read_conductors(fields, problems);
    let conductor_name = fields.host_name("conductor_name", problems);
    let domain = fields.host_name("domain", problems);
    for name in ["conductors", "conductor_name", "domain"] {
        fields.needed(name, problems);
    }
    let scores_dir = fields.path("scores_dir", base, problems);
    let places_dir = fields.path("places_dir", base, problems);
    let policy = fields.path("policy", base, problems);
    let depot_dir = fields.path("depot_dir", base, problems);
    let depot_max = fields.within("depot_max", ByteSize(0)..=DEPOT_BYTES, problems);
    let serve_for = fields.within("serve_for", Millis(0)..=SERVE_FOR, problems);
    let spool_dir = fields.path("spool_dir", base, problems);
    let spool_dir = spool_dir.unwrap_or_else(|| PathBuf::from("/var/spool/orchestra"));
    let run_dir = fields.path("run_dir", base, problems);
    let services_dir = fields.path("services_dir", base, problems);
    let max_tasks = fields.whole("max_tasks", 1..=limits::MAX_TASKS, problems);
    let max_units = fields.whole("max_units", 1..=limits::UNITS as u32, problems);
    let processes_max = fields.whole("processes_max", 1..=PROCESSES, problems);
    let agent_user = read_user("agent_user", fields, problems);
    let task_user = read_user("task_user", fields, problems);
    let prober_user = read_user("prober_user", fields, problems);
    let log_budget = fields.within("log_budget", LOG_BUDGET.0..=LOG_BUDGET.1, problems);
    let output_max = fields.within("output_max", OUTPUT_BYTES.0..=OUTPUT_BYTES.1, problems);
    let output_keep = fields.within("output_keep", Millis(0)..=OUTPUT_KEEP, problems);
    let output_budget = fields.within("output_budget", ByteSize(0)..=OUTPUT_BUDGET, problems);
    let kill_grace = fields.within("kill_grace", Millis(0)..=KILL_GRACE, problems);
    let stop_grace = fields.parsed("stop_grace", problems);
    let cgroup = read_cgroup(fields, problems);
    if processes_max.is_some() && cgroup == Some(Cgroup::None) {
        fields.note("processes_max", "it needs cgroups, and cgroup is \"none\"", problems);
    }
    let tls = fields.tls_files(base, problems);
    Some(Config {
        file: file.to_owned(),
        conductors: conductors?,
        conductor_name: conductor_name?,
        domain: domain?,
        scores_dir: scores_dir.unwrap_or_else(|| PathBuf::from("/usr/lib/orchestra/scores")),
        places_dir: places_dir.unwrap_or_else(|| PathBuf::from("/etc/orchestra/places.d")),
        policy,
        depot_dir: depot_dir.unwrap_or_else(|| PathBuf::from("/var/lib/orchestra-depot")),
        depot_max: depot_max.map_or(10 << 30, |ByteSize(bytes)| bytes),
        serve_for: serve_for.unwrap_or(Millis::minutes(60)),
        run_dir: run_dir.unwrap_or_else(|| own_dir("/run/orchestra", &spool_dir, ".run")),
        services_dir: services_dir
            .unwrap_or_else(|| own_dir("/var/lib/orchestra-services", &spool_dir, ".services")),
        spool_dir,
        max_units: max_units.unwrap_or(256),
        max_tasks: max_tasks.unwrap_or(4),
        agent_user: agent_user.unwrap_or_else(|| RunAs::User("orchestra".to_owned())),
        task_user: task_user.unwrap_or_else(|| RunAs::User("orchestra-task".to_owned())),
        prober_user,
        log_budget: log_budget.map_or(DEFAULT_LOG_BUDGET, |ByteSize(bytes)| bytes),
        output_max: output_max.map_or(1 << 20, |ByteSize(bytes)| bytes),
        output_keep: output_keep.unwrap_or(Millis::days(1)),
        output_budget: output_budget.map_or(256 << 20, |ByteSize(bytes)| bytes),
        kill_grace: kill_grace.unwrap_or(Millis::seconds(10)),
        stop_grace: stop_grace.unwrap_or(Millis(0)),
        cgroup: cgroup.unwrap_or(Cgroup::Auto),
        processes_max,
        tls: tls?,
    })
}

fn read_conductors(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Vec<Endpoint>> {
    let texts = fields.texts("conductors", problems)?;
    if texts.is_empty() || texts.len() > CONDUCTORS {
        let problem = format_args!("expected 1 to {CONDUCTORS} of HOST:PORT");
        fields.note("conductors", problem, problems);
    }
    let mut endpoints = Vec::new();
    for text in texts.iter().take(CONDUCTORS) {
        match text.parse() {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(why) => fields.note("conductors", format_args!("{text:?}: {why}"), problems),
        }
    }
    Some(endpoints)
}

fn read_user(key: &'static str, fields: &mut Fields<'_>, problems: &mut Problems) -> Option<RunAs> {
    match fields.text(key, problems)? {
        "self" => Some(RunAs::Caller),
        text if user_name_is_plausible(text) => Some(RunAs::User(text.to_owned())),
        text => {
            let problem = format_args!("{text:?}: expected the name of a user, or \"self\"");
            fields.note(key, problem, problems);
            None
        }
    }
}

fn read_cgroup(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Cgroup> {
    let text = fields.text("cgroup", problems)?;
    let path = Path::new(text);
    match text {
        "auto" => Some(Cgroup::Auto),
        "none" => Some(Cgroup::None),
        _ if path.is_absolute() && !text.split('/').any(|part| part == "..") => {
            Some(Cgroup::At(path.to_owned()))
        }
        _ => {
            let problem =
                format_args!("{text:?}: expected \"auto\", \"none\" or an absolute directory");
            fields.note("cgroup", problem, problems);
            None
        }
    }
}

/// Returns the default of a directory. Users other than root can make nothing in `/run` or
/// `/var/lib`, and get a directory beside the spool.
fn own_dir(of_root: &str, spool_dir: &Path, beside: &str) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from(of_root);
    }
    let mut path = spool_dir.as_os_str().to_owned();
    path.push(beside);
    PathBuf::from(path)
}

/// Returns whether useradd(8) accepts the name with its loosest settings.
fn user_name_is_plausible(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'))
}

#[cfg(test)]
mod tests;
