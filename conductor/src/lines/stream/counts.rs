//! Counts the streams of each player, so that a malicious one occupies no more than a few
//! snapshots.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use orchestra_model::HostName;

use crate::declined::{Declined, Ground};

/// Most streams of one player: its session, and new streams that are not accepted yet. Each may
/// hold a message of the largest size.
const MOST: usize = 8;

/// The streams of all players.
#[derive(Clone, Debug, Default)]
pub(in crate::lines) struct StreamCounts(Arc<Mutex<HashMap<HostName, usize>>>);

/// One stream, as long as this is kept.
#[derive(Debug)]
pub(in crate::lines) struct CountedStream {
    host: HostName,
    all: StreamCounts,
}

impl StreamCounts {
    /// Counts one more stream of a player; declines it if the player has too many.
    pub(in crate::lines) fn enter(&self, host: &HostName) -> Result<CountedStream, Declined> {
        let mut streams = self.lock();
        let count = streams.entry(host.clone()).or_default();
        if *count >= MOST {
            let message = format!("{host} has {MOST} streams; it needs one");
            return Err(Declined::new(Ground::TooMuch, message));
        }
        *count += 1;
        Ok(CountedStream { host: host.clone(), all: self.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostName, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CountedStream {
    fn drop(&mut self) {
        let mut streams = self.all.lock();
        if let Some(count) = streams.get_mut(&self.host) {
            *count -= 1;
            if *count == 0 {
                streams.remove(&self.host);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_player_has_so_many_and_no_more_and_nothing_remains() {
        let streams = StreamCounts::default();
        let host = |name| HostName::new(name).unwrap();
        let mut kept: Vec<CountedStream> =
            (0..MOST).map(|_| streams.enter(&host("db1")).unwrap()).collect();
        assert!(streams.enter(&host("db1")).is_err());
        kept.push(streams.enter(&host("db2")).unwrap());
        kept.remove(0);
        kept.push(streams.enter(&host("db1")).unwrap());
        assert!(streams.enter(&host("db1")).is_err());
        kept.clear();
        assert!(streams.lock().is_empty());
    }
}
