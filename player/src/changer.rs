//! The process of a change of a place: `player change`, which only a sitter starts.
//!
//! It finds its errand at its standard input, with everything open that it needs. To take a bundle it
//! runs as the place's owner: it reads what strangers may have written (the depot is filled by the part
//! of the player that has the network), checks it by the bundle's id, and writes into one directory,
//! beneath which it follows no link. To switch a place it runs as the sitter's own user and makes one
//! link. What it tells people is its output; that all went well, its exit code 0.

use std::{
    fs::{self, File},
    io::Read as _,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
};

use orchestra_bundle::{manifest_of, remove_tree, unpack_content};
use orchestra_document::place;
use orchestra_model::{
    BundleName, ByteSize,
    bundle::{BundleRelease, Seal},
    limits,
    names::PlaceName,
};
use rustix::fs::{Mode, OFlags, RenameFlags, ResolveFlags};

use crate::sitter::places::{
    errand::{self, Errand},
    standing::{CURRENT, RELEASES},
};

/// Begins the name of a release that is removed.
const OLD: &str = ".old-";
/// The link before it has its name.
const NEW_LINK: &str = ".current.new";

/// Does what lies at standard input. Returns what is told of it, or why it was not done.
pub fn run() -> Result<String, String> {
    let received = errand::receive(std::io::stdin());
    let received = received.map_err(|error| format!("receiving what is to be done: {error}"))?;
    let (errand, descriptors) = received.ok_or("there is nothing to be done")?;
    match errand {
        Errand::Activate(release) => {
            let [place] = <[OwnedFd; 1]>::try_from(descriptors).map_err(|_| "no directory came")?;
            activate(&place, release)
        }
        Errand::Deliver { seal, place, name, stay, is_active } => {
            let [releases, manifest, content] =
                <[OwnedFd; 3]>::try_from(descriptors).map_err(|_| "no bundle came")?;
            let seal = Seal::decode(&seal).map_err(|why| format!("its seal: {why}"))?;
            if is_active {
                let said = &seal.statement;
                return Ok(format!("{}@{} is active already", said.name, said.serial));
            }
            let delivery = Delivery { releases, seal, stay };
            delivery.perform(manifest.into(), content.into(), &place, &name)
        }
    }
}

/// Switches a place to a release: a new link gets the name of the old one, in one step.
fn activate(place: &OwnedFd, release: BundleRelease) -> Result<String, String> {
    let target = format!("{RELEASES}/{release}");
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    rustix::fs::openat2(place, &target, flags, Mode::empty(), resolve)
        .map_err(|error| format!("{target} is not there any more, deliver it again: {error}"))?;
    let failed = |error| format!("switching to {target}: {error}");
    match rustix::fs::unlinkat(place, NEW_LINK, rustix::fs::AtFlags::empty()) {
        Ok(()) | Err(rustix::io::Errno::NOENT) => {}
        Err(error) => return Err(failed(error)),
    }
    rustix::fs::symlinkat(&*target, place, NEW_LINK).map_err(failed)?;
    rustix::fs::renameat(place, NEW_LINK, place, CURRENT).map_err(failed)?;
    rustix::fs::fsync(place).map_err(failed)?;
    Ok(format!("active: {release}"))
}

struct Delivery {
    releases: OwnedFd,
    seal: Seal,
    /// Releases that are there and stay.
    stay: Vec<BundleRelease>,
}

impl Delivery {
    fn perform(
        &self,
        manifest: File,
        content: File,
        place: &str,
        name: &PlaceName,
    ) -> Result<String, String> {
        // Nobody else changes this place now, so what is unfinished is of a process that was killed.
        self.remove_all_but(|entry| !entry.starts_with('.'))?;
        let mut bytes = Vec::new();
        let most = limits::MANIFEST_BYTES as u64 + 1;
        let read = manifest.take(most).read_to_end(&mut bytes);
        read.map_err(|error| format!("reading its manifest: {error}"))?;
        let manifest =
            manifest_of(&bytes, &self.seal).map_err(|why| format!("its manifest: {why}"))?;
        // The character sets of the two names are the same.
        let bundle = BundleName::new(name.as_str()).map_err(|error| error.to_string())?;
        let takes = place::parse_installed(place, &bundle).map_err(|why| why.in_one_line())?.takes;
        takes.judge_manifest(&manifest).map_err(|why| format!("the place {name}: {why}"))?;
        let release = BundleRelease::of(&self.seal.statement);
        let target = self.path(&release.to_string());
        // What was delivered before may have been changed since, by whoever is its owner.
        if target.symlink_metadata().is_ok() {
            self.put_aside(&release.to_string())?;
        }
        unpack_content(content, &manifest, &target)
            .map_err(|error| orchestra_model::chain(&error))?;
        let stays =
            |entry: &str| entry.parse().is_ok_and(|one| one == release || self.stay.contains(&one));
        // It is there, and that is what was asked for.
        let left = self.remove_all_but(stays).err();
        let left = left.map_or_else(String::new, |why| format!("; old releases are left: {why}"));
        let (files, size) = (manifest.file_count(), ByteSize(manifest.size()).rounded());
        Ok(format!("delivered: {release}, {files} files, {size}{left}"))
    }

    /// A name in the directory of releases, by the directory that is open, whatever its path is.
    fn path(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.releases.as_raw_fd().to_string()).join(name)
    }

    fn put_aside(&self, name: &str) -> Result<(), String> {
        let aside = format!("{OLD}{name}");
        let (from, flags) = (&self.releases, RenameFlags::NOREPLACE);
        rustix::fs::renameat_with(from, name, from, &aside, flags)
            .map_err(|error| format!("putting {name} aside: {error}"))
    }

    /// Removes everything whose name does not stay.
    fn remove_all_but(&self, stays: impl Fn(&str) -> bool) -> Result<(), String> {
        let failed = |error: std::io::Error| format!("looking at {RELEASES}: {error}");
        for entry in fs::read_dir(self.path("")).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            if !name.to_str().is_some_and(&stays) {
                let shown = name.to_string_lossy();
                remove_tree(&self.path("").join(&name))
                    .map_err(|error| format!("removing {shown}: {error}"))?;
            }
        }
        Ok(())
    }
}
