//! `player.toml`: read, checked, and turned into a [`Config`] before anything else happens.
//!
//! Text → `Raw` (what serde can say) → [`Config`] (what may be relied on). Whatever is wrong is
//! told at once, with file and key path: unknown keys with the nearest known one, values with the
//! rule that they break. Defaults live in this file and nowhere else.
//!
//! Left to others: whether users, directories and keys exist as named (the sitter and the agent
//! find out when they use them).

use std::{
    fmt,
    io::{self, Read},
    path::{Path, PathBuf},
};

use orchestra_certs::{Files, NewestLists};
use orchestra_link::{Dialler, Endpoint};
use orchestra_model::{HostName, Millis, limits};
use serde::Deserialize;

mod keys;

/// Where the configuration is, unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/orchestra/player.toml";

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 64 << 10;
/// Most conductors of the list.
const CONDUCTORS: usize = 64;
/// The least and most that may be kept of a stream, in bytes. Each attempt keeps two streams on
/// disk until it is acknowledged.
const OUTPUT_BYTES: (u64, u64) = (4 << 10, 64 << 20);
/// Most that `processes_max` may be: the kernel has no more numbers for processes.
const PROCESSES: u32 = 1 << 22;
/// Longest grace between TERM and KILL: it is part of how long a conductor waits for the end of
/// an attempt.
const KILL_GRACE: Millis = Millis::minutes(60);

/// What an operator says of this player. Every value is within its bounds.
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
    /// Where the spool is. Absolute.
    pub spool_dir: PathBuf,
    /// How many attempts run at once: 1 to [`limits::MAX_TASKS`].
    pub max_tasks: u32,
    /// Who the agent runs as.
    pub agent_user: RunAs,
    /// Who scores run as, where their `.conf` does not say.
    pub task_user: RunAs,
    /// Who asks units at ports how they are; `None`: `orchestra-probe` where there is such a user, else
    /// whoever tasks run as.
    pub prober_user: Option<RunAs>,
    /// How much is kept of each stream of an attempt, in bytes: 4 KiB to 64 MiB.
    pub output_max: u64,
    /// Between TERM and KILL; at most an hour.
    pub kill_grace: Millis,
    /// How long a stop waits for what runs; 0: leave it to the next player.
    pub stop_grace: Millis,
    /// Where attempts get their cgroups.
    pub cgroup: Cgroup,
    /// Most processes and threads of one attempt, or of one unit; 1 to 4,194,304.
    pub processes_max: Option<u32>,
    /// How many units are kept running: 1 to [`limits::UNITS`].
    pub max_units: u32,
    /// Where units' run directories are, best in memory. Absolute.
    pub run_dir: PathBuf,
    /// The agent's key and certificates, for the agent's user alone (0600). Absolute.
    pub tls: Files,
}

/// A user to become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// `"self"`: whoever started the player; nothing is switched.
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
        let mut text = String::new();
        let opened = orchestra_certs::open_regular(&absolute).map_err(failed)?;
        opened.take(FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > FILE_BYTES {
            return Err(failed(io::Error::other("larger than 64 KiB")));
        }
        Config::parse(&absolute, &text)
    }

    /// Checks `text` as if it were the content of `file`, an absolute path.
    pub fn parse(file: &Path, text: &str) -> Result<Config, ConfigError> {
        let syntax = |source: toml::de::Error| ConfigError::Syntax {
            file: file.to_owned(),
            source: Box::new(source),
        };
        let table: toml::Table = toml::from_str(text).map_err(syntax)?;
        let mut problems = Problems(keys::unknown_keys(&table));
        let raw: Raw = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(source) if problems.0.is_empty() => return Err(syntax(source)),
            Err(_) => return Err(problems.into_error(file)),
        };
        match validate(file, raw, &mut problems) {
            Some(config) if problems.0.is_empty() => Ok(config),
            _ => Err(problems.into_error(file)),
        }
    }
}

impl Config {
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
#[derive(Debug)]
pub enum ConfigError {
    /// The file cannot be read.
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is not TOML, or a value has the wrong type.
    Syntax {
        /// Which file.
        file: PathBuf,
        /// Where in it, and why.
        source: Box<toml::de::Error>,
    },
    /// Keys are unknown or missing, or values break a rule: all of them.
    Invalid {
        /// Which file.
        file: PathBuf,
        /// At least one.
        problems: Vec<Problem>,
    },
}

/// One thing wrong with one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The key's path: `tls.cert`.
    pub key: String,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { file, .. } => write!(f, "reading configuration {}", file.display()),
            Self::Syntax { file, .. } => write!(f, "parsing configuration {}", file.display()),
            Self::Invalid { file, problems } => {
                write!(f, "configuration {}", file.display())?;
                problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Syntax { source, .. } => Some(source),
            Self::Invalid { .. } => None,
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.what)
    }
}

/// The file as serde sees it: right types, nothing else known.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    conductors: Option<Vec<String>>,
    conductor_name: Option<String>,
    domain: Option<String>,
    scores_dir: Option<PathBuf>,
    spool_dir: Option<PathBuf>,
    max_tasks: Option<u64>,
    agent_user: Option<String>,
    task_user: Option<String>,
    prober_user: Option<String>,
    output_max: Option<String>,
    kill_grace: Option<String>,
    stop_grace: Option<String>,
    cgroup: Option<String>,
    processes_max: Option<u64>,
    max_units: Option<u64>,
    run_dir: Option<PathBuf>,
    tls: RawTls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawTls {
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    crl: Option<PathBuf>,
}

/// What was found wrong so far. Its methods note a problem and go on with the next key.
struct Problems(Vec<Problem>);

impl Problems {
    fn note(&mut self, key: &str, what: impl fmt::Display) {
        self.0.push(Problem { key: key.to_owned(), what: what.to_string() });
    }

    fn ok<T, E: fmt::Display>(&mut self, key: &str, result: Result<T, E>) -> Option<T> {
        result.map_err(|why| self.note(key, why)).ok()
    }

    fn required<T>(&mut self, key: &str, value: Option<T>) -> Option<T> {
        if value.is_none() {
            self.note(key, "missing, and it has no default");
        }
        value
    }

    fn into_error(self, file: &Path) -> ConfigError {
        ConfigError::Invalid { file: file.to_owned(), problems: self.0 }
    }
}

/// `None` where a value is missing; every reason is in `problems`.
fn validate(file: &Path, raw: Raw, problems: &mut Problems) -> Option<Config> {
    let base = file.parent().unwrap_or(Path::new("/"));
    let path = |given: Option<PathBuf>, default: &str| {
        base.join(given.unwrap_or_else(|| PathBuf::from(default)))
    };

    // Every key is looked at before the first `?`, so that all problems are told.
    let conductors = conductors(raw.conductors, problems);
    let conductor_name = problems
        .required("conductor_name", raw.conductor_name)
        .and_then(|text| problems.ok("conductor_name", HostName::new(&text)));
    let domain = problems
        .required("domain", raw.domain)
        .and_then(|text| problems.ok("domain", HostName::new(&text)));
    let max_tasks = problems.ok("max_tasks", max_tasks(raw.max_tasks.unwrap_or(4)));
    let agent_user = run_as("agent_user", raw.agent_user, "orchestra", problems);
    let task_user = run_as("task_user", raw.task_user, "orchestra-task", problems);
    let prober_user = raw.prober_user;
    let prober_user = prober_user.map(|name| run_as("prober_user", Some(name), "", problems));
    let output_max = raw.output_max.as_deref().unwrap_or("1MiB");
    let output_max = problems.ok("output_max", output_bytes(output_max));
    let kill_grace = grace("kill_grace", raw.kill_grace, Millis::seconds(10), problems);
    let stop_grace = grace("stop_grace", raw.stop_grace, Millis(0), problems);
    if kill_grace.is_some_and(|grace| grace > KILL_GRACE) {
        problems.note("kill_grace", format_args!("more than {KILL_GRACE}"));
    }
    let cgroup = raw.cgroup.as_deref().unwrap_or("auto");
    let cgroup = problems.ok("cgroup", cgroup_from(cgroup));
    let processes = raw.processes_max.map(|most| problems.ok("processes_max", processes_max(most)));
    if raw.processes_max.is_some() && cgroup == Some(Cgroup::None) {
        problems.note("processes_max", "it needs cgroups, and cgroup is \"none\"");
    }
    let max_units = problems.ok("max_units", max_units(raw.max_units.unwrap_or(256)));
    let spool_dir = path(raw.spool_dir, "/var/spool/orchestra");
    let run_dir = raw.run_dir.map(|given| base.join(given));
    let ca = problems.required("tls.ca", raw.tls.ca);
    let cert = problems.required("tls.cert", raw.tls.cert);
    let key = problems.required("tls.key", raw.tls.key);

    Some(Config {
        file: file.to_owned(),
        conductors: conductors?,
        conductor_name: conductor_name?,
        domain: domain?,
        scores_dir: path(raw.scores_dir, "/usr/lib/orchestra/scores"),
        run_dir: run_dir.unwrap_or_else(|| default_run_dir(&spool_dir)),
        spool_dir,
        max_units: max_units?,
        max_tasks: max_tasks?,
        agent_user: agent_user?,
        task_user: task_user?,
        prober_user: prober_user.map_or(Some(None), |user| user.map(Some))?,
        output_max: output_max?,
        kill_grace: kill_grace?,
        stop_grace: stop_grace?,
        cgroup: cgroup?,
        processes_max: processes.flatten(),
        tls: Files {
            ca: base.join(ca?),
            cert: base.join(cert?),
            key: base.join(key?),
            crl: raw.tls.crl.map(|crl| base.join(crl)),
        },
    })
}

fn conductors(raw: Option<Vec<String>>, problems: &mut Problems) -> Option<Vec<Endpoint>> {
    let raw = problems.required("conductors", raw)?;
    if raw.is_empty() || raw.len() > CONDUCTORS {
        problems.note("conductors", format_args!("expected 1 to {CONDUCTORS} of HOST:PORT"));
    }
    let mut endpoints = Vec::new();
    for text in raw.iter().take(CONDUCTORS) {
        match text.parse() {
            Ok(endpoint) => endpoints.push(endpoint),
            Err(why) => problems.note("conductors", format_args!("{text:?}: {why}")),
        }
    }
    Some(endpoints)
}

fn max_tasks(n: u64) -> Result<u32, String> {
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=limits::MAX_TASKS).contains(n))
        .ok_or_else(|| format!("{n}: expected 1 to {}", limits::MAX_TASKS))
}

fn max_units(n: u64) -> Result<u32, String> {
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=limits::UNITS as u32).contains(n))
        .ok_or_else(|| format!("{n}: expected 1 to {}", limits::UNITS))
}

/// Who is not root can make nothing in `/run`, and has a directory beside the spool.
fn default_run_dir(spool_dir: &Path) -> PathBuf {
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/run/orchestra");
    }
    let mut beside = spool_dir.as_os_str().to_owned();
    beside.push(".run");
    PathBuf::from(beside)
}

fn processes_max(n: u64) -> Result<u32, String> {
    u32::try_from(n)
        .ok()
        .filter(|n| (1..=PROCESSES).contains(n))
        .ok_or_else(|| format!("{n}: expected 1 to {PROCESSES}"))
}

fn run_as(key: &str, raw: Option<String>, default: &str, problems: &mut Problems) -> Option<RunAs> {
    match raw {
        None => Some(RunAs::User(default.to_owned())),
        Some(text) if text == "self" => Some(RunAs::Caller),
        Some(text) if user_name_is_plausible(&text) => Some(RunAs::User(text)),
        Some(text) => {
            problems.note(key, format_args!("{text:?}: expected the name of a user, or \"self\""));
            None
        }
    }
}

/// What useradd(8) takes with its loosest settings.
fn user_name_is_plausible(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'$'))
}

fn grace(
    key: &str,
    raw: Option<String>,
    default: Millis,
    problems: &mut Problems,
) -> Option<Millis> {
    match raw {
        None => Some(default),
        Some(text) => problems.ok(key, text.parse()),
    }
}

fn output_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 4] =
        [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("B", 1)];
    let read = UNITS.iter().find_map(|(unit, bytes)| {
        let digits = text.strip_suffix(unit)?;
        let plain = digits.bytes().all(|b| b.is_ascii_digit());
        digits.parse::<u64>().ok().filter(|_| plain)?.checked_mul(*bytes)
    });
    match read {
        Some(bytes) if (OUTPUT_BYTES.0..=OUTPUT_BYTES.1).contains(&bytes) => Ok(bytes),
        Some(_) => Err(format!("{text:?}: expected 4KiB to 64MiB")),
        None => Err(format!("{text:?}: expected a size like 512KiB or 1MiB (B, KiB, MiB, GiB)")),
    }
}

fn cgroup_from(text: &str) -> Result<Cgroup, String> {
    let path = Path::new(text);
    match text {
        "auto" => Ok(Cgroup::Auto),
        "none" => Ok(Cgroup::None),
        _ if path.is_absolute() && !text.split('/').any(|part| part == "..") => {
            Ok(Cgroup::At(path.to_owned()))
        }
        _ => Err(format!("{text:?}: expected \"auto\", \"none\" or an absolute directory")),
    }
}

#[cfg(test)]
mod tests;
