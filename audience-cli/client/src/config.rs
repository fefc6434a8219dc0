//! How to reach the conductor: by the caller's settings, else `ORCHESTRA_…` variables, else the
//! first of `~/.config/orchestra/audience.toml` and `/etc/orchestra/audience.toml` that exists.
//!
//! Each setting is looked up by itself, in that order. The file:
//!
//! ```toml
//! conductors = ["conductor.example.com:2258"]   # tried in order; the port defaults to 2258
//! conductor_name = "conductor.example.com"      # default: the first conductor's host
//! domain = "example.com"
//! [tls]
//! ca = "ca.pem"                                 # relative paths: from the file's directory
//! cert = "alice.pem"
//! key = "alice.key"
//! ```

mod file;

use std::{env, ffi::OsString, net::IpAddr, path::PathBuf};

use orchestra_certs::{Expected, TlsFiles};
use orchestra_document::Problems;
use orchestra_model::{names::HostName, time::Millis};

use crate::Failure;
use file::FileSettings;

/// What the programs take from the environment; read once, at their start.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    /// `ORCHESTRA_CONDUCTOR`: addresses, separated by commas.
    pub conductor: Option<OsString>,
    /// `ORCHESTRA_CONDUCTOR_NAME`.
    pub conductor_name: Option<OsString>,
    /// `ORCHESTRA_DOMAIN`.
    pub domain: Option<OsString>,
    /// `ORCHESTRA_CERT`.
    pub cert: Option<OsString>,
    /// `ORCHESTRA_KEY`.
    pub key: Option<OsString>,
    /// `ORCHESTRA_CA`.
    pub ca: Option<OsString>,
    pub home: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's environment. An empty variable counts as unset.
    pub fn read() -> Self {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            conductor: var(Setting::Conductor.variable()),
            conductor_name: var(Setting::ConductorName.variable()),
            domain: var(Setting::Domain.variable()),
            cert: var(Setting::Cert.variable()),
            key: var(Setting::Key.variable()),
            ca: var(Setting::Ca.variable()),
            home: var("HOME").map(PathBuf::from),
        }
    }

    /// The files that may hold settings; the first that exists counts.
    fn files(&self) -> Vec<PathBuf> {
        let own = self.home.as_ref().map(|home| home.join(".config/orchestra/audience.toml"));
        own.into_iter().chain([PathBuf::from("/etc/orchestra/audience.toml")]).collect()
    }
}

/// The caller's settings, such as flags; environment and files give the rest.
#[derive(Clone, Debug, Default)]
pub struct ClientSettings {
    /// `HOST:PORT`, tried in order; empty if none is given.
    pub conductors: Vec<String>,
    /// The conductor's name in its certificate.
    pub conductor_name: Option<String>,
    /// The domain of all certificates.
    pub domain: Option<String>,
    /// Our certificate.
    pub cert: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The CA's certificate.
    pub ca: Option<PathBuf>,
    /// How long to try for the first connection.
    pub connect_timeout: Millis,
}

/// A setting without which no conductor can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    Conductor,
    ConductorName,
    Domain,
    Ca,
    Cert,
    Key,
}

impl Setting {
    /// The variable that holds it.
    pub fn variable(self) -> &'static str {
        match self {
            Setting::Conductor => "ORCHESTRA_CONDUCTOR",
            Setting::ConductorName => "ORCHESTRA_CONDUCTOR_NAME",
            Setting::Domain => "ORCHESTRA_DOMAIN",
            Setting::Ca => "ORCHESTRA_CA",
            Setting::Cert => "ORCHESTRA_CERT",
            Setting::Key => "ORCHESTRA_KEY",
        }
    }
}

/// Why the settings cannot be resolved.
#[derive(Debug)]
pub enum Unresolved {
    /// These settings are given nowhere, also in none of these files.
    Missing { settings: Vec<Setting>, files: Vec<PathBuf> },
    /// A setting is wrong, or a file cannot be read.
    Wrong(Failure),
}

impl From<Failure> for Unresolved {
    fn from(failure: Failure) -> Self {
        Unresolved::Wrong(failure)
    }
}

/// Where the conductor is, who we are, and which conductor we accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `HOST:PORT`, at least one, tried in order.
    pub conductors: Vec<String>,
    /// The conductor that we accept.
    pub expected: Expected,
    /// Our certificate and key, and the CA's certificate.
    pub files: TlsFiles,
    /// How long to try for the first connection.
    pub connect_timeout: Millis,
}

/// The port of a conductor if none is given.
const PORT: u16 = 2258;

impl Connection {
    /// Combines the settings. All that is missing or wrong is told at once.
    pub fn resolve(given: &ClientSettings, environment: &Environment) -> Result<Self, Unresolved> {
        Self::from_layers(given, environment, &environment.files())
    }

    fn from_layers(
        given: &ClientSettings,
        environment: &Environment,
        files: &[PathBuf],
    ) -> Result<Self, Unresolved> {
        let layers = Layers { given, environment, file: FileSettings::first_of(files)? };
        let mut problems = Problems::default();
        let conductors = layers.conductors(&mut problems);
        let domain = layers.domain(&mut problems);
        let conductor_name = layers.conductor_name(&conductors, &mut problems);
        problems.into_result().map_err(|problems| {
            Failure::usage("reading the connection's settings").because(problems)
        })?;
        let (ca, cert, key) = (layers.ca(), layers.cert(), layers.key());

        let missing = [
            (Setting::Conductor, conductors.is_empty()),
            (Setting::ConductorName, conductor_name.is_none()),
            (Setting::Domain, domain.is_none()),
            (Setting::Ca, ca.is_none()),
            (Setting::Cert, cert.is_none()),
            (Setting::Key, key.is_none()),
        ];
        let settings: Vec<Setting> =
            missing.iter().filter(|(_, missing)| *missing).map(|(setting, _)| *setting).collect();
        let (Some(domain), Some(conductor_name), Some(ca), Some(cert), Some(key), true) =
            (domain, conductor_name, ca, cert, key, settings.is_empty())
        else {
            return Err(Unresolved::Missing { settings, files: files.to_vec() });
        };
        Ok(Self {
            conductors: conductors.into_iter().map(with_port).collect(),
            expected: Expected { domain, conductor_name },
            files: TlsFiles { ca, cert, key, crl: layers.file.crl },
            connect_timeout: given.connect_timeout,
        })
    }
}

/// Returns the domain of all certificates, looked up as [`Connection::resolve`] does: for what is made
/// for a fleet without asking its conductor.
pub fn resolve_domain(
    given: &ClientSettings,
    environment: &Environment,
) -> Result<HostName, Unresolved> {
    let files = environment.files();
    let layers = Layers { given, environment, file: FileSettings::first_of(&files)? };
    let mut problems = Problems::default();
    let domain = layers.domain(&mut problems);
    problems.into_result().map_err(|problems| {
        Failure::usage("reading the connection's settings").because(problems)
    })?;
    domain.ok_or(Unresolved::Missing { settings: vec![Setting::Domain], files })
}

/// The sources of settings; the first that has a setting counts.
struct Layers<'a> {
    given: &'a ClientSettings,
    environment: &'a Environment,
    file: FileSettings,
}

impl Layers<'_> {
    fn conductors(&self, problems: &mut Problems) -> Vec<String> {
        if !self.given.conductors.is_empty() {
            return self.given.conductors.clone();
        }
        match text(Setting::Conductor, &self.environment.conductor, problems) {
            Some(list) => listed(&list),
            None => self.file.conductors.clone().unwrap_or_default(),
        }
    }

    fn domain(&self, problems: &mut Problems) -> Option<HostName> {
        let given = self.given.domain.clone();
        let domain = given
            .or_else(|| text(Setting::Domain, &self.environment.domain, problems))
            .or_else(|| self.file.domain.clone())?;
        host_name("the domain", &domain, problems)
    }

    /// Returns the conductor's name; if none is given, the host of the first conductor.
    fn conductor_name(&self, conductors: &[String], problems: &mut Problems) -> Option<HostName> {
        let given = self.given.conductor_name.clone();
        let name = given
            .or_else(|| text(Setting::ConductorName, &self.environment.conductor_name, problems))
            .or_else(|| self.file.conductor_name.clone())
            .or_else(|| host_of(conductors.first()?))?;
        host_name("the conductor's name", &name, problems)
    }

    fn ca(&self) -> Option<PathBuf> {
        path(&self.given.ca, &self.environment.ca, &self.file.ca)
    }

    fn cert(&self) -> Option<PathBuf> {
        path(&self.given.cert, &self.environment.cert, &self.file.cert)
    }

    fn key(&self) -> Option<PathBuf> {
        path(&self.given.key, &self.environment.key, &self.file.key)
    }
}

/// Reads the text of a variable.
fn text(setting: Setting, value: &Option<OsString>, problems: &mut Problems) -> Option<String> {
    let text = value.as_ref()?.to_str();
    if text.is_none() {
        problems.add("", format_args!("{} is not UTF-8", setting.variable()));
    }
    text.map(str::to_owned)
}

fn host_name(what: &str, text: &str, problems: &mut Problems) -> Option<HostName> {
    HostName::new(text).map_err(|error| problems.add(what, error)).ok()
}

fn path(
    given: &Option<PathBuf>,
    variable: &Option<OsString>,
    in_file: &Option<PathBuf>,
) -> Option<PathBuf> {
    given.clone().or_else(|| variable.as_ref().map(PathBuf::from)).or_else(|| in_file.clone())
}

/// Splits a list with commas.
fn listed(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// Returns `HOST` of `HOST:PORT`, if it can be a conductor's name.
fn host_of(address: &str) -> Option<String> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    (host.parse::<IpAddr>().is_err() && !host.starts_with('[')).then(|| host.to_owned())
}

fn with_port(address: String) -> String {
    let bare_v6 = address.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6());
    if bare_v6 {
        format!("[{address}]:{PORT}")
    } else if address.ends_with(']') || !address.contains(':') {
        format!("{address}:{PORT}")
    } else {
        address
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn flags() -> ClientSettings {
        ClientSettings { connect_timeout: Millis::seconds(3), ..ClientSettings::default() }
    }

    #[test]
    fn flags_win_over_variables_and_these_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("audience.toml");
        std::fs::write(
            &file,
            "conductors = ['c.example.com', '10.0.0.1:7']\ndomain = 'example.com'\n\
             [tls]\nca = 'ca.pem'\ncert = 'alice.pem'\nkey = '/k/alice.key'\n",
        )
        .unwrap();
        let files = [dir.path().join("none.toml"), file];
        let from_file = Connection::from_layers(&flags(), &Environment::default(), &files).unwrap();
        assert_eq!(from_file.conductors, ["c.example.com:2258", "10.0.0.1:7"]);
        assert_eq!(from_file.expected.conductor_name.as_str(), "c.example.com");
        assert_eq!(from_file.files.ca, dir.path().join("ca.pem"));
        assert_eq!(from_file.files.key, Path::new("/k/alice.key"));

        let environment = Environment {
            conductor: Some("a:1,b".into()),
            domain: Some("other.test".into()),
            ..Environment::default()
        };
        let given = ClientSettings { domain: Some("flag.test".to_owned()), ..flags() };
        let mixed = Connection::from_layers(&given, &environment, &files).unwrap();
        assert_eq!(mixed.conductors, ["a:1", "b:2258"]);
        assert_eq!(mixed.expected.domain.as_str(), "flag.test");
        assert_eq!(mixed.expected.conductor_name.as_str(), "a");
    }

    #[test]
    fn what_is_missing_is_told_at_once() {
        let unresolved = Connection::from_layers(&flags(), &Environment::default(), &[]);
        let Unresolved::Missing { settings, .. } = unresolved.unwrap_err() else {
            panic!("nothing was given that could be wrong");
        };
        let variables: Vec<&str> = settings.into_iter().map(Setting::variable).collect();
        assert_eq!(variables.len(), 6, "{variables:?}");
        assert!(variables.contains(&"ORCHESTRA_DOMAIN"), "{variables:?}");
    }

    #[test]
    fn ports_are_completed() {
        for (given, address) in [
            ("h", "h:2258"),
            ("h:1", "h:1"),
            ("::1", "[::1]:2258"),
            ("[::1]", "[::1]:2258"),
            ("[::1]:5", "[::1]:5"),
        ] {
            assert_eq!(with_port(given.to_owned()), address);
        }
    }
}
