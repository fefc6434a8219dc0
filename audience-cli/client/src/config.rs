//! How to reach the conductor: flags, else `ORCHESTRA_…` variables, else the first of
//! `~/.config/orchestra/audience.toml` and `/etc/orchestra/audience.toml` that exists.
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

use std::{
    env,
    ffi::OsString,
    fs::File,
    io::{self, Read as _},
    net::IpAddr,
    path::{Path, PathBuf},
};

use orchestra_certs::{Expected, Files};
use orchestra_document::{Fields, Format, Node, Problems};
use orchestra_model::{names::HostName, time::Millis};

use crate::error::Failure;

/// What the programs take from the environment; read once, where they begin.
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
    /// `HOME`.
    pub home: Option<PathBuf>,
}

impl Environment {
    /// Reads the process's environment. A variable that is empty is as good as unset.
    pub fn read() -> Self {
        let var = |name| env::var_os(name).filter(|value| !value.is_empty());
        Self {
            conductor: var("ORCHESTRA_CONDUCTOR"),
            conductor_name: var("ORCHESTRA_CONDUCTOR_NAME"),
            domain: var("ORCHESTRA_DOMAIN"),
            cert: var("ORCHESTRA_CERT"),
            key: var("ORCHESTRA_KEY"),
            ca: var("ORCHESTRA_CA"),
            home: var("HOME").map(PathBuf::from),
        }
    }

    /// The files that may hold settings; the first that exists counts.
    fn files(&self) -> Vec<PathBuf> {
        let own = self.home.as_ref().map(|home| home.join(".config/orchestra/audience.toml"));
        own.into_iter().chain([PathBuf::from("/etc/orchestra/audience.toml")]).collect()
    }
}

/// What somebody says on the spot; environment and files say the rest.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// `HOST:PORT`, tried in order; empty: none is given.
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
    /// How long the first connection is tried for.
    pub connect_timeout: Millis,
}

/// Where the conductor is, who we are, whom we accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `HOST:PORT`, at least one, tried in order.
    pub conductors: Vec<String>,
    /// Whom we accept.
    pub expected: Expected,
    /// Our certificate and key, and the CA's certificate.
    pub files: Files,
    /// How long the first connection is tried for.
    pub connect_timeout: Millis,
}

/// Where a conductor listens unless it is told otherwise.
const PORT: u16 = 2258;

/// Largest configuration file, in bytes.
const FILE_BYTES: u64 = 64 << 10;

impl Connection {
    /// Puts the settings together; what is missing or wrong is told all at once.
    pub fn resolve(given: &Settings, environment: &Environment) -> Result<Self, Failure> {
        Self::from_layers(given, environment, &environment.files())
    }

    fn from_layers(
        given: &Settings,
        environment: &Environment,
        files: &[PathBuf],
    ) -> Result<Self, Failure> {
        let file = FileSettings::first_of(files)?;
        let mut problems = Problems::default();
        let text = |value: &Option<OsString>, name: &str, problems: &mut Problems| {
            let text = value.as_ref()?.to_str();
            if text.is_none() {
                problems.add("", format_args!("{name} is not UTF-8"));
            }
            text.map(str::to_owned)
        };
        let listed = |text: String| {
            text.split(',').map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect()
        };
        let conductors: Vec<String> = Some(given.conductors.clone())
            .filter(|conductors| !conductors.is_empty())
            .or_else(|| {
                text(&environment.conductor, "ORCHESTRA_CONDUCTOR", &mut problems).map(listed)
            })
            .or(file.conductors)
            .unwrap_or_default();
        let name = |flag: &Option<String>,
                    (variable, var): (&Option<OsString>, &str),
                    in_file: Option<String>,
                    what: &str,
                    problems: &mut Problems| {
            let text = flag.clone().or_else(|| text(variable, var, problems)).or(in_file)?;
            HostName::new(&text).map_err(|error| problems.add(what, error)).ok()
        };
        let domain = name(
            &given.domain,
            (&environment.domain, "ORCHESTRA_DOMAIN"),
            file.domain,
            "the domain",
            &mut problems,
        );
        let conductor_name = name(
            &given.conductor_name,
            (&environment.conductor_name, "ORCHESTRA_CONDUCTOR_NAME"),
            file.conductor_name.or_else(|| host_of(conductors.first()?)),
            "the conductor's name",
            &mut problems,
        );
        let path = |flag: &Option<PathBuf>, variable: &Option<OsString>, in_file| {
            flag.clone().or_else(|| variable.as_ref().map(PathBuf::from)).or(in_file)
        };
        let ca = path(&given.ca, &environment.ca, file.ca);
        let cert = path(&given.cert, &environment.cert, file.cert);
        let key = path(&given.key, &environment.key, file.key);
        problems.into_result().map_err(|problems| {
            Failure::usage("reading the connection's settings").because(problems)
        })?;

        let settings = [
            ("--conductor HOST:PORT (ORCHESTRA_CONDUCTOR)", conductors.is_empty()),
            ("--conductor-name NAME (ORCHESTRA_CONDUCTOR_NAME)", conductor_name.is_none()),
            ("--domain DOMAIN (ORCHESTRA_DOMAIN)", domain.is_none()),
            ("--ca FILE (ORCHESTRA_CA)", ca.is_none()),
            ("--cert FILE (ORCHESTRA_CERT)", cert.is_none()),
            ("--key FILE (ORCHESTRA_KEY)", key.is_none()),
        ];
        let missing: Vec<&str> =
            settings.iter().filter(|(_, missing)| *missing).map(|(name, _)| *name).collect();
        let (Some(domain), Some(conductor_name), Some(ca), Some(cert), Some(key), true) =
            (domain, conductor_name, ca, cert, key, missing.is_empty())
        else {
            let places: Vec<String> = files.iter().map(|path| path.display().to_string()).collect();
            return Err(Failure::usage(format!(
                "reaching the conductor: not configured: {}",
                missing.join(", ")
            ))
            .hint(format!("give them so, or write {}", places.join(" or "))));
        };
        Ok(Self {
            conductors: conductors.into_iter().map(with_port).collect(),
            expected: Expected { domain, conductor_name },
            files: Files { ca, cert, key, crl: file.crl },
            connect_timeout: given.connect_timeout,
        })
    }
}

/// `HOST` of `HOST:PORT`, where it can be a conductor's name.
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

/// What a configuration file says, unchecked but for its form.
#[derive(Debug, Default)]
struct FileSettings {
    conductors: Option<Vec<String>>,
    conductor_name: Option<String>,
    domain: Option<String>,
    ca: Option<PathBuf>,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    crl: Option<PathBuf>,
}

impl FileSettings {
    fn first_of(files: &[PathBuf]) -> Result<Self, Failure> {
        for path in files {
            let attempt = || format!("reading {}", path.display());
            match File::open(path) {
                Ok(file) => {
                    let mut text = String::new();
                    let read = file.take(FILE_BYTES).read_to_string(&mut text);
                    read.map_err(|error| Failure::usage(attempt()).because(error))?;
                    return Self::parse(&text, path, &attempt());
                }
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) => {}
                Err(error) => return Err(Failure::usage(attempt()).because(error)),
            }
        }
        Ok(Self::default())
    }

    fn parse(text: &str, path: &Path, attempt: &str) -> Result<Self, Failure> {
        let tree =
            Format::Toml.parse(text).map_err(|error| Failure::usage(attempt).because(error))?;
        let mut problems = Problems::default();
        let mut settings = Self::default();
        if let Some(mut fields) = Fields::of(&tree, "", &mut problems) {
            if let Some(nodes) = fields.list("conductors", &mut problems) {
                let mut conductors = Vec::new();
                for node in nodes {
                    match node {
                        Node::Text(text) => conductors.push(text.clone()),
                        other => fields.note(
                            "conductors",
                            format_args!("expected HOST:PORT, found {}", other.kind()),
                            &mut problems,
                        ),
                    }
                }
                settings.conductors = Some(conductors);
            }
            settings.conductor_name = fields.text("conductor_name", &mut problems).map(Into::into);
            settings.domain = fields.text("domain", &mut problems).map(Into::into);
            if let Some(tls) = fields.get("tls", &mut problems)
                && let Some(mut tls) = Fields::of(tls, "tls", &mut problems)
            {
                let base = path.parent().unwrap_or(Path::new("."));
                let mut file = |name| tls.text(name, &mut problems).map(|text| base.join(text));
                settings.ca = file("ca");
                settings.cert = file("cert");
                settings.key = file("key");
                settings.crl = file("crl");
                tls.finish(&[], &mut problems);
            }
            fields.finish(&[], &mut problems);
        }
        problems.into_result().map_err(|problems| Failure::usage(attempt).because(problems))?;
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags() -> Settings {
        Settings { connect_timeout: Millis::seconds(3), ..Settings::default() }
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
        let given = Settings { domain: Some("flag.test".to_owned()), ..flags() };
        let mixed = Connection::from_layers(&given, &environment, &files).unwrap();
        assert_eq!(mixed.conductors, ["a:1", "b:2258"]);
        assert_eq!(mixed.expected.domain.as_str(), "flag.test");
        assert_eq!(mixed.expected.conductor_name.as_str(), "a");
    }

    #[test]
    fn what_is_missing_is_told_at_once_with_every_way_to_say_it() {
        let failure =
            Connection::from_layers(&flags(), &Environment::default(), &[]).unwrap_err().render();
        for word in ["--conductor HOST:PORT", "ORCHESTRA_DOMAIN", "--key FILE"] {
            assert!(failure.contains(word), "{failure}");
        }
    }

    #[test]
    fn unknown_keys_are_refused_together() {
        let text = "conductor = 'x'\n[tls]\nkeyy = 'y'\n";
        let failure = FileSettings::parse(text, Path::new("/e/a.toml"), "reading /e/a.toml");
        let failure = failure.unwrap_err().render();
        assert!(failure.contains("did you mean conductors?"), "{failure}");
        assert!(failure.contains("tls: unknown field \"keyy\"; did you mean key?"), "{failure}");
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
