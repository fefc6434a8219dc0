//! The certificates of a run: a CA of its own, or one that is there, and a certificate a player.
//!
//! Certificates stay in the directory, and the next run in the same directory takes them as they
//! are. They are written without syncs: what a crash takes away is issued again.

use std::{
    fs::OpenOptions,
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use orchestra_ca::{Ca, Terms};
use orchestra_certs::{Credentials, Role, Subject};
use orchestra_model::{HostName, HostSet};
use rustls::ClientConfig;

use crate::{
    crowd::Identity,
    trouble::{During as _, Result, Trouble},
};

/// The domain of a fleet that is nobody else's.
const DOMAIN: &str = "fleet.test";
/// The conductor's name in it.
const CONDUCTOR: &str = "conductor.fleet.test";
/// Who submits.
pub(crate) const AUDIENCE: &str = "emulator";

/// A CA, and where it is.
#[derive(Debug)]
pub(crate) struct Authority {
    ca: Ca,
    dir: PathBuf,
    /// The conductor's name in its certificate.
    pub(crate) conductor: HostName,
}

impl Authority {
    /// The one in `dir`, made if there is none, with a certificate for our own conductor.
    pub(crate) fn own(dir: &Path) -> Result<Self> {
        const WHAT: &str = "making a certificate authority";
        let ca = match dir.join("ca.pem").exists() {
            true => Ca::open(dir),
            false => Ca::init(dir, &HostName::new(DOMAIN).during(WHAT)?),
        };
        let conductor = HostName::new(CONDUCTOR).during(WHAT)?;
        let authority = Self { ca: ca.during(WHAT)?, dir: dir.to_owned(), conductor };
        authority.issue(&Subject::new(Role::Conductor, CONDUCTOR).during(WHAT)?)?;
        authority.issue(&Subject::new(Role::Audience, AUDIENCE).during(WHAT)?)?;
        Ok(authority)
    }

    /// Somebody else's, in whose domain there is a conductor of this name.
    pub(crate) fn named(dir: &Path, conductor: HostName) -> Result<Self> {
        const WHAT: &str = "opening the certificate authority";
        let ca = Ca::open(dir).during(WHAT)?;
        let authority = Self { ca, dir: dir.to_owned(), conductor };
        authority.issue(&Subject::new(Role::Audience, AUDIENCE).during(WHAT)?)?;
        Ok(authority)
    }

    pub(crate) fn domain(&self) -> &HostName {
        self.ca.domain()
    }

    /// A file that is there.
    pub(crate) fn path(&self, below: &str) -> String {
        self.dir.join(below).display().to_string()
    }

    /// Issues a certificate unless there is one, and returns what its holder shows.
    pub(crate) fn audience(&self) -> Result<Arc<ClientConfig>> {
        self.load(&Subject::new(Role::Audience, AUDIENCE).during("naming the audience")?)
    }

    /// Identities of all these players, on all cores.
    pub(crate) fn players(&self, hosts: &HostSet) -> Result<Vec<Identity>> {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let part = hosts.len().div_ceil(cores).max(1);
        thread::scope(|scope| {
            let one = |host: &HostName| {
                let subject = Subject::Player(host.clone());
                self.issue(&subject)?;
                Ok(Identity { host: host.clone(), tls: self.load(&subject)? })
            };
            let parts: Vec<_> = (hosts.as_slice().chunks(part))
                .map(|hosts| scope.spawn(move || hosts.iter().map(one).collect()))
                .collect();
            let mut all = Vec::with_capacity(hosts.len());
            for part in parts {
                let gone = |_| Trouble::new("a thread that issues certificates died");
                let identities: Result<Vec<Identity>> = part.join().map_err(gone)?;
                all.extend(identities?);
            }
            Ok(all)
        })
    }

    fn load(&self, subject: &Subject) -> Result<Arc<ClientConfig>> {
        const WHAT: &str = "loading a certificate";
        let credentials = Credentials::load(&self.ca.files(subject), self.domain()).during(WHAT)?;
        credentials.client_config(&self.conductor).during(WHAT)
    }

    fn issue(&self, subject: &Subject) -> Result<()> {
        const WHAT: &str = "issuing a certificate";
        let files = self.ca.files(subject);
        if files.cert.exists() && files.key.exists() {
            return Ok(());
        }
        let issued = self.ca.issue(subject, &Terms::default()).during(WHAT)?;
        if let Some(dir) = files.key.parent() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).during(WHAT)?;
        }
        // The certificate last: with it, there are both.
        for (path, text) in [(&files.key, &issued.key_pem), (&files.cert, &issued.cert_pem)] {
            let mut file = OpenOptions::new();
            let file = file.write(true).create(true).truncate(true).mode(0o600).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes())).during(WHAT)?;
        }
        Ok(())
    }
}
