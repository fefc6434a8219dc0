//! State directories: what a service keeps on a disk, over runs, versions, reboots and wiped
//! spools.
//!
//! ```text
//! services_dir/
//!   web/       0700, the user's whom the score runs as: ORC_STATE_DIR
//!   .new-web   the same until it belongs to its user
//! ```
//!
//! The directory is named by the service alone. Nothing in it is ever read, changed or removed
//! here, because its data may still be wanted when the service is removed. A run does not get a
//! directory that belongs to another user: its files would have to change hands, which is up to a
//! person.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use orchestra_model::names::ServiceName;
use rustix::{
    fd::AsFd,
    fs::{AtFlags, Gid, Mode, OFlags, RawMode, Uid},
    io::Errno,
};

use super::place::only_ours;

/// Returns the directory of a service for runs of this user and group. Makes it if it is missing.
/// `None` stands for the sitter's own user.
pub(super) fn make(
    services_dir: &Path,
    service: &ServiceName,
    owner: Option<(u32, u32)>,
) -> io::Result<PathBuf> {
    let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let (uid, gid) = owner.unwrap_or(own);
    DirBuilder::new().recursive(true).mode(0o711).create(services_dir)?;
    let found = fs::metadata(services_dir)?;
    only_ours(&found, "services_dir", services_dir)?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let parent = rustix::fs::open(services_dir, flags, Mode::empty())?;
    let path = services_dir.join(service.as_str());
    let found = match look(&parent, service.as_str()) {
        Err(Errno::NOENT) => {
            begin(&parent, service.as_str(), uid, gid)?;
            look(&parent, service.as_str())?
        }
        found => found?,
    };
    if found != uid {
        return Err(io::Error::other(format!(
            "{path} belongs to user {found}, and the score runs as user {uid}; if its files are meant \
             for that one: chown -R {uid}:{gid} {path}",
            path = path.display()
        )));
    }
    Ok(path)
}

/// Returns the owner of the directory.
fn look(parent: impl AsFd, name: &str) -> Result<u32, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = rustix::fs::openat(parent, name, flags, Mode::empty())?;
    Ok(rustix::fs::fstat(&dir)?.st_uid)
}

/// Makes a directory under a temporary name, and renames it once it belongs to its user. So we
/// never change the owner of a directory that has the right name.
fn begin(parent: impl AsFd, name: &str, uid: u32, gid: u32) -> Result<(), Errno> {
    let new = format!(".new-{name}");
    match rustix::fs::mkdirat(&parent, &new, Mode::from_raw_mode(0o700 as RawMode)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error),
    }
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(&parent, &new, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
    rustix::fs::renameat(&parent, &new, &parent, name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    fn web() -> ServiceName {
        ServiceName::new("web").unwrap()
    }

    #[test]
    fn it_is_made_once_and_what_is_in_it_stays() {
        let temp = tempfile::tempdir().unwrap();
        let services = temp.path().join("services");
        let path = make(&services, &web(), None).unwrap();
        assert_eq!(path, services.join("web"));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o700);
        fs::write(path.join("data"), "kept").unwrap();
        assert_eq!(make(&services, &web(), None).unwrap(), path);
        assert_eq!(fs::read_to_string(path.join("data")).unwrap(), "kept");
        assert_eq!(fs::read_dir(&services).unwrap().count(), 1, "nothing else is there");
    }

    #[test]
    fn what_a_crash_left_is_gone_on_with() {
        let temp = tempfile::tempdir().unwrap();
        let services = temp.path().join("services");
        fs::create_dir(&services).unwrap();
        fs::create_dir(services.join(".new-web")).unwrap();
        assert!(make(&services, &web(), None).unwrap().is_dir());
    }

    #[test]
    fn what_belongs_to_somebody_else_is_no_runs() {
        let temp = tempfile::tempdir().unwrap();
        let path = make(temp.path(), &web(), None).unwrap();
        let own = rustix::process::geteuid().as_raw();
        let refused = make(temp.path(), &web(), Some((own + 1, own))).unwrap_err().to_string();
        let why = format!("{} belongs to user {own}, and the score runs as user", path.display());
        assert!(refused.starts_with(&why) && refused.contains("chown -R"), "{refused}");
        fs::remove_dir(&path).unwrap();
        std::os::unix::fs::symlink(temp.path(), &path).unwrap();
        assert!(make(temp.path(), &web(), None).is_err(), "a link leads anywhere");
    }

    #[test]
    fn whoever_may_write_beside_it_could_put_another_in_its_place() {
        let temp = tempfile::tempdir().unwrap();
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(temp.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let refused = make(temp.path(), &web(), None).unwrap_err().to_string();
        assert!(refused.contains("others may write to services_dir"), "{refused}");
    }
}
