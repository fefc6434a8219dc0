//! A directory to publish, a depot beside it, and publishers.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use orchestra_bundle::{Depot, DepotError, Publication, Published, publish};
use orchestra_ca::new_publisher;
use orchestra_certs::Publisher;
use orchestra_model::{AudienceName, BundleName, HostName};
use tempfile::TempDir;

pub(crate) struct World {
    directory: TempDir,
}

impl World {
    /// With an empty source directory and no depot.
    pub(crate) fn new() -> Self {
        let world = Self { directory: tempfile::tempdir().unwrap() };
        fs::create_dir(world.source()).unwrap();
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn source(&self) -> PathBuf {
        self.path("source")
    }

    pub(crate) fn depot(&self) -> Depot {
        Depot::at(&self.path("depot"))
    }

    /// Writes a file of the source, and the directories above it.
    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.source().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    /// A file of the source that is one hole.
    pub(crate) fn hole(&self, name: &str, size: u64) -> File {
        let file = File::create(self.source().join(name)).unwrap();
        file.set_len(size).unwrap();
        file
    }

    pub(crate) fn publisher(&self, name: &str) -> Publisher {
        let name = AudienceName::new(name).unwrap();
        let made = new_publisher(&self.path("keys"), &name).unwrap();
        Publisher::load(&made.private).unwrap()
    }

    pub(crate) fn publish(&self) -> Result<Published, DepotError> {
        self.publish_by(&publication(), &[])
    }

    pub(crate) fn publish_by(
        &self,
        publication: &Publication,
        publishers: &[Publisher],
    ) -> Result<Published, DepotError> {
        publish(&self.source(), &self.depot(), publication, publishers)
    }
}

pub(crate) fn publication() -> Publication {
    Publication {
        domain: HostName::new("example.com").unwrap(),
        name: BundleName::new("myapp").unwrap(),
        serial: None,
        expires: None,
        exclude: Vec::new(),
        xattrs: Default::default(),
    }
}

/// Everything that is in a directory.
pub(crate) fn names_in(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// What an error says, with its causes.
pub(crate) fn told(error: &dyn std::error::Error) -> String {
    orchestra_model::chain(error)
}
