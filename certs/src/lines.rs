//! Log lines that others can cause as often as they like. So many a second are written, and of the
//! rest the number. More would hide other lines of the log.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::{Duration, Instant, sleep_until};

/// How many lines of one kind are written in a second.
const WRITTEN: u32 = 20;
const SECOND: Duration = Duration::from_secs(1);

/// Writes lines of one kind at a bounded rate. Clones share the bound.
#[derive(Clone, Debug)]
pub struct Lines(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Writes how many further lines there would have been.
    rest: fn(u64),
    since: Mutex<Since>,
}

/// Counts of the last second.
#[derive(Debug, Default)]
struct Since {
    until: Option<Instant>,
    written: u32,
    withheld: u64,
}

impl Lines {
    /// `rest` writes the number of withheld lines.
    pub fn new(rest: fn(u64)) -> Self {
        Self(Arc::new(Inner { rest, since: Mutex::default() }))
    }

    /// Writes a line, or counts it. Must be called within a tokio runtime, where a task writes the
    /// count once the second is over.
    pub fn write(&self, line: impl FnOnce()) {
        let mut since = self.0.lock();
        let now = Instant::now();
        if since.until.is_none_or(|until| until <= now) && since.withheld == 0 {
            *since = Since { until: Some(now + SECOND), ..Since::default() };
        }
        if since.written < WRITTEN {
            since.written += 1;
            drop(since);
            return line();
        }
        since.withheld += 1;
        if let (1, Some(until)) = (since.withheld, since.until) {
            let inner = Arc::clone(&self.0);
            tokio::spawn(async move {
                sleep_until(until).await;
                let withheld = std::mem::take(&mut inner.lock().withheld);
                (inner.rest)(withheld);
            });
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Since> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    #[test]
    fn what_is_too_much_is_counted_and_told_when_the_second_is_over() {
        static REST: AtomicU64 = AtomicU64::new(0);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let written = AtomicU64::new(0);
        runtime.block_on(async {
            let lines = Lines::new(|rest| REST.store(rest, Ordering::Relaxed));
            let line = || written.store(written.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            for _ in 0..100 {
                lines.write(line);
            }
            while REST.load(Ordering::Relaxed) == 0 {
                tokio::task::yield_now().await;
            }
            lines.write(line);
        });
        assert_eq!(REST.load(Ordering::Relaxed), 80);
        assert_eq!(written.load(Ordering::Relaxed), 21);
    }
}
