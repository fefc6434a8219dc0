//! `relay.toml`: read, checked, and turned into a [`Config`] before anything else happens. Defaults are
//! in this file and nowhere else.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use orchestra_certs::{TlsFiles, read_regular};
use orchestra_document::{Fields, Problems, settings};
use orchestra_model::{ByteSize, HostName};

/// Where the configuration is, unless `--config` says otherwise.
pub const DEFAULT_FILE: &str = "/etc/orchestra/relay.toml";
/// Where relays listen, unless they are told otherwise.
pub const DEFAULT_PORT: u16 = 2_260;

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 64 << 10;
/// Most children that may be served at once.
const CHILDREN: u32 = 1_024;
/// The least and most that may be sent in a second.
const RATE: (ByteSize, ByteSize) = (ByteSize(64 << 10), ByteSize(1 << 40));

/// The configuration of this relay. Every value is within its bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The file that it was read from, absolute.
    pub file: PathBuf,
    /// Where to listen; port 0 for any.
    pub listen: SocketAddr,
    /// The only domain whose certificates are accepted.
    pub domain: HostName,
    /// Whose bundles are served. Absolute.
    pub depot: PathBuf,
    /// How many children are served at once: 1 to 1,024.
    pub serve_children: u32,
    /// How much is sent in a second, to all together: 64 KiB to 1 TiB. `None`: as much as there is.
    pub serve_rate: Option<ByteSize>,
    /// The relay's key and certificates, for its user alone (0600). Absolute.
    pub tls: TlsFiles,
}

impl Config {
    /// Reads and checks `file`. Relative paths in it start from the directory that holds it.
    pub fn load(file: &Path) -> Result<Config, RelayConfigError> {
        let failed = |source| RelayConfigError::Read { file: file.to_owned(), source };
        let absolute = std::path::absolute(file).map_err(failed)?;
        let text = read_regular(&absolute, FILE_BYTES).map_err(failed)?;
        Config::parse(&absolute, &text)
    }

    /// Checks `text` as if it were the content of `file`, an absolute path.
    pub fn parse(file: &Path, text: &str) -> Result<Config, RelayConfigError> {
        settings(text, |fields, problems| read(file, fields, problems))
            .map_err(|problems| RelayConfigError::Invalid { file: file.to_owned(), problems })
    }
}

/// Why there is no [`Config`].
#[derive(Debug, thiserror::Error)]
pub enum RelayConfigError {
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

/// Reads all fields; `None` if a value is missing or wrong, which is then in `problems`. Every field is
/// read before the first `?`, so that all problems are told.
fn read(file: &Path, fields: &mut Fields<'_>, problems: &mut Problems) -> Option<Config> {
    let base = file.parent().unwrap_or(Path::new("/"));
    let listen = read_listen(fields, problems);
    let domain = fields.host_name("domain", problems);
    fields.needed("domain", problems);
    let depot = fields.path("depot", base, problems);
    let serve_children = fields.whole("serve_children", 1..=CHILDREN, problems);
    let serve_rate = fields.within("serve_rate", RATE.0..=RATE.1, problems);
    let tls = fields.tls_files(base, problems);
    Some(Config {
        file: file.to_owned(),
        listen: listen?,
        domain: domain?,
        depot: depot.unwrap_or_else(|| PathBuf::from("/var/lib/orchestra-depot")),
        serve_children: serve_children.unwrap_or(4),
        serve_rate,
        tls: tls?,
    })
}

fn read_listen(fields: &mut Fields<'_>, problems: &mut Problems) -> Option<SocketAddr> {
    let Some(text) = fields.text("listen", problems) else {
        let is_given = fields.is_given("listen");
        return (!is_given).then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, DEFAULT_PORT)));
    };
    let listen = text.parse();
    listen
        .map_err(|_| fields.note("listen", format_args!("{text:?} is not ADDRESS:PORT"), problems))
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "/etc/orchestra/relay.toml";
    const TLS: &str = "[tls]\nca = 'ca.pem'\ncert = 'relay.pem'\nkey = 'relay.key'\n";

    fn parse(text: &str) -> Result<Config, String> {
        let parsed = Config::parse(Path::new(FILE), text);
        parsed.map_err(|error| orchestra_model::chain(&error))
    }

    #[test]
    fn what_is_not_given_has_its_default() {
        let config = parse(&format!("domain = 'example.com'\n{TLS}")).unwrap();
        assert_eq!(config.listen.to_string(), "0.0.0.0:2260");
        assert_eq!(config.depot, Path::new("/var/lib/orchestra-depot"));
        assert_eq!((config.serve_children, config.serve_rate), (4, None));
        assert_eq!(config.tls.cert, Path::new("/etc/orchestra/relay.pem"));
    }

    #[test]
    fn everything_that_is_wrong_is_told() {
        let text = "listen = 'here'\nserve_children = 0\nserve_rate = '1KiB'\ndepots = 'x'\n";
        let told = parse(text).unwrap_err();
        for part in [
            "\"here\" is not ADDRESS:PORT",
            "serve_children: 0: expected a whole number from 1 to 1024",
            "serve_rate: \"1KiB\": expected 64KiB to 1024GiB",
            "domain is missing",
            "did you mean depot?",
            "tls",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn the_packaged_sample_shows_the_defaults() {
        let sample = concat!(env!("CARGO_MANIFEST_DIR"), "/../../packaging/etc/relay.toml");
        let text = std::fs::read_to_string(sample).unwrap();
        // Comments end with a full stop; settings do not.
        let is_setting = |line: &&str| line.starts_with('[') || line.contains(" = ");
        let given: Vec<&str> = text
            .lines()
            .map(|line| line.strip_prefix('#').unwrap_or(line))
            .filter(is_setting)
            .filter(|line| !line.starts_with("crl") && !line.starts_with("serve_rate"))
            .collect();
        let config = parse(&given.join("\n")).unwrap();
        assert_eq!(config, parse(&format!("domain = 'example.com'\n{TLS}")).unwrap());
    }
}
