//! Lifelines: a daemon that is given one stops when its other end is closed, because whoever started
//! the daemon is gone.

use std::{
    ffi::OsStr,
    fs::File,
    io::{self, Read as _},
    os::fd::RawFd,
};

use tokio::sync::oneshot;

/// Reads the number of a descriptor that was inherited on purpose, which is none of the standard
/// three.
pub fn descriptor(text: &OsStr) -> Result<RawFd, String> {
    let fd = text.to_str().and_then(|text| text.parse().ok()).filter(|fd| *fd > 2);
    fd.ok_or_else(|| format!("--lifeline {}: not a descriptor above 2", text.to_string_lossy()))
}

/// Opens anew a descriptor that was inherited on purpose, so that it is ours to read.
pub fn open(text: &OsStr) -> Result<File, String> {
    let number = descriptor(text)?;
    let opened = File::open(format!("/proc/self/fd/{number}"));
    opened.map_err(|error| format!("--lifeline {}: {error}", text.to_string_lossy()))
}

/// A lifeline that is watched.
#[derive(Debug)]
pub struct Lifeline(oneshot::Receiver<()>);

impl Lifeline {
    /// Reads a lifeline on a thread. Nobody writes to it, so a read returns only when the other end is
    /// closed.
    pub fn watch(mut lifeline: File) -> io::Result<Self> {
        let (cut, is_cut) = oneshot::channel();
        std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
            while matches!(lifeline.read(&mut [0; 64]), Ok(1..)) {}
            // Nobody waits if the daemon is stopping already.
            let _ = cut.send(());
        })?;
        Ok(Self(is_cut))
    }

    /// Waits for the end of a lifeline; returns `false` at once if there is none.
    pub async fn ended(lifeline: &mut Option<Self>) -> bool {
        match lifeline {
            Some(Self(cut)) => {
                // An error means the end too.
                let _ = cut.await;
                true
            }
            None => false,
        }
    }
}
