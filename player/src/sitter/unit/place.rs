//! What units have in memory: directories for their sockets, and parameters that must not be
//! written to a disk.
//!
//! ```text
//! RUN_DIR/TAG/               0711, the sitter's; TAG tells players and their spools apart
//!   guard                    0600, the sitter's: the book of leases
//!   STORE-SERVICE/           0711, the sitter's
//!     run/                   0700, the unit's user's: ORC_RUN_DIR
//!     notify                 0600, the unit's user's: NOTIFY_SOCKET; its launcher's end
//!     params                 0600, the sitter's, where this is a memory file system
//!     given                  0600, the unit's user's: ORC_PARAMS_FILE, of services that reload
//!   ~gone/                   what is left of units that are gone (`leftovers.rs`)
//! ```
//!
//! Names are short, because the path of a socket has at most 107 bytes. `run` belongs to another
//! user, who may have mounted a file system there that does not answer. So the sitter looks only at
//! the directory that it made, and never past a mount (`NO_XDEV`). What the sitter writes for a run
//! (`given`) therefore lies beside `run`, where nobody else can put anything in its way.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, DirBuilder, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use orchestra_model::{
    HostName, Params,
    delivery::{OrderNumber, StoreId},
    hex,
};
use orchestra_units::UnitKey;
use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{AtFlags, Gid, Mode, OFlags, RawMode, ResolveFlags, Uid},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::{
    leftovers::{GONE, Leftovers},
    secrets,
};
use crate::{
    guard::{BOOK, NEW_BOOK},
    sitter::{
        file_below,
        spool_dir::{remove_file, replace_file},
        sys::Identity,
    },
};

const RUN: &str = "run";
const PARAMS: &str = "params";
const NEW_PARAMS: &str = "params.new";
const GIVEN: &str = "given";
const NEW_GIVEN: &str = "given.new";
/// Of `linux/magic.h`.
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// Where the units of one spool have their directories.
pub(in crate::sitter) struct Place {
    run_dir: PathBuf,
    tag: String,
    /// `RUN_DIR/TAG`; `None` until it is needed.
    dir: Option<OwnedFd>,
    leftovers: Leftovers,
}

/// Returns the name of a unit on its host, unique within a spool.
pub(super) fn name_of(unit: &UnitKey) -> String {
    format!("{}-{}", short(&unit.store), unit.service)
}

fn short(store: &StoreId) -> String {
    hex(&store.0[..4])
}

impl Place {
    /// Returns the place of a player and its spool. Makes nothing.
    pub(in crate::sitter) fn new(run_dir: &Path, player: &HostName, spool: &Path) -> Self {
        let mut digest = Sha256::new();
        digest.update(player.as_str());
        digest.update([0]);
        digest.update(spool.as_os_str().as_encoded_bytes());
        let tag = hex(&digest.finalize()[..4]);
        Self { run_dir: run_dir.to_owned(), tag, dir: None, leftovers: Leftovers::unknown() }
    }

    /// Returns what tells the units of this player and spool from those of others.
    pub(in crate::sitter) fn tag(&self) -> &str {
        &self.tag
    }

    /// `ORC_RUN_DIR`.
    pub(super) fn run_dir_of(&self, unit: &UnitKey) -> PathBuf {
        self.run_dir_named(&name_of(unit))
    }

    pub(super) fn run_dir_named(&self, name: &str) -> PathBuf {
        self.run_dir.join(&self.tag).join(name).join(RUN)
    }

    /// The names of all units that have a directory.
    pub(super) fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.run_dir.join(&self.tag)).into_iter().flatten();
        let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
        let names = names.filter_map(|name: OsString| name.into_string().ok());
        names.filter(|name| ![BOOK, NEW_BOOK, GONE].contains(&name.as_str())).collect()
    }

    /// The directory of all units.
    pub(super) fn directory(&mut self) -> io::Result<BorrowedFd<'_>> {
        self.open()
    }

    /// Replaces the book of leases as a whole.
    pub(super) fn keep_book(&mut self, bytes: &[u8]) -> io::Result<()> {
        // It counts for this boot alone, so nothing is synced.
        replace_file(self.open()?, BOOK, NEW_BOOK, bytes, |_| Ok(()))
    }

    /// Removes the book of leases, once nobody reads it any more.
    pub(in crate::sitter) fn drop_book(&mut self) {
        if let Ok(directory) = self.open() {
            let _ = remove_file(directory, BOOK);
        }
    }

    /// Returns the book of leases, if there is one.
    pub(super) fn book(&mut self) -> Option<Vec<u8>> {
        let directory = self.run_dir.join(&self.tag);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty()).ok()?;
        file_below(directory, BOOK).ok()
    }

    /// The directory of a unit.
    pub(super) fn own(&mut self, unit: &UnitKey) -> io::Result<OwnedFd> {
        own_dir(self.open()?, &name_of(unit))
    }

    /// Where a unit says that it is ready.
    pub(super) fn notify_of(&self, unit: &UnitKey) -> PathBuf {
        self.run_dir_of(unit).with_file_name(super::NOTIFY)
    }

    /// Makes what a unit has here, for runs of this user. Returns its directory.
    pub(super) fn make(&mut self, unit: &UnitKey, owner: Option<&Identity>) -> io::Result<OwnedFd> {
        let own = own_dir(self.open()?, &name_of(unit))?;
        let is_new = make_dir(own.as_fd(), RUN, 0o700)?;
        let found = rustix::fs::fstat(open_beneath(own.as_fd(), RUN.as_ref(), OFlags::PATH)?)?;
        if let Some(owner) = owner
            && (found.st_uid, found.st_gid) != (owner.uid, owner.gid)
        {
            if !is_new {
                // Whoever had it before may have opened it to everybody, and put sockets there
                // that somebody else answers at.
                self.set_aside(&own, RUN)?;
                make_dir(own.as_fd(), RUN, 0o700)?;
            }
            let run = open_beneath(own.as_fd(), RUN.as_ref(), OFlags::RDONLY)?;
            let (uid, gid) = (Uid::from_raw(owner.uid), Gid::from_raw(owner.gid));
            rustix::fs::fchown(&run, Some(uid), Some(gid))?;
        }
        Ok(own)
    }

    /// Returns the directory of a unit's runs, and its owner. Nothing is looked up in it.
    pub(super) fn run(&mut self, unit: &UnitKey) -> io::Result<(OwnedFd, u32)> {
        let own = own_dir(self.open()?, &name_of(unit))?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let run = rustix::fs::openat2(&own, RUN, flags, Mode::empty(), resolve)?;
        let owner = rustix::fs::fstat(&run)?.st_uid;
        Ok((run, owner))
    }

    /// Removes what a unit has here. What is more than a few files is moved out of the way, and
    /// removed by [`Place::remove_leftovers`]. A directory on which its user has mounted something
    /// stays.
    pub(super) fn forget(&mut self, unit: &UnitKey) {
        let name = name_of(unit);
        let Ok(place) = self.open() else { return };
        let Ok(own) = own_dir(place, &name) else { return };
        for file in [PARAMS, NEW_PARAMS, GIVEN, NEW_GIVEN, super::NOTIFY] {
            let _ = remove_file(own.as_fd(), file);
        }
        let _ = rustix::fs::unlinkat(&own, RUN, AtFlags::REMOVEDIR);
        if rustix::fs::unlinkat(place, &name, AtFlags::REMOVEDIR).is_err() {
            let moved = place.try_clone_to_owned().and_then(|place| self.set_aside(&place, &name));
            if let Err(error) = moved {
                tracing::warn!(%unit, %error, "cannot remove what a unit had in run_dir");
            }
            self.remove_leftovers();
        }
    }

    /// Moves an entry of a directory out of the way, to be removed.
    fn set_aside(&mut self, from: &OwnedFd, name: &str) -> io::Result<()> {
        let gone = own_dir(self.open()?, GONE)?;
        self.leftovers.take(gone.as_fd(), from, name.as_ref())
    }

    /// Whether units that are gone have left something that can be removed.
    pub(super) fn has_leftovers(&self) -> bool {
        self.leftovers.are_there
    }

    /// Removes some of what units that are gone have left.
    pub(super) fn remove_leftovers(&mut self) {
        if !self.run_dir.join(&self.tag).join(GONE).is_dir() {
            self.leftovers.are_there = false;
            return;
        }
        match self.open().and_then(|place| own_dir(place, GONE)) {
            Ok(gone) => {
                self.leftovers.remove_some(&gone);
                if !self.leftovers.are_there
                    && let Ok(place) = self.open()
                {
                    // It stays if something in it stays.
                    let _ = rustix::fs::unlinkat(place, GONE, AtFlags::REMOVEDIR);
                }
            }
            Err(error) => {
                self.leftovers.are_there = false;
                tracing::warn!(%error, "cannot remove what units that are gone have left in run_dir");
            }
        }
    }

    /// Keeps the parameters of a unit's order, if this is a memory file system. Returns whether
    /// they are kept.
    pub(super) fn keep_params(
        &mut self,
        unit: &UnitKey,
        order: OrderNumber,
        params: &Params,
    ) -> io::Result<bool> {
        let own = own_dir(self.open()?, &name_of(unit))?;
        if !is_in_memory(&own)? {
            return Ok(false);
        }
        // This is memory, so nothing is synced.
        let bytes = secrets::encode(order, params);
        replace_file(own.as_fd(), PARAMS, NEW_PARAMS, &bytes, |_| Ok(()))?;
        Ok(true)
    }

    /// `ORC_PARAMS_FILE`.
    pub(super) fn given_of(&self, unit: &UnitKey) -> PathBuf {
        self.run_dir_of(unit).with_file_name(GIVEN)
    }

    /// Returns whether what units have here is in memory. Makes nothing for any of them, because an
    /// order that is refused must leave nothing behind.
    pub(super) fn is_in_memory(&mut self) -> io::Result<bool> {
        is_in_memory(self.open()?)
    }

    /// Returns user and group of the file that a unit's run reads.
    pub(super) fn owner_of_given(&mut self, unit: &UnitKey) -> io::Result<(u32, u32)> {
        let own = own_dir(self.open()?, &name_of(unit))?;
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // The unit's user may have mounted something on it.
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let file = rustix::fs::openat2(&own, GIVEN, flags, Mode::empty(), resolve)?;
        let found = rustix::fs::fstat(&file)?;
        Ok((found.st_uid, found.st_gid))
    }

    /// Replaces the content of the unit's file, which runs of this user and group read. A reader
    /// sees the old or the new content as a whole. `None` stands for the sitter's own user.
    pub(super) fn give(
        &mut self,
        unit: &UnitKey,
        owner: Option<(u32, u32)>,
        text: &[u8],
    ) -> io::Result<()> {
        let own = own_dir(self.open()?, &name_of(unit))?;
        replace_file(own.as_fd(), GIVEN, NEW_GIVEN, text, |file| match owner {
            Some((uid, gid)) => {
                let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
                Ok(rustix::fs::fchown(file, Some(uid), Some(gid))?)
            }
            None => Ok(()),
        })
    }

    /// Returns the parameters that were kept of a unit, and the order that they came with.
    pub(super) fn params(&mut self, unit: &UnitKey) -> Option<(OrderNumber, Params)> {
        let own = self.run_dir.join(&self.tag).join(name_of(unit));
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(own.join(PARAMS), flags, Mode::empty()).ok()?;
        let mut bytes = Vec::new();
        File::from(file).read_to_end(&mut bytes).ok()?;
        secrets::decode(&bytes)
    }

    /// Forgets the parameters of a unit, because their order is over.
    pub(super) fn drop_params(&mut self, unit: &UnitKey) {
        let own = self.run_dir.join(&self.tag).join(name_of(unit));
        let _ = fs::remove_file(own.join(PARAMS));
    }

    fn open(&mut self) -> io::Result<BorrowedFd<'_>> {
        let dir = match self.dir.take() {
            // Somebody may have removed it.
            Some(dir) if rustix::fs::fstat(&dir).is_ok_and(|found| found.st_nlink > 0) => dir,
            _ => {
                DirBuilder::new().recursive(true).mode(0o755).create(&self.run_dir)?;
                let found = fs::metadata(&self.run_dir)?;
                only_ours(&found, "run_dir", &self.run_dir)?;
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let run_dir = rustix::fs::open(&self.run_dir, flags, Mode::empty())?;
                own_dir(run_dir.as_fd(), &self.tag)?
            }
        };
        let dir: &OwnedFd = self.dir.insert(dir);
        Ok(dir.as_fd())
    }
}

/// Checks that nobody else may write to a directory, which the configuration has under `key`.
pub(in crate::sitter) fn only_ours(found: &fs::Metadata, key: &str, path: &Path) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    match found.uid() == own && found.mode() & 0o022 == 0 {
        true => Ok(()),
        false => Err(io::Error::other(format!("others may write to {key} {}", path.display()))),
    }
}

fn is_in_memory(dir: impl AsFd) -> io::Result<bool> {
    let system = rustix::fs::fstatfs(dir)?.f_type as u64;
    Ok(matches!(system & 0xffff_ffff, TMPFS | RAMFS))
}

/// Opens a directory of another user, if it is on the same file system as its parent. A file system
/// that was mounted there might not answer.
pub(super) fn open_beneath(
    parent: BorrowedFd<'_>,
    name: &OsStr,
    how: OFlags,
) -> io::Result<OwnedFd> {
    let flags = how | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
    Ok(rustix::fs::openat2(parent, name, flags, Mode::empty(), resolve)?)
}

/// Opens a directory of ours that others may pass through. Makes it if it is missing.
fn own_dir(parent: BorrowedFd<'_>, name: &str) -> io::Result<OwnedFd> {
    make_dir(parent, name, 0o711)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    let found = rustix::fs::fstat(&dir)?;
    if found.st_uid != rustix::process::geteuid().as_raw() {
        return Err(io::Error::other(format!(
            "{name} in run_dir belongs to user {}",
            found.st_uid
        )));
    }
    if found.st_mode & 0o7777 != 0o711 {
        rustix::fs::fchmod(&dir, Mode::from_raw_mode(0o711 as RawMode))?;
    }
    Ok(dir)
}

/// Makes a directory if it is missing. Returns whether it was.
fn make_dir(parent: BorrowedFd<'_>, name: &str, mode: u32) -> io::Result<bool> {
    match rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(mode as RawMode)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use orchestra_model::names::ServiceName;

    use super::*;

    #[test]
    fn a_run_directory_that_another_user_had_is_as_new() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let (host, run_dir) = (HostName::new("fe1.example.org").unwrap(), temp.path().join("run"));
        let mut place = Place::new(&run_dir, &host, temp.path());
        let unit = unit();
        let user = |uid| Identity { uid, gid: uid, groups: vec![uid] };
        place.make(&unit, Some(&user(1001))).unwrap();
        let run = place.run_dir_of(&unit);
        fs::set_permissions(&run, fs::Permissions::from_mode(0o2777)).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(run.join("web.sock")).unwrap();
        // What its own next run finds is what the one before left.
        place.make(&unit, Some(&user(1001))).unwrap();
        assert!(run.join("web.sock").exists());
        place.make(&unit, Some(&user(1002))).unwrap();
        let found = fs::metadata(&run).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (1002, 1002, 0o700));
        assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
    }
    fn unit() -> UnitKey {
        let service = ServiceName::new("web").unwrap();
        UnitKey { store: StoreId([7; 16]), service }
    }

    #[test]
    fn whatever_a_unit_has_left_is_removed_by_and_by() {
        let temp = tempfile::tempdir().unwrap();
        let (host, run_dir) = (HostName::new("fe1.example.org").unwrap(), temp.path().join("run"));
        let mut place = Place::new(&run_dir, &host, temp.path());
        place.remove_leftovers();
        assert!(!place.has_leftovers() && !run_dir.exists(), "nothing is made for nothing");
        place.make(&unit(), None).unwrap();
        let run = place.run_dir_of(&unit());
        for n in 0..12_000 {
            fs::write(run.join(format!("file-{n}")), "").unwrap();
        }
        let deep: PathBuf = (0..40).map(|n| format!("d{n}")).collect();
        fs::create_dir_all(run.join(&deep)).unwrap();
        fs::write(run.join(&deep).join("last"), "").unwrap();
        std::os::unix::fs::symlink(temp.path(), run.join("link")).unwrap();
        place.forget(&unit());
        assert!(place.has_leftovers() && !run.exists());
        // The next unit of this name has a directory of its own, and the next sitter goes on.
        place.make(&unit(), None).unwrap();
        let mut place = Place::new(&run_dir, &host, temp.path());
        let mut turns = 0;
        while place.has_leftovers() {
            place.remove_leftovers();
            turns += 1;
            assert!(turns < 1_000);
        }
        assert!(turns > 10, "{turns}");
        assert!(!run_dir.join(place.tag()).join(GONE).exists());
        assert!(run.is_dir() && temp.path().is_dir(), "no link is followed");
    }
}
