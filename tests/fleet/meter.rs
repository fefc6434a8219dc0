//! Counts what all players do, and wakes whoever waits for a number.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{sync::Notify, time::timeout};

use crate::trouble::{Result, Trouble};

/// A count that goes up, and down where that makes sense.
#[derive(Debug)]
pub(crate) struct Meter {
    count: AtomicU64,
    /// `u64::MAX` where nobody waits.
    goal: AtomicU64,
    reached: Notify,
    reached_at: Mutex<Option<Instant>>,
}

impl Default for Meter {
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            goal: AtomicU64::new(u64::MAX),
            reached: Notify::new(),
            reached_at: Mutex::new(None),
        }
    }
}

impl Meter {
    /// One more.
    pub(crate) fn up(&self) {
        let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if count >= self.goal.load(Ordering::SeqCst) {
            self.note();
        }
    }

    /// One less.
    pub(crate) fn down(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    /// Waits until there are so many, and returns when that was. One waiter at a time.
    pub(crate) async fn reach(&self, goal: u64, limit: Duration, what: &str) -> Result<Instant> {
        {
            // Whoever is about to note an earlier goal looks again.
            let mut at = self.at();
            *at = None;
            self.goal.store(goal, Ordering::SeqCst);
        }
        if self.count() >= goal {
            self.note();
        }
        let reached = async {
            loop {
                if let Some(at) = *self.at() {
                    return at;
                }
                self.reached.notified().await;
            }
        };
        let reached = timeout(limit, reached).await;
        self.goal.store(u64::MAX, Ordering::SeqCst);
        reached.map_err(|_| {
            let count = self.count();
            Trouble::new(format!("waited {limit:?} in vain for {goal} {what}: there are {count}"))
        })
    }

    fn note(&self) {
        let mut at = self.at();
        if self.count() >= self.goal.load(Ordering::SeqCst) {
            at.get_or_insert_with(Instant::now);
            self.reached.notify_one();
        }
    }

    fn at(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.reached_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_learns_when_it_was() {
        let meter = Meter::default();
        meter.up();
        let second = Duration::from_secs(1);
        let ((), reached) = tokio::join!(
            async { (0..5).for_each(|_| meter.up()) },
            meter.reach(6, second, "things"),
        );
        assert!(reached.unwrap() <= Instant::now());
        meter.down();
        assert_eq!(meter.count(), 5);
        assert!(meter.reach(5, second, "things").await.is_ok(), "there are as many already");
        let never = meter.reach(7, Duration::from_millis(1), "things").await.unwrap_err();
        assert!(never.to_string().ends_with("7 things: there are 5"), "{never}");
    }
}
