//! Programs in memory: files that can be executed, and that nobody can change once they are sealed.

use std::{
    ffi::CStr,
    fs::File,
    io::{self, Seek},
};

use rustix::{
    fd::OwnedFd,
    fs::{MemfdFlags, Mode, SealFlags},
    io::Errno,
};

/// Everybody may execute it, and nobody read it. Of a program that its user may not read the kernel lets
/// nobody else of that user's have anything: not its memory, and not its descriptors (ptrace(2)).
const UNREADABLE: Mode = Mode::from_raw_mode(0o111);

/// An empty one.
pub(super) fn begin(name: &CStr) -> Result<File, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Executable on purpose, whatever the system's default for memory files is.
    match rustix::fs::memfd_create(name, flags | MemfdFlags::EXEC) {
        // Before Linux 6.3.
        Err(Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        made => made,
    }
    .map(File::from)
}

/// From now on its bytes stay what they are.
pub(super) fn seal(memory: &File, mode: Mode) -> Result<(), Errno> {
    rustix::fs::fchmod(memory, mode)?;
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    // The last one keeps the mode's executable bits; unknown before Linux 6.3.
    match rustix::fs::fcntl_add_seals(memory, seals | SealFlags::EXEC) {
        Err(Errno::INVAL) => rustix::fs::fcntl_add_seals(memory, seals),
        added => added,
    }
}

/// This very program, for processes of other users that hold what is the sitter's.
pub(super) fn own_program() -> io::Result<OwnedFd> {
    let mut memory = begin(c"player")?;
    io::copy(&mut File::open("/proc/self/exe")?, &mut memory)?;
    memory.rewind()?;
    seal(&memory, UNREADABLE)?;
    Ok(memory.into())
}
