//! Files are read on a thread of their own, which is awaited for a bounded time: a mount that hangs
//! may block its readers for hours, and must not block others. A thread that hangs is left behind;
//! it ends when the mount answers or is gone.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{sync::oneshot, time::timeout};

/// How long reading may take: a hundred times what the files of 18,000 players take from a local
/// disk.
const PATIENCE: Duration = Duration::from_secs(20);
/// Most threads that may hang. Each is one attempt, and more would be of no use.
const MOST: usize = 8;

/// Reads files on threads. Clones share the count of threads that hang.
#[derive(Clone, Debug)]
pub(crate) struct Reading {
    threads: Arc<AtomicUsize>,
    patience: Duration,
}

impl Default for Reading {
    fn default() -> Self {
        Self { threads: Arc::default(), patience: PATIENCE }
    }
}

/// Why nothing was read.
#[derive(Debug, thiserror::Error)]
pub enum Unread {
    /// Reading took longer than this, and goes on.
    Slow(Duration),
    /// So many earlier attempts have not ended.
    Stuck(usize),
    /// There is no thread, or it has panicked.
    System(#[source] io::Error),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const WHY: &str = "does one of them lie on a mount that hangs?";
        match self {
            Self::Slow(waited) => write!(
                f,
                "the configuration's files were not read within {} s; {WHY}",
                waited.as_secs()
            ),
            Self::Stuck(threads) => write!(
                f,
                "{threads} attempts to read the configuration's files have not ended; {WHY}"
            ),
            Self::System(_) => f.write_str("the configuration's files were not read"),
        }
    }
}

impl Reading {
    /// Runs `read`, which reads files, on a thread.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Unread> {
        let before = self.threads.fetch_add(1, Ordering::Relaxed);
        let at_work = AtWork(Arc::clone(&self.threads));
        if before >= MOST {
            return Err(Unread::Stuck(before));
        }
        let (done, read) = oneshot::channel();
        let body = move || {
            let read = work();
            drop(at_work);
            // The caller may have given up.
            let _ = done.send(read);
        };
        let named = thread::Builder::new().name("reading".to_owned());
        named.spawn(body).map_err(Unread::System)?;
        match timeout(self.patience, read).await {
            Ok(Ok(read)) => Ok(read),
            Ok(Err(_)) => Err(Unread::System(io::Error::other("the thread that reads has ended"))),
            Err(_) => Err(Unread::Slow(self.patience)),
        }
    }
}

/// Counts a thread while it reads.
struct AtWork(Arc<AtomicUsize>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_hangs_holds_nobody_for_ever() {
        let patient = Reading::default();
        let reading = Reading { patience: Duration::from_millis(5), ..patient.clone() };
        let (mount, hangs) = mpsc::channel::<()>();
        let hangs = Arc::new(std::sync::Mutex::new(hangs));
        for _ in 0..MOST {
            let hangs = Arc::clone(&hangs);
            let outcome = reading.run(move || hangs.lock().unwrap().recv()).await;
            assert!(matches!(outcome, Err(Unread::Slow(_))), "{outcome:?}");
        }
        let refused = reading.run(|| ()).await.unwrap_err();
        assert!(refused.to_string().starts_with("8 attempts"), "{refused}");
        // The mount answers again: the threads that hung end, and files can be read.
        drop(mount);
        while reading.threads.load(Ordering::Relaxed) > 0 {
            thread::yield_now();
        }
        assert_eq!(patient.run(|| 7).await.unwrap(), 7);
    }
}
