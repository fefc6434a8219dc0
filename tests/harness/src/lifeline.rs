//! What ends the daemons that a test has started, however the test itself ends.

use std::{
    io,
    os::fd::{AsRawFd as _, OwnedFd},
    sync::LazyLock,
};

use rustix::io::{FdFlags, fcntl_dupfd_cloexec, fcntl_setfd};

/// A pipe that daemons read from: they stop when it ends. All children inherit the end that is read
/// from; the other one is here alone, so it is closed when this is dropped or the process is gone.
#[derive(Debug)]
pub struct Lifeline {
    read: OwnedFd,
    _write: OwnedFd,
}

impl Lifeline {
    /// A new one. Fails where the process may open nothing more.
    pub fn new() -> io::Result<Self> {
        /// Above the descriptors that daemons open for themselves.
        const LEAST: i32 = 100;
        let (read, write) = io::pipe()?;
        let read = fcntl_dupfd_cloexec(&read, LEAST)?;
        fcntl_setfd(&read, FdFlags::empty())?;
        Ok(Self { read, _write: write.into() })
    }

    /// The one that lasts as long as this process.
    #[expect(clippy::expect_used, reason = "a test fails by it")]
    pub fn of_this_process() -> &'static Self {
        static ONE: LazyLock<Lifeline> = LazyLock::new(|| Lifeline::new().expect("a pipe"));
        &ONE
    }

    /// The arguments by which a daemon hears of it.
    pub fn arguments(&self) -> [String; 2] {
        ["--lifeline".to_owned(), self.read.as_raw_fd().to_string()]
    }
}
