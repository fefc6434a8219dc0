//! Acknowledgements that wait for company.
//!
//! They are in nobody's way: all that a player does with one is to forget what it has kept. A
//! message of its own costs as much as an order does, so they go along with whatever the player is
//! told next, and by themselves only if nothing comes for a while. Until then a crash makes the
//! player repeat a report, no more.

use std::{collections::VecDeque, time::Duration};

use orchestra_flow::SessionId;
use tokio::time::Instant;

/// How long they wait at least, where nothing comes: a busy player's next order mostly does.
const LEAST: Duration = Duration::from_secs(1);
/// And at most. In between those that wait are sent many at once, so that the driver is not woken up
/// for each of them.
const MOST: Duration = Duration::from_secs(2);

/// Most that are sent before somebody else has a turn.
const TURN: usize = 512;

/// Sessions in whose outboxes some wait. One that has ended since has sent them, or lost its
/// player, which will then repeat what it reported.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// Oldest first.
    sessions: VecDeque<(Instant, SessionId)>,
}

impl Lingering {
    /// The first one waits there since now.
    pub(super) fn add(&mut self, now: Instant, session: SessionId) {
        self.sessions.push_back((now, session));
    }

    /// When somebody has waited long enough; `None` while nobody waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.sessions.front().map(|(since, _)| *since + MOST)
    }

    /// Takes out some of those who are to be sent, and since when they wait; nobody while nothing is
    /// due.
    pub(super) fn take_due(
        &mut self,
        now: Instant,
    ) -> impl Iterator<Item = (Instant, SessionId)> + use<> {
        let is_due = self.due().is_some_and(|due| due <= now);
        let count = self.sessions.partition_point(|(since, _)| is_due && *since + LEAST <= now);
        let count = count.min(TURN);
        self.sessions.drain(..count).collect::<Vec<_>>().into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_longer_than_the_most_and_those_who_go_together_have_waited_the_least() {
        let start = Instant::now();
        // In fiftieths of the most.
        let tick = MOST / 50;
        let at = |ticks: u32| start + tick * ticks;
        let mut lingering = Lingering::default();
        assert_eq!(lingering.due(), None);
        let (mut now, mut gone) = (0, Vec::new());
        for (session, since) in (1..).zip([0, 3, 24, 26, 26, 90, 300]) {
            while lingering.due().is_some_and(|due| due <= at(since)) {
                now = (lingering.due().unwrap() - start).div_duration_f64(tick).round() as u32;
                gone.extend(lingering.take_due(at(now)).map(|(_, session)| (now, session.0)));
            }
            assert_eq!(lingering.take_due(at(since)).count(), 0, "{now}");
            lingering.add(at(since), SessionId(session));
        }
        assert_eq!(gone, [(50, 1), (50, 2), (50, 3), (76, 4), (76, 5), (140, 6)]);
        assert_eq!(lingering.due(), Some(at(350)));
    }
}
