//! `conductor.toml`: read and checked whole before any socket opens.

use std::{
    error::Error,
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use orchestra_certs::{Files, open_regular};
use orchestra_model::{HostName, Millis, Quantity, limits, nearest};
use serde::Deserialize;

/// Where the configuration is unless `--config-dir` says otherwise.
pub const DEFAULT_DIR: &str = "/etc/orchestra";

/// What the conductor needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory that everything was read from, and that a reload reads again.
    pub directory: PathBuf,
    /// Where to listen; port 0 for any.
    pub listen: SocketAddr,
    /// Its name, which its certificate must carry.
    pub name: HostName,
    /// The one domain whose certificates count.
    pub domain: HostName,
    /// Where the store lies.
    pub state_dir: PathBuf,
    /// Certificates and key.
    pub tls: Files,
    /// Bounds that a reload may change.
    pub limits: OperatorLimits,
    /// How long ended flows are kept, and how many.
    pub retention: Retention,
}

/// Bounds that the operator sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OperatorLimits {
    /// Largest submission, in bytes.
    pub max_flow_bytes: usize,
    /// Most tasks of one flow.
    pub max_hosts: u64,
    /// How much of the fleet one reload may take away.
    pub reload_removal: Quantity,
}

/// How long ended flows, and the record of who did what, are kept, and how many flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Older ones are pruned.
    pub finished_age: Millis,
    /// The oldest above this many are pruned.
    pub finished_flows: usize,
    /// Older lines of the record of who did what are pruned.
    pub audit_age: Millis,
}

/// Why the configuration cannot be used.
#[derive(Debug)]
pub enum InvalidConfig {
    /// The file cannot be read.
    Read(PathBuf, io::Error),
    /// It is not TOML.
    Syntax(PathBuf, Box<toml::de::Error>),
    /// Keys that do not exist, or values that make no sense: all of them.
    Keys(PathBuf, Vec<String>),
}

impl fmt::Display for InvalidConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(path, _) => write!(f, "cannot read {}", path.display()),
            Self::Syntax(path, _) => write!(f, "{} is not valid", path.display()),
            Self::Keys(path, problems) => write!(f, "{}: {}", path.display(), problems.join("; ")),
        }
    }
}

impl Error for InvalidConfig {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Read(_, cause) => Some(cause),
            Self::Syntax(_, cause) => Some(cause),
            Self::Keys(..) => None,
        }
    }
}

/// The file as written.
#[derive(Deserialize)]
struct Raw {
    listen: String,
    name: String,
    domain: String,
    state_dir: PathBuf,
    tls: RawTls,
    #[serde(default)]
    limits: RawLimits,
    #[serde(default)]
    retention: RawRetention,
}

#[derive(Deserialize)]
struct RawTls {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
    crl: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
struct RawLimits {
    max_flow_bytes: Option<String>,
    max_hosts: Option<u64>,
    reload_removal: Option<Quantity>,
}

#[derive(Default, Deserialize)]
struct RawRetention {
    finished_age: Option<Millis>,
    finished_flows: Option<usize>,
    audit_age: Option<Millis>,
}

/// Every key there is, by table.
const KEYS: [(&str, &[&str]); 4] = [
    ("", &["listen", "name", "domain", "state_dir", "tls", "limits", "retention"]),
    ("tls", &["ca", "cert", "key", "crl"]),
    ("limits", &["max_flow_bytes", "max_hosts", "reload_removal"]),
    ("retention", &["finished_age", "finished_flows", "audit_age"]),
];

impl Config {
    /// Reads `conductor.toml` of a directory.
    pub fn load(directory: &Path) -> Result<Self, InvalidConfig> {
        let path = directory.join("conductor.toml");
        let text = open_regular(&path).and_then(io::read_to_string);
        let text = text.map_err(|cause| InvalidConfig::Read(path.clone(), cause))?;
        Self::parse(directory, &path, &text)
    }

    fn parse(directory: &Path, path: &Path, text: &str) -> Result<Self, InvalidConfig> {
        let syntax =
            |cause: toml::de::Error| InvalidConfig::Syntax(path.to_owned(), Box::new(cause));
        let table: toml::Table = text.parse().map_err(syntax)?;
        let unknown = unknown_keys(&table);
        if !unknown.is_empty() {
            return Err(InvalidConfig::Keys(path.to_owned(), unknown));
        }
        let raw: Raw = toml::from_str(text).map_err(syntax)?;
        raw.validate(directory).map_err(|problems| InvalidConfig::Keys(path.to_owned(), problems))
    }
}

impl Raw {
    fn validate(self, directory: &Path) -> Result<Config, Vec<String>> {
        let mut problems = Vec::new();
        let listen = self.listen.parse();
        if listen.is_err() {
            problems.push(format!("listen: {:?} is not ADDRESS:PORT", self.listen));
        }
        let mut host = |key: &str, text: &str| {
            HostName::new(text).map_err(|error| problems.push(format!("{key}: {error}"))).ok()
        };
        let name = host("name", &self.name);
        let domain = host("domain", &self.domain);
        let flow_bytes = self.limits.max_flow_bytes.as_deref().map_or(Some(4 << 20), parse_size);
        match flow_bytes {
            None => problems.push("limits.max_flow_bytes: expected a size like 4MiB".to_owned()),
            Some(bytes) if bytes > limits::MESSAGE_BYTES as u64 => problems.push(format!(
                "limits.max_flow_bytes: at most {} MiB",
                limits::MESSAGE_BYTES >> 20
            )),
            Some(_) => {}
        }
        let max_hosts = self.limits.max_hosts.unwrap_or(limits::HOSTSET_HOSTS as u64);
        if max_hosts == 0 {
            problems.push("limits.max_hosts: 0 would refuse every flow".to_owned());
        }
        if !self.state_dir.is_absolute() {
            problems.push("state_dir: expected an absolute path".to_owned());
        }
        let (Ok(listen), Some(name), Some(domain), Some(flow_bytes), true) =
            (listen, name, domain, flow_bytes, problems.is_empty())
        else {
            return Err(problems);
        };
        Ok(Config {
            directory: directory.to_owned(),
            listen,
            name,
            domain,
            state_dir: self.state_dir,
            tls: Files {
                ca: directory.join(self.tls.ca),
                cert: directory.join(self.tls.cert),
                key: directory.join(self.tls.key),
                crl: self.tls.crl.map(|crl| directory.join(crl)),
            },
            limits: OperatorLimits {
                max_flow_bytes: usize::try_from(flow_bytes).unwrap_or(limits::MESSAGE_BYTES),
                max_hosts,
                reload_removal: self.limits.reload_removal.unwrap_or(Quantity::Percent(20)),
            },
            retention: Retention {
                finished_age: self.retention.finished_age.unwrap_or(Millis(30 * 86_400_000)),
                finished_flows: self.retention.finished_flows.unwrap_or(10_000),
                audit_age: self.retention.audit_age.unwrap_or(Millis(400 * 86_400_000)),
            },
        })
    }
}

/// Keys that do not exist, with their tables, all of them.
fn unknown_keys(table: &toml::Table) -> Vec<String> {
    let mut unknown = Vec::new();
    for (name, known) in KEYS {
        let inner = match name {
            "" => Some(table),
            name => table.get(name).and_then(toml::Value::as_table),
        };
        for key in inner.into_iter().flat_map(toml::Table::keys) {
            if !known.contains(&key.as_str()) {
                let path = if name.is_empty() { key.clone() } else { format!("{name}.{key}") };
                let hint = match nearest(key, known.iter().copied()) {
                    Some(meant) => format!("; did you mean {meant}?"),
                    None => format!(" (known: {})", known.join(", ")),
                };
                unknown.push(format!("unknown key {path}{hint}"));
            }
        }
    }
    unknown
}

/// Reads a size with its unit: B, KiB, MiB, GiB.
fn parse_size(text: &str) -> Option<u64> {
    let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0)];
    let (digits, shift) =
        units.iter().find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, *shift)))?;
    digits.parse::<u64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
        listen = "127.0.0.1:0"
        name = "conductor.example.com"
        domain = "example.com"
        state_dir = "/var/lib/orchestra"
        [tls]
        ca = "ca.pem"
        cert = "/etc/ssl/c.pem"
        key = "conductor.key"
    "#;

    fn parse(text: &str) -> Result<Config, InvalidConfig> {
        Config::parse(Path::new("/etc/orchestra"), Path::new("conductor.toml"), text)
    }

    #[test]
    fn defaults_and_relative_paths() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.tls.ca, Path::new("/etc/orchestra/ca.pem"));
        assert_eq!(config.tls.cert, Path::new("/etc/ssl/c.pem"));
        assert_eq!(config.limits.max_flow_bytes, 4 << 20);
        assert_eq!(config.limits.reload_removal, Quantity::Percent(20));
        assert_eq!(config.retention.finished_age, "30d".parse().unwrap());
    }

    #[test]
    fn every_unknown_key_is_told_with_its_table() {
        let text = format!("bogus = 1\n{GOOD}\nceert = \"x\"\n[limits]\nmax = 3\n");
        let message = parse(&text).unwrap_err().to_string();
        for key in ["bogus", "tls.ceert", "limits.max"] {
            assert!(message.contains(key), "{message}");
        }
    }

    #[test]
    fn every_wrong_value_is_told() {
        let text = GOOD.replace("127.0.0.1:0", "nowhere").replace("\"example.com\"", "\"X!\"");
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.contains("listen") && message.contains("domain"), "{message}");
    }

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("4MiB"), Some(4 << 20));
        assert_eq!(parse_size("10B"), Some(10));
        for bad in ["4", "MiB", "-1KiB", "4MB", "99999999999GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
    }
}
