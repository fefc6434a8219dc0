//! A score's bytes in memory: what was hashed is what runs.
//!
//! An attempt gets a descriptor of the copy, so processes that it leaves behind can reach the copy.
//! Seals keep everybody from changing the bytes. What else can be done to the copy depends on the
//! user:
//!
//! - Scores normally run as another user than the sitter's. The copy's mode keeps that user from
//!   opening it for writing. That could not change the bytes, but the kernel executes no file that
//!   is open for writing.
//! - The sitter's own user may change the mode, and root need not. So each start checks whether its
//!   copy can be executed, and makes another copy if it cannot.

use std::{
    cell::RefCell,
    fmt,
    fs::File,
    io::{self, Read, Write},
    os::unix::fs::{FileExt, MetadataExt},
};

use orchestra_model::score::ScoreHash;
use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{Mode, OFlags},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::interpreter::{self, Interpreter};
use crate::sitter::{memory_file, sys};

/// Largest score, in bytes. Scores are scripts and small programs, which can call larger ones that
/// are installed elsewhere.
const SCORE_BYTES: u64 = 64 << 20;
/// Everybody may read and execute the copy, as interpreters must. Nobody may open it for writing.
const MODE: Mode = Mode::from_raw_mode(0o555);

/// The bytes of one version of a score, in memory that nobody can change.
#[derive(Debug)]
pub(crate) struct Image {
    copy: RefCell<File>,
    hash: ScoreHash,
    interpreter: Option<Interpreter>,
}

/// Why there is no image of a file.
#[derive(Debug)]
pub(in crate::sitter) enum ImageError {
    /// It cannot be read.
    Read(io::Error),
    /// No executable file in memory can be made.
    Memory(io::Error),
}

impl Image {
    /// Copies a file.
    pub(super) fn copy(file: &File) -> Result<Image, ImageError> {
        let mut bounded = file.take(SCORE_BYTES + 1);
        let (copy, hash) = sealed(&mut bounded)?;
        if copy.metadata().map_err(ImageError::Memory)?.len() > SCORE_BYTES {
            return Err(ImageError::Read(io::ErrorKind::FileTooLarge.into()));
        }
        let interpreter = interpreter::of(&copy).map_err(ImageError::Memory)?;
        Ok(Image { copy: RefCell::new(copy), hash, interpreter })
    }

    /// Returns the hash of the bytes.
    pub(crate) fn hash(&self) -> ScoreHash {
        self.hash
    }

    /// Returns what the kernel starts to run the score: a script's interpreter, or a program's
    /// loader.
    pub(crate) fn interpreter(&self) -> Option<&Interpreter> {
        self.interpreter.as_ref()
    }

    /// Opens a descriptor from which to run the score. Each attempt gets its own, because
    /// interpreters read from the descriptor's position, and a shared one would be at the end for
    /// the second reader.
    pub(crate) fn open(&self) -> io::Result<OwnedFd> {
        if let Some(opened) = open_executable(&self.copy.borrow()) {
            return Ok(opened);
        }
        let copy = self.another_copy()?;
        tracing::warn!(hash = %self.hash, "somebody keeps a score's copy from being run; made another one");
        let opened = open_executable(&copy).ok_or(io::ErrorKind::ExecutableFileBusy);
        self.copy.replace(copy);
        Ok(opened?)
    }

    fn another_copy(&self) -> io::Result<File> {
        let old = self.copy.borrow();
        let mut bytes = FromStart { file: &old, at: 0 };
        let (copy, hash) = sealed(&mut bytes).map_err(ImageError::into_io)?;
        match hash == self.hash {
            true => Ok(copy),
            false => Err(io::Error::other("the score's copy in memory has changed")),
        }
    }
}

/// Opens a copy for one attempt; `None` if the kernel would not execute it.
fn open_executable(copy: &File) -> Option<OwnedFd> {
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let as_made = Mode::from_raw_mode(copy.metadata().ok()?.mode()) == MODE;
    (as_made && !sys::is_open_for_writing(opened.as_fd())).then_some(opened)
}

/// Copies bytes into memory that nobody can change. Returns that and their hash.
fn sealed(bytes: &mut dyn Read) -> Result<(File, ScoreHash), ImageError> {
    let failed = |error: Errno| ImageError::Memory(error.into());
    let mut memory = memory_file::begin(c"score").map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 64 << 10];
    loop {
        let read = bytes.read(&mut chunk).map_err(ImageError::Read)?;
        if read == 0 {
            break;
        }
        hasher.update(&chunk[..read]);
        memory.write_all(&chunk[..read]).map_err(ImageError::Memory)?;
    }
    memory_file::seal(&memory, MODE).map_err(failed)?;
    Ok((memory, ScoreHash(hasher.finalize().into())))
}

/// Reads a file from its start, whatever the position of its descriptor.
struct FromStart<'a> {
    file: &'a File,
    at: u64,
}

impl Read for FromStart<'_> {
    fn read(&mut self, chunk: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read_at(chunk, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

impl ImageError {
    fn into_io(self) -> io::Error {
        match self {
            Self::Read(error) | Self::Memory(error) => error,
        }
    }
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => write!(f, "cannot be read: {error}"),
            Self::Memory(error) if error.kind() == io::ErrorKind::PermissionDenied => f.write_str(
                "cannot be copied to where it would run: this system forbids executable files in \
                 memory. Where vm.memfd_noexec is 2, set it to 1 (sysctl vm.memfd_noexec=1); else \
                 a security module forbids them to the player",
            ),
            Self::Memory(error) => write!(f, "cannot be copied to memory: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{os::unix::fs::PermissionsExt, process::Command};

    use rustix::fs::SealFlags;

    use super::*;

    fn image(script: &str) -> Image {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all_at(script.as_bytes(), 0).unwrap();
        std::io::Seek::rewind(&mut file).unwrap();
        Image::copy(&file).unwrap()
    }

    /// Executes it as an attempt would, and returns its exit code.
    fn run(image: &Image) -> Option<i32> {
        let program = image.open().unwrap();
        rustix::io::fcntl_setfd(&program, rustix::io::FdFlags::empty()).unwrap();
        let path = format!("/proc/{}/fd/{}", std::process::id(), program.as_raw_fd());
        Command::new(path).status().unwrap().code()
    }

    #[test]
    fn nobody_but_its_owner_could_open_it_for_writing() {
        let image = image("#!/bin/sh\nexit 5\n");
        let opened = File::from(image.open().unwrap());
        assert_eq!(opened.metadata().unwrap().permissions().mode() & 0o7777, 0o555);
        let seals = rustix::fs::fcntl_get_seals(&opened).unwrap();
        assert!(seals.contains(SealFlags::SEAL | SealFlags::WRITE | SealFlags::GROW));
        assert_eq!(run(&image), Some(5));
    }

    #[test]
    fn what_its_owner_left_open_for_writing_keeps_no_later_start() {
        let image = image("#!/bin/sh\nexit 5\n");
        for _ in 0..3 {
            let opened = File::from(image.open().unwrap());
            let path = format!("/proc/self/fd/{}", opened.as_raw_fd());
            opened.set_permissions(PermissionsExt::from_mode(0o777)).unwrap();
            let writer = File::options().write(true).open(&path).unwrap();
            opened.set_permissions(PermissionsExt::from_mode(0o555)).unwrap();
            assert_eq!(run(&image), Some(5));
            assert!(writer.write_at(b"x", 0).is_err(), "its bytes are sealed");
            drop(writer);
        }
    }

    #[test]
    fn a_mode_that_its_owner_took_away_keeps_no_later_start() {
        let image = image("#!/bin/sh\nexit 5\n");
        let opened = File::from(image.open().unwrap());
        // Newer kernels refuse the change.
        let _ = opened.set_permissions(PermissionsExt::from_mode(0o000));
        assert_eq!(run(&image), Some(5));
        assert_eq!(image.open().map(File::from).unwrap().metadata().unwrap().mode() & 0o777, 0o555);
    }
}
