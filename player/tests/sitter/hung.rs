//! A file whose contents never come: a FUSE file system of one file, served by a thread of the test,
//! which answers everything but reading.
//!
//! Whoever moves bytes from the file into a pipe holds the pipe's lock meanwhile, as one does that
//! writes from a mapping of the file.

use std::{
    ffi::CString,
    fs::{self, File},
    io::{PipeWriter, Read, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    mount::{MountFlags, UnmountFlags, mount, unmount},
};

/// The mounted file system. It is unmounted when it is dropped, and then every reading fails.
pub(crate) struct Hung {
    directory: PathBuf,
    readings: Arc<AtomicU32>,
    stop: Option<PipeWriter>,
    server: Option<JoinHandle<()>>,
}

/// What becomes of who waits for the file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Readers {
    /// A signal that kills ends the wait.
    Killable,
    /// Nothing ends the wait but the end of the file system.
    Unkillable,
}

/// What is asked for, by the numbers of `linux/fuse.h`.
mod ask {
    pub(super) const LOOKUP: u32 = 1;
    pub(super) const FORGET: u32 = 2;
    pub(super) const GETATTR: u32 = 3;
    pub(super) const OPEN: u32 = 14;
    pub(super) const READ: u32 = 15;
    pub(super) const RELEASE: u32 = 18;
    pub(super) const INIT: u32 = 26;
    pub(super) const INTERRUPT: u32 = 36;
    pub(super) const BATCH_FORGET: u32 = 42;
}

/// The numbers of the directory and of its file.
const ROOT: u64 = 1;
const FILE: u64 = 2;
/// Larger than a pipe.
const FILE_BYTES: u64 = 1 << 20;
/// How long the kernel may believe what it was told, in seconds.
const VALID: u64 = 1_000;
/// The bytes of a question before what is particular to it.
const HEADER_BYTES: usize = 40;

impl Hung {
    /// Mounts it. `None`, and said so, where that cannot be.
    pub(crate) fn mount(directory: &Path, readers: Readers) -> Option<Self> {
        let fuse = match File::options().read(true).write(true).open("/dev/fuse") {
            Ok(fuse) => fuse,
            Err(error) => {
                println!("not run: /dev/fuse: {error}");
                return None;
            }
        };
        fs::create_dir(directory).unwrap();
        let number = fuse.as_raw_fd();
        let options = format!("fd={number},rootmode=40000,user_id=0,group_id=0,allow_other");
        let options = CString::new(options).unwrap();
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        if let Err(error) = mount("hung", directory, "fuse", flags, options.as_c_str()) {
            println!("not run: mounting a FUSE file system: {error}");
            return None;
        }
        let (stopped, stop) = std::io::pipe().unwrap();
        let readings = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&readings);
        let server = std::thread::spawn(move || {
            let mut bytes = vec![0; 256 << 10];
            loop {
                let mut both =
                    [PollFd::new(&fuse, PollFlags::IN), PollFd::new(&stopped, PollFlags::IN)];
                let waited = poll(&mut both, None);
                if waited.is_ok() && !both[1].revents().is_empty() {
                    // Nobody has the device any more then: the kernel gives all questions up.
                    return;
                }
                let Ok(length) = (&fuse).read(&mut bytes) else { continue };
                if let Some(answer) = answer(&bytes[..length], readers, &count) {
                    let _ = (&fuse).write(&answer);
                }
            }
        });
        let directory = directory.to_owned();
        Some(Self { directory, readings, stop: Some(stop), server: Some(server) })
    }

    /// The file whose contents never come.
    pub(crate) fn file(&self) -> PathBuf {
        self.directory.join("file")
    }

    /// Whether somebody waits for its contents, or did.
    pub(crate) fn is_read(&self) -> bool {
        self.readings.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Hung {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.server.take().map(JoinHandle::join);
        let _ = unmount(&self.directory, UnmountFlags::DETACH);
    }
}

/// The answer to a question; `None` where there is none, or none is wanted.
fn answer(question: &[u8], readers: Readers, readings: &AtomicU32) -> Option<Vec<u8>> {
    let number = |at: usize| Some(u32::from_le_bytes(*question.get(at..)?.first_chunk()?));
    let long = |at: usize| Some(u64::from_le_bytes(*question.get(at..)?.first_chunk()?));
    let (kind, unique, node) = (number(4)?, long(8)?, long(16)?);
    let body = match kind {
        ask::READ => {
            readings.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        ask::FORGET | ask::BATCH_FORGET | ask::INTERRUPT => return None,
        ask::INIT => init(readers),
        ask::LOOKUP if question[HEADER_BYTES..].starts_with(b"file\0") => entry(),
        ask::LOOKUP => return Some(framed(unique, libc::ENOENT, &[])),
        ask::GETATTR => attributes(node),
        // A handle, and no wish.
        ask::OPEN => vec![0; 16],
        ask::RELEASE => Vec::new(),
        _ => return Some(framed(unique, libc::ENOSYS, &[])),
    };
    Some(framed(unique, 0, &body))
}

fn framed(unique: u64, errno: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend((16 + body.len() as u32).to_le_bytes());
    bytes.extend((-errno).to_le_bytes());
    bytes.extend(unique.to_le_bytes());
    bytes.extend(body);
    bytes
}

/// `fuse_init_out`: protocol 7.31, and the least of everything. Who asks for pages and goes on waits
/// for them killably; who asks for one and waits for the answer does not.
fn init(readers: Readers) -> Vec<u8> {
    const ASYNC_READ: u32 = 1;
    let mut bytes = Vec::new();
    let flags = if readers == Readers::Killable { ASYNC_READ } else { 0 };
    for number in [7, 31, 64 << 10, flags] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend([16_u16, 12].map(u16::to_le_bytes).as_flattened());
    bytes.extend((64_u32 << 10).to_le_bytes());
    bytes.resize(64, 0);
    bytes
}

/// `fuse_entry_out` of the file.
fn entry() -> Vec<u8> {
    let mut bytes = Vec::new();
    for number in [FILE, 0, VALID, VALID, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes.extend(attr(FILE));
    bytes
}

/// `fuse_attr_out`.
fn attributes(node: u64) -> Vec<u8> {
    let mut bytes = [VALID, 0].map(u64::to_le_bytes).as_flattened().to_vec();
    bytes.extend(attr(node));
    bytes
}

/// `fuse_attr`.
fn attr(node: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = if node == FILE { FILE_BYTES } else { 0 };
    for number in [node, size, 0, 0, 0, 0] {
        bytes.extend(number.to_le_bytes());
    }
    let mode = if node == ROOT { 0o040_755 } else { 0o100_644 };
    for number in [0_u32, 0, 0, mode, 1, 0, 0, 0, 4_096, 0] {
        bytes.extend(number.to_le_bytes());
    }
    bytes
}
