//! Executing the sitter anew in place, so that an upgrade keeps its children.
//!
//! The process stays, so what it runs are still its children, and it is told their ends. The
//! spool's lock and the lifeline stay open across the change; the new program opens everything else
//! for itself. Old launchers do not serve the new program: each keeps its pipes open, moves nothing
//! more, and ends once another launcher has had the time to open them. The new program takes over
//! the descriptors that it finds open ([`inherited`]), adopts attempts and runs, and closes the
//! descriptors.

use std::{
    ffi::{CString, OsString},
    fs, io,
    os::{
        fd::RawFd,
        unix::ffi::{OsStrExt, OsStringExt},
    },
    path::{Path, PathBuf},
};

use rustix::{
    fd::{BorrowedFd, OwnedFd},
    io::{FdFlags, fcntl_setfd},
};

use super::{procfs, sys};

/// Returns the path of this program. To be called at the start, because later its file may have
/// been replaced.
pub(crate) fn program() -> io::Result<PathBuf> {
    fs::read_link("/proc/self/exe")
}

/// Returns every descriptor that was open before this program opened any, except standard input,
/// output, error and the lifeline. To be called first of all.
pub(crate) fn inherited(lifeline: Option<RawFd>) -> io::Result<Vec<OwnedFd>> {
    let numbers = procfs::descriptors()?;
    Ok(sys::inherited(numbers.into_iter().filter(|number| Some(*number) != lifeline)))
}

/// Becomes the program that is at `program` now, with the same arguments. `still` is asked once
/// signals are blocked. Returns `None` if it says that the execution is not wanted any more, or the
/// error if the execution fails; in both cases nothing has changed.
pub(crate) fn execute(
    program: &Path,
    keep: &[BorrowedFd<'_>],
    still: impl FnOnce() -> bool,
) -> Option<io::Error> {
    for fd in keep {
        if let Err(error) = fcntl_setfd(fd, FdFlags::empty()) {
            return Some(error.into());
        }
    }
    let failed = match strings(program) {
        Ok((program, arguments, environment)) => {
            sys::execute(&program, &arguments, &environment, still)
        }
        Err(error) => Some(error),
    };
    for fd in keep {
        let _ = fcntl_setfd(fd, FdFlags::CLOEXEC);
    }
    failed
}

fn strings(program: &Path) -> io::Result<(CString, Vec<CString>, Vec<CString>)> {
    let text = |text: OsString| CString::new(text.into_vec()).map_err(io::Error::other);
    let program = text(program.as_os_str().to_owned())?;
    let arguments = std::env::args_os().map(text).collect::<io::Result<_>>()?;
    let pair = |(name, value): (OsString, OsString)| {
        text(OsString::from_vec([name.as_bytes(), b"=", value.as_bytes()].concat()))
    };
    let environment = std::env::vars_os().map(pair).collect::<io::Result<_>>()?;
    Ok((program, arguments, environment))
}
