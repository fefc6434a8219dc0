//! Acknowledgements that wait for something else that goes to the same player.
//!
//! An acknowledgement is not urgent: by it a player only forgets what it has kept. A message of its
//! own would cost as much as an order does. So acknowledgements go along with the next thing that
//! the player is told, and by themselves only if nothing comes for a while. A crash before that
//! only makes the player repeat a report.

use std::{collections::VecDeque, time::Duration};

use orchestra_flow::SessionId;
use tokio::time::Instant;

/// How long an acknowledgement waits at least. For a busy player the next order mostly comes within
/// that time.
const LEAST: Duration = Duration::from_secs(1);
/// How long an acknowledgement waits at most. Between the two times many are sent at once, so that
/// the driver does not wake up for each.
const MOST: Duration = Duration::from_secs(2);

/// Most sessions whose acknowledgements are sent in one turn.
const TURN: usize = 512;

/// Sessions in whose outboxes acknowledgements wait. A session that has ended since has sent them,
/// or lost its player, which will then repeat its reports.
#[derive(Debug, Default)]
pub(super) struct Lingering {
    /// Oldest first.
    sessions: VecDeque<(Instant, SessionId)>,
}

impl Lingering {
    /// Notes that in this session's outbox the first acknowledgement waits since `now`.
    pub(super) fn add(&mut self, now: Instant, session: SessionId) {
        self.sessions.push_back((now, session));
    }

    /// Returns when the next session is due; `None` while none waits.
    pub(super) fn due(&self) -> Option<Instant> {
        self.sessions.front().map(|(since, _)| *since + MOST)
    }

    /// Takes out some of the sessions that are due, and since when they wait; none while nothing is
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
        // A tick is a fiftieth of the longest wait.
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
