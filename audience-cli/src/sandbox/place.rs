//! The directory of a sandbox: what is where, and making it.
//!
//! ```text
//! D/ca/                       the authority
//! D/conductor/                conductor.toml, players, deployments.d/, state/, log, certificate, key
//! D/players/HOST/             player.toml, spool/, log, certificate, key
//! D/audience/                 operator.pem, operator.key
//! D/scores/                   the samples, unless other scores were named
//! D/log                       what the supervisor did
//! D/sandbox.json              who runs: see `record`
//! ```
//!
//! Keys are private from their first byte. Names become parts of paths only as [`HostName`]s,
//! which hold no slash and do not begin with a dot.

use std::{
    ffi::OsString,
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use orchestra_ca::{Ca, Issued, Terms};
use orchestra_certs::{Expected, Files, Subject};
use orchestra_client::config::Connection;
use orchestra_model::{AudienceName, HostName, HostSet, time::Millis};

use super::{cgroup::Cgroup, samples, this_program};
use crate::error::Failure;

/// The domain of every sandbox. Two of them have two authorities: neither accepts the other's.
const DOMAIN: &str = "sandbox.test";
const CONDUCTOR: &str = "conductor.sandbox.test";
/// Who asks, in a sandbox.
const AUDIENCE: &str = "operator";

/// What a sandbox is made of.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// One player a name.
    pub players: HostSet,
    /// Where the scores are; `None`: the samples.
    pub scores: Option<PathBuf>,
    /// Where the conductor's deployments are copied from.
    pub deployments: Option<PathBuf>,
    /// How many attempts each player takes at once.
    pub max_tasks: u32,
}

/// The directory of a sandbox. Absolute, UTF-8 and without control characters, so that it can be
/// written into configuration files.
#[derive(Clone, Debug)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    /// A place at this directory, which need not exist yet.
    pub(super) fn at(directory: &Path) -> Result<Self, Failure> {
        let root = checked(directory)?;
        Ok(Self { root })
    }

    /// Makes the directory, or accepts it where it is empty.
    pub(super) fn claim(&self) -> Result<(), Failure> {
        let what = || format!("making the sandbox in {}", self.root.display());
        private_directory(&self.root).map_err(|error| Failure::broken(what()).because(error))?;
        let mut entries =
            fs::read_dir(&self.root).map_err(|error| Failure::broken(what()).because(error))?;
        if entries.next().is_some() {
            return Err(Failure::usage(format!("{}: the directory is not empty", what()))
                .hint("name one that is empty, or that is not there yet"));
        }
        Ok(())
    }

    /// Fills the directory: authority, certificates, configurations, scores.
    pub(super) fn furnish(
        &self,
        plan: &Plan,
        address: SocketAddr,
        cgroup: Option<&Cgroup>,
    ) -> Result<(), Failure> {
        let what = || format!("making the sandbox in {}", self.root.display());
        let io_failed = |error: io::Error| Failure::broken(what()).because(error);
        let name =
            |text| HostName::new(text).map_err(|error| Failure::broken(what()).because(error));
        let audience =
            AudienceName::new(AUDIENCE).map_err(|error| Failure::broken(what()).because(error))?;

        let ca = Ca::init(&self.root.join("ca"), &name(DOMAIN)?)
            .map_err(|error| Failure::broken(what()).because(error))?;
        let issue = |subject: &Subject| {
            ca.issue(subject, &Terms::default())
                .map_err(|error| Failure::broken(what()).because(error))
        };

        let conductor = self.conductor();
        let deployments = conductor.join("deployments.d");
        for directory in [&conductor, &deployments, &conductor.join("state")] {
            private_directory(directory).map_err(io_failed)?;
        }
        if let Some(given) = &plan.deployments {
            copy_files(given, &deployments).map_err(|error| {
                let what = format!("copying the deployments in {}", given.display());
                Failure::usage(what).because(error)
            })?;
        }
        let issued = issue(&Subject::Conductor(name(CONDUCTOR)?))?;
        keep(&conductor, "conductor", &issued).map_err(io_failed)?;
        write(&conductor.join("conductor.toml"), &self.conductor_toml(address))
            .map_err(io_failed)?;
        let lines: String = plan.players.iter().map(|host| format!("{host}\n")).collect();
        write(&conductor.join("players"), &lines).map_err(io_failed)?;

        let audience_dir = self.root.join("audience");
        private_directory(&audience_dir).map_err(io_failed)?;
        keep(&audience_dir, AUDIENCE, &issue(&Subject::Audience(audience))?).map_err(io_failed)?;

        let scores = match &plan.scores {
            Some(scores) => {
                fs::read_dir(scores).map_err(|error| {
                    Failure::usage(format!("reading the scores in {}", scores.display()))
                        .because(error)
                })?;
                checked(scores)?
            }
            None => {
                let scores = self.root.join("scores");
                samples::extract(&scores).map_err(io_failed)?;
                scores
            }
        };
        for host in &plan.players {
            let directory = self.player(host);
            for directory in [&directory, &directory.join("spool")] {
                private_directory(directory).map_err(io_failed)?;
            }
            keep(&directory, "player", &issue(&Subject::Player(host.clone()))?)
                .map_err(io_failed)?;
            let cgroup = cgroup.map(|cgroup| cgroup.of(host));
            let text = player_toml(&directory, address, &scores, plan.max_tasks, cgroup.as_deref());
            write(&directory.join("player.toml"), &text).map_err(io_failed)?;
        }
        Ok(())
    }

    /// The directory itself.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The conductor's configuration directory.
    pub(super) fn conductor(&self) -> PathBuf {
        self.root.join("conductor")
    }

    /// A player's directory.
    pub(super) fn player(&self, host: &HostName) -> PathBuf {
        self.root.join("players").join(host.as_str())
    }

    /// Who runs.
    pub(super) fn record(&self) -> PathBuf {
        self.root.join("sandbox.json")
    }

    /// Opens a log to write at its end.
    pub(super) fn log(directory: &Path) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(directory.join("log"))
    }

    /// How an audience reaches the conductor.
    pub(super) fn connection(&self, address: SocketAddr) -> Result<Connection, Failure> {
        let name = |text| {
            HostName::new(text)
                .map_err(|error| Failure::broken("reaching the sandbox").because(error))
        };
        let audience = self.root.join("audience");
        Ok(Connection {
            conductors: vec![address.to_string()],
            expected: Expected { domain: name(DOMAIN)?, conductor_name: name(CONDUCTOR)? },
            files: Files {
                ca: self.root.join("ca/ca.pem"),
                cert: audience.join(format!("{AUDIENCE}.pem")),
                key: audience.join(format!("{AUDIENCE}.key")),
                crl: None,
            },
            connect_timeout: Millis::seconds(10),
        })
    }

    /// The same for programs: what their environment has to hold. `programs` comes first in the
    /// search path.
    pub(super) fn variables(
        &self,
        address: SocketAddr,
        programs: &Path,
        path: Option<OsString>,
    ) -> Vec<(&'static str, OsString)> {
        let audience = self.root.join("audience");
        let mut search = programs.as_os_str().to_owned();
        if let Some(path) = path.filter(|path| !path.is_empty()) {
            search.push(":");
            search.push(path);
        }
        vec![
            ("PATH", search),
            ("ORCHESTRA_CONDUCTOR", address.to_string().into()),
            ("ORCHESTRA_CONDUCTOR_NAME", CONDUCTOR.into()),
            ("ORCHESTRA_DOMAIN", DOMAIN.into()),
            ("ORCHESTRA_CA", self.root.join("ca/ca.pem").into()),
            ("ORCHESTRA_CERT", audience.join(format!("{AUDIENCE}.pem")).into()),
            ("ORCHESTRA_KEY", audience.join(format!("{AUDIENCE}.key")).into()),
            (super::DIRECTORY, self.root.as_os_str().to_owned()),
        ]
    }

    fn conductor_toml(&self, address: SocketAddr) -> String {
        let state = quoted(&self.conductor().join("state"));
        format!(
            "listen = \"{address}\"\n\
             name = \"{CONDUCTOR}\"\n\
             domain = \"{DOMAIN}\"\n\
             state_dir = {state}\n\
             [tls]\n\
             ca = \"../ca/ca.pem\"\n\
             cert = \"conductor.pem\"\n\
             key = \"conductor.key\"\n"
        )
    }
}

/// Where this program, and the others beside it, are.
pub(super) fn programs() -> Result<PathBuf, Failure> {
    let program = this_program()?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
}

fn player_toml(
    directory: &Path,
    address: SocketAddr,
    scores: &Path,
    max_tasks: u32,
    cgroup: Option<&Path>,
) -> String {
    let (scores, spool) = (quoted(scores), quoted(&directory.join("spool")));
    let cgroup = cgroup.map_or_else(|| "\"none\"".to_owned(), quoted);
    let mut text = String::new();
    let _ = write!(
        text,
        "conductors = [\"{address}\"]\n\
         conductor_name = \"{CONDUCTOR}\"\n\
         domain = \"{DOMAIN}\"\n\
         scores_dir = {scores}\n\
         spool_dir = {spool}\n\
         max_tasks = {max_tasks}\n\
         agent_user = \"self\"\n\
         task_user = \"self\"\n\
         kill_grace = \"2s\"\n\
         cgroup = {cgroup}\n\
         [tls]\n\
         ca = \"../../ca/ca.pem\"\n\
         cert = \"player.pem\"\n\
         key = \"player.key\"\n"
    );
    text
}

/// An absolute path that can be written into a configuration file.
fn checked(path: &Path) -> Result<PathBuf, Failure> {
    let what = || format!("using the directory {}", path.display());
    let absolute =
        std::path::absolute(path).map_err(|error| Failure::broken(what()).because(error))?;
    match absolute.to_str() {
        Some(text) if !text.chars().any(char::is_control) => Ok(absolute),
        _ => Err(Failure::usage(format!(
            "{}: a path with characters that no configuration file can hold",
            what()
        ))),
    }
}

/// A path as TOML writes it, which is as JSON does.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?
        .write_all(text.as_bytes())
}

/// Copies the files of a directory, and nothing below it.
fn copy_files(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}

/// Writes a certificate and its key. Not to be durable: a sandbox does not outlive the machine.
fn keep(directory: &Path, name: &str, issued: &Issued) -> io::Result<()> {
    write(&directory.join(format!("{name}.key")), &issued.key_pem)?;
    write(&directory.join(format!("{name}.pem")), &issued.cert_pem)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::error::Render as _;

    #[test]
    fn a_furnished_place_holds_what_daemons_and_audience_need() {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::at(&directory.path().join("with \"quotes\"")).unwrap();
        place.claim().unwrap();
        let deployments = directory.path().join("deployments");
        fs::create_dir_all(deployments.join("old")).unwrap();
        fs::write(deployments.join("shop.yaml"), "shop: {}\n").unwrap();
        let plan = Plan {
            players: HostSet::parse_plain("db[1-3]").unwrap(),
            scores: None,
            deployments: Some(deployments),
            max_tasks: 4,
        };
        place.furnish(&plan, "127.0.0.1:4711".parse().unwrap(), None).unwrap();

        let read = |path: PathBuf| fs::read_to_string(path).unwrap();
        let conductor: toml::Table =
            read(place.conductor().join("conductor.toml")).parse().unwrap();
        assert_eq!(conductor["listen"].as_str(), Some("127.0.0.1:4711"));
        assert_eq!(conductor["state_dir"].as_str(), place.conductor().join("state").to_str());
        assert_eq!(read(place.conductor().join("players")), "db1\ndb2\ndb3\n");
        assert_eq!(read(place.conductor().join("deployments.d/shop.yaml")), "shop: {}\n");
        assert!(!place.conductor().join("deployments.d/old").exists());
        for host in &plan.players {
            let player: toml::Table = read(place.player(host).join("player.toml")).parse().unwrap();
            assert_eq!(player["scores_dir"].as_str(), place.root().join("scores").to_str());
            assert_eq!(player["cgroup"].as_str(), Some("none"));
            let key = place.player(host).join("player.key");
            assert_eq!(fs::metadata(key).unwrap().permissions().mode() & 0o7777, 0o600);
        }
        // A second sandbox in the same place would make two of each.
        assert!(place.claim().unwrap_err().render().contains("is not empty"));
    }
}
