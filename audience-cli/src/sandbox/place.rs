//! The directory of a sandbox: what is where.
//!
//! ```text
//! D/ca/                       the authority
//! D/conductor/                conductor.toml, players, deployments.d/, state/, log, certificate, key
//! D/players/HOST/             player.toml, spool/, log, certificate, key, places.d/, site/
//! D/publisher/                the key of a publisher whom every player believes
//! D/players/HOST/relay/       with --relays: relay.toml, log, certificate, key; D/players/HOST/depot/
//! D/depot/                    bundles, for every player, or with --relays for the first one; made by
//!                             the first `orc bundle publish`
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
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use orchestra_certs::{Expected, TlsFiles};
use orchestra_client::config::Connection;
use orchestra_model::{HostName, time::Millis};

use super::process::this_program;
use crate::error::Failure;

/// The variable that says in which directory the sandbox around a program is.
pub(super) const DIRECTORY: &str = "ORCHESTRA_SANDBOX";

/// The domain of every sandbox. Each sandbox has its own authority, and does not accept that of
/// another.
pub(super) const DOMAIN: &str = "sandbox.test";
pub(super) const CONDUCTOR: &str = "conductor.sandbox.test";
/// The name of the audience in a sandbox.
pub(super) const AUDIENCE: &str = "operator";

/// The directory of a sandbox. Absolute, UTF-8 and without control characters, so that it can be
/// written into configuration files.
#[derive(Clone, Debug)]
pub(super) struct Place {
    root: PathBuf,
}

impl Place {
    /// Returns the place at this directory, which need not exist yet.
    pub(super) fn at(directory: &Path) -> Result<Self, Failure> {
        let root = checked(directory)?;
        Ok(Self { root })
    }

    /// Makes the directory, or accepts it if it is empty.
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

    /// The directory of the relay beside a player.
    pub(super) fn relay(&self, host: &HostName) -> PathBuf {
        self.player(host).join("relay")
    }

    /// Where bundles lie that are published.
    pub(super) fn depot(&self) -> PathBuf {
        self.root.join("depot")
    }

    /// The file that says who runs.
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
            files: TlsFiles {
                ca: self.root.join("ca/ca.pem"),
                cert: audience.join(format!("{AUDIENCE}.pem")),
                key: audience.join(format!("{AUDIENCE}.key")),
                crl: None,
            },
            connect_timeout: Millis::seconds(10),
        })
    }

    /// Returns the variables by which a program reaches the conductor. `programs` comes first in
    /// the search path.
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
            (DIRECTORY, self.root.as_os_str().to_owned()),
        ]
    }
}

/// Returns the directory of this program and of those beside it.
pub(super) fn programs() -> Result<PathBuf, Failure> {
    let program = this_program()?;
    Ok(program.parent().unwrap_or(Path::new("/")).to_owned())
}

/// An absolute path that can be written into a configuration file.
pub(super) fn checked(path: &Path) -> Result<PathBuf, Failure> {
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

pub(super) fn private_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
