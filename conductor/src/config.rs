//! `conductor.toml`: read and checked whole before any socket opens.

use std::{
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use orchestra_certs::{TlsFiles, open_regular};
use orchestra_document::{Fields, Problems, settings};
use orchestra_model::{ByteSize, HostName, Millis, Quantity, hex, limits};
use sha2::{Digest as _, Sha256};

/// Where the configuration is unless `--config-dir` says otherwise.
pub const DEFAULT_DIR: &str = "/etc/orchestra";

/// Largest submission if the configuration says nothing else, in bytes.
const MAX_FLOW_BYTES: u64 = 4 << 20;

/// What the conductor needs to know before it starts.
#[derive(Clone, Debug)]
pub struct Config {
    /// The directory from which everything was read, and which a reload reads again.
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
    pub tls: TlsFiles,
    /// Bounds that a reload may change.
    pub limits: OperatorLimits,
    /// How long ended flows are kept, and how many.
    pub retention: Retention,
    /// Whether every audience may do everything, so that there is no `policy.toml`.
    pub is_open: bool,
    /// Where the record of who did what is exported to; `None` if it is not.
    pub audit_export: Option<ExportTarget>,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: Arc<str>,
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
    /// Flows that ended longer ago are pruned.
    pub finished_age: Millis,
    /// The oldest ended flows beyond this many are pruned.
    pub finished_flows: usize,
    /// Older lines of the record of who did what are pruned.
    pub audit_age: Millis,
}

/// Where the record of who did what is exported to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportTarget {
    /// A file, to which lines are added.
    File(PathBuf),
    /// A Unix socket, on which somebody listens.
    Socket(PathBuf),
}

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidConfig {
    /// The file cannot be read.
    #[error("cannot read {}", .0.display())]
    Read(PathBuf, #[source] io::Error),
    /// It is not TOML, keys do not exist, or values make no sense. Contains all problems.
    #[error("{} is not valid", .0.display())]
    Content(PathBuf, #[source] Problems),
}

impl Config {
    /// Reads `conductor.toml` of a directory.
    pub fn load(directory: &Path) -> Result<Self, InvalidConfig> {
        let path = directory.join("conductor.toml");
        let text = open_regular(&path).and_then(io::read_to_string);
        let text = text.map_err(|cause| InvalidConfig::Read(path.clone(), cause))?;
        Self::parse(directory, &text).map_err(|problems| InvalidConfig::Content(path, problems))
    }

    fn parse(directory: &Path, text: &str) -> Result<Self, Problems> {
        let read = settings(text, |fields, problems| Self::read(fields, directory, problems))?;
        Ok(Self { digest: hex(&Sha256::digest(text)).into(), ..read })
    }

    /// Every field is read before the first `?`, so that all problems are told.
    fn read(fields: &mut Fields<'_>, directory: &Path, problems: &mut Problems) -> Option<Self> {
        let listen = read_listen(fields, problems);
        let name = fields.host_name("name", problems);
        let domain = fields.host_name("domain", problems);
        let state_dir = read_state_dir(fields, problems);
        let tls = fields.tls_files(directory, problems);
        let limits = read_limits(fields, problems);
        let retention = read_retention(fields, problems);
        let is_open = read_openness(fields, problems);
        let audit_export = read_export(fields, directory, problems);
        for name in ["listen", "name", "domain", "state_dir"] {
            fields.needed(name, problems);
        }
        Some(Self {
            directory: directory.to_owned(),
            listen: listen?,
            name: name?,
            domain: domain?,
            state_dir: state_dir?,
            tls: tls?,
            limits: limits?,
            retention: retention?,
            is_open,
            audit_export,
            digest: Arc::default(),
        })
    }
}

/// Reads whether there is no policy: a file of its own says what the policy is.
fn read_openness(fields: &mut Fields<'_>, problems: &mut Problems) -> bool {
    match fields.text("policy", problems) {
        None => false,
        Some("open") => true,
        Some(_) => {
            let problem = "expected \"open\", or nothing: policy.toml says who may do what";
            fields.note("policy", problem, problems);
            false
        }
    }
}

/// Reads where the record of who did what is exported to.
fn read_export(
    fields: &mut Fields<'_>,
    directory: &Path,
    problems: &mut Problems,
) -> Option<ExportTarget> {
    let mut table = fields.table("audit", problems)?;
    let export = table.text("export", problems).map(|text| match text.strip_prefix("unix:") {
        Some(path) => ExportTarget::Socket(directory.join(path)),
        None => ExportTarget::File(directory.join(text)),
    });
    table.finish(&[], problems);
    export
}

fn read_listen(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    let text = fields.text("listen", problems)?;
    let listen = text.parse();
    listen
        .map_err(|_| fields.note("listen", format_args!("{text:?} is not ADDRESS:PORT"), problems))
        .ok()
}

fn read_state_dir(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<PathBuf> {
    let path = PathBuf::from(fields.text("state_dir", problems)?);
    if !path.is_absolute() {
        fields.note("state_dir", "expected an absolute path", problems);
    }
    Some(path)
}

fn read_limits(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<OperatorLimits> {
    let mut table = fields.table("limits", problems)?;
    let most = ByteSize(limits::MESSAGE_BYTES as u64);
    let flow_bytes = table.within("max_flow_bytes", ByteSize(0)..=most, problems);
    let hosts = table.whole("max_hosts", 1..=i64::MAX as u64, problems);
    let removal = table.parsed("reload_removal", problems);
    table.finish(&[], problems);
    let flow_bytes = flow_bytes.map_or(MAX_FLOW_BYTES, |ByteSize(bytes)| bytes);
    Some(OperatorLimits {
        max_flow_bytes: usize::try_from(flow_bytes).unwrap_or(limits::MESSAGE_BYTES),
        max_hosts: hosts.unwrap_or(limits::HOSTSET_HOSTS as u64),
        reload_removal: removal.unwrap_or(Quantity::Percent(20)),
    })
}

fn read_retention(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Retention> {
    let mut table = fields.table("retention", problems)?;
    let finished_age = table.parsed("finished_age", problems);
    let finished_flows = table.whole("finished_flows", 0..=usize::MAX, problems);
    let audit_age = table.parsed("audit_age", problems);
    table.finish(&[], problems);
    Some(Retention {
        finished_age: finished_age.unwrap_or(Millis(30 * 86_400_000)),
        finished_flows: finished_flows.unwrap_or(10_000),
        audit_age: audit_age.unwrap_or(Millis(400 * 86_400_000)),
    })
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

    fn parse(text: &str) -> Result<Config, Problems> {
        Config::parse(Path::new("/etc/orchestra"), text)
    }

    #[test]
    fn defaults_and_relative_paths() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.tls.ca, Path::new("/etc/orchestra/ca.pem"));
        assert_eq!(config.tls.cert, Path::new("/etc/ssl/c.pem"));
        assert_eq!(config.limits.max_flow_bytes, 4 << 20);
        assert_eq!(config.limits.reload_removal, Quantity::Percent(20));
        assert_eq!(config.retention.finished_age, "30d".parse().unwrap());
        assert_eq!(config.audit_export, None);
    }

    #[test]
    fn the_packaged_sample_is_valid_and_nothing_of_it_is_live() {
        let sample = include_str!("../../packaging/etc/conductor.toml");
        assert!(parse(sample).unwrap_err().to_string().contains("listen is missing"));
        let config = parse(&orchestra_harness::uncommented(sample)).unwrap();
        let defaults = parse(GOOD).unwrap();
        assert_eq!(config.limits, defaults.limits);
        assert_eq!(config.retention, defaults.retention);
    }

    #[test]
    fn the_audit_goes_to_a_file_or_to_a_socket() {
        let target =
            |line: &str| parse(&format!("{GOOD}\n[audit]\n{line}\n")).unwrap().audit_export;
        assert_eq!(target(""), None);
        let file = ExportTarget::File("/var/log/audit.jsonl".into());
        assert_eq!(target("export = \"/var/log/audit.jsonl\""), Some(file));
        let socket = ExportTarget::Socket("/etc/orchestra/audit.sock".into());
        assert_eq!(target("export = \"unix:audit.sock\""), Some(socket));
    }

    #[test]
    fn every_unknown_key_is_told_with_its_table() {
        let text = format!("bogus = 1\n{GOOD}\nceert = \"x\"\n[limits]\nmax = 3\n");
        let message = parse(&text).unwrap_err().to_string();
        for told in [
            "line 1: unknown field \"bogus\"",
            "line 12: tls: unknown field \"ceert\"; did you mean cert?",
            "line 14: limits: unknown field \"max\"",
        ] {
            assert!(message.contains(told), "{message}");
        }
    }

    #[test]
    fn every_wrong_value_is_told() {
        let text = GOOD.replace("127.0.0.1:0", "nowhere").replace("\"example.com\"", "\"X!\"");
        let message = parse(&text).unwrap_err().to_string();
        assert!(message.contains("listen") && message.contains("domain"), "{message}");
    }

    #[test]
    fn values_have_bounds() {
        let with = |table: &str, line: &str| parse(&format!("{GOOD}\n[{table}]\n{line}\n"));
        for (table, line, problem) in [
            ("limits", "max_flow_bytes = \"4\"", "max_flow_bytes: \"4\": expected a size like"),
            ("limits", "max_flow_bytes = \"9MiB\"", "\"9MiB\": expected 0B to 8MiB"),
            ("limits", "max_hosts = 0", "max_hosts: 0: expected a whole number from 1 to"),
            ("limits", "max_hosts = \"9\"", "max_hosts: expected a whole number from 1 to"),
            ("limits", "reload_removal = 1.5", "reload_removal: found a number with a fraction"),
            ("retention", "finished_age = 30", "finished_age: \"30\": expected a duration like"),
            ("retention", "finished_flows = -1", "finished_flows: -1: expected a whole number"),
        ] {
            let told = with(table, line).unwrap_err().to_string();
            let place = format!("line 12: {table}: ");
            assert!(told.starts_with(&place) && told.contains(problem), "{line}: {told}");
        }
        let config = with("limits", "max_flow_bytes = \"10B\"\nreload_removal = 3").unwrap();
        assert_eq!(config.limits.max_flow_bytes, 10);
        assert_eq!(config.limits.reload_removal, Quantity::Count(3));
    }

    #[test]
    fn what_is_missing_is_told_all_at_once() {
        let told = parse("").unwrap_err().to_string();
        for key in ["tls: ca", "tls: cert", "tls: key", "listen", "name", "domain", "state_dir"] {
            assert!(told.contains(&format!("\n  {key} is missing")), "{key}: {told}");
        }
    }
}
