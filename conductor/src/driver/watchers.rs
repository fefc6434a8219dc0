//! Watchers of flows. A watcher that is behind, or gone, is dropped; it asks for the whole status
//! again.
//!
//! Most watchers are people and scripts that wait, hundreds of them for one flow: what they would not
//! read is not given to them.

use std::collections::{HashMap, HashSet};

use orchestra_model::{FlowId, JobId, status::Event};
use tokio::sync::mpsc::Sender;

/// Below so many watchers the gone ones are not looked for.
const FEW: usize = 64;

/// Somebody who watches a flow.
#[derive(Debug)]
pub(crate) struct Watcher {
    pub(crate) events: Sender<Event>,
    /// Whether it is told only of tasks in trouble, beside jobs and flow.
    pub(crate) quiet: bool,
}

/// The watchers of one flow.
#[derive(Debug, Default)]
struct OfFlow {
    watchers: Vec<Watcher>,
    /// Tasks of which it was told that their player is absent: the quiet ones hear what comes next.
    absent: HashSet<(JobId, u32)>,
}

impl OfFlow {
    /// Whether quiet watchers are told an event.
    fn matters(&mut self, event: &Event) -> bool {
        let Event::Task { job, index, state, absence, .. } = event else { return true };
        let was_absent = match absence {
            Some(_) => !self.absent.insert((*job, *index)),
            None => self.absent.remove(&(*job, *index)),
        };
        was_absent || absence.is_some() || state.is_trouble()
    }
}

/// The watchers of all living flows.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    flows: HashMap<FlowId, OfFlow>,
    watchers: usize,
    /// At so many watchers the gone ones are removed.
    tidy_at: usize,
}

impl Watchers {
    /// Adds a watcher. Gone ones are removed at the latest when there are twice as many.
    pub(super) fn add(&mut self, flow: FlowId, watcher: Watcher) {
        if self.watchers >= self.tidy_at.max(FEW) {
            self.flows.retain(|_, OfFlow { watchers, .. }| {
                watchers.retain(|watcher| !watcher.events.is_closed());
                !watchers.is_empty()
            });
            self.watchers = self.flows.values().map(|flow| flow.watchers.len()).sum();
            self.tidy_at = 2 * self.watchers;
        }
        self.flows.entry(flow).or_default().watchers.push(watcher);
        self.watchers += 1;
    }

    /// Tells the watchers of a flow an event.
    pub(super) fn tell(&mut self, event: &Event) {
        let flow = event.flow();
        let Some(of_flow) = self.flows.get_mut(&flow) else { return };
        let matters = of_flow.matters(event);
        let watchers = &mut of_flow.watchers;
        let before = watchers.len();
        watchers.retain(|watcher| {
            let is_told = matters || !watcher.quiet;
            !is_told || watcher.events.try_send(event.clone()).is_ok()
        });
        self.watchers -= before - watchers.len();
        if watchers.is_empty() {
            self.flows.remove(&flow);
        }
    }

    /// Drops the watchers of a flow that ended, because they were told everything.
    pub(super) fn end(&mut self, flow: FlowId) {
        self.watchers -= self.flows.remove(&flow).map_or(0, |flow| flow.watchers.len());
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::{FlowState, TaskState, status::Absence};
    use tokio::sync::mpsc;

    use super::*;

    fn event(flow: u64) -> Event {
        Event::Flow { flow: FlowId(flow), state: FlowState::Running }
    }

    /// Somebody who is told everything, with room for so many events.
    fn watcher(room: usize) -> (Watcher, mpsc::Receiver<Event>) {
        let (events, heard) = mpsc::channel(room);
        (Watcher { events, quiet: false }, heard)
    }

    fn task(index: u32, state: TaskState, absence: Option<Absence>) -> Event {
        Event::Task {
            job: JobId { flow: FlowId(1), slot: 1, job: 1 },
            index,
            host: None,
            state,
            attempt: 1,
            exit: None,
            signal: None,
            detail: None,
            before: None,
            absence,
            change: 0,
        }
    }

    #[test]
    fn who_waits_is_told_of_trouble_and_of_players_that_go_and_come() {
        use TaskState::{Cancelled, Failed, Lost, Ok, Running};
        let mut all = Watchers::default();
        let (events, mut heard) = mpsc::channel(64);
        all.add(FlowId(1), Watcher { events, quiet: true });
        let (other, mut everything) = watcher(64);
        all.add(FlowId(1), other);
        let away = Some(Absence { since: None, given_up: None });
        let told = [
            task(1, Failed, None),
            task(2, Running, away),
            task(2, Running, None),
            task(3, Running, away),
            task(3, Ok, None),
            task(4, Lost, None),
            event(1),
        ];
        let not_told = [
            task(1, Running, None),
            task(5, Running, None),
            task(2, Ok, None),
            task(3, Running, None),
            task(6, Cancelled, None),
        ];
        for event in not_told[..2].iter().chain(&told).chain(&not_told[2..]) {
            all.tell(event);
        }
        let of = |heard: &mut mpsc::Receiver<Event>| -> Vec<Event> {
            std::iter::from_fn(|| heard.try_recv().ok()).collect()
        };
        assert_eq!(of(&mut heard), told);
        assert_eq!(of(&mut everything).len(), told.len() + not_told.len());
    }

    #[test]
    fn each_flow_has_its_own() {
        let mut all = Watchers::default();
        let (one, mut first) = watcher(8);
        let (two, mut second) = watcher(8);
        all.add(FlowId(1), one);
        all.add(FlowId(2), two);
        all.tell(&event(1));
        all.end(FlowId(1));
        assert_eq!(first.try_recv().unwrap(), event(1));
        assert!(first.is_closed());
        assert!(second.try_recv().is_err() && !second.is_closed());
    }

    #[test]
    fn one_that_is_behind_is_let_go() {
        let mut all = Watchers::default();
        let (slow, mut behind) = watcher(1);
        all.add(FlowId(1), slow);
        all.tell(&event(1));
        assert!(!behind.is_closed());
        all.tell(&event(1));
        assert!(behind.is_closed());
        assert!(behind.try_recv().is_ok(), "what it was told before is kept");
        assert_eq!(all.watchers, 0);
    }

    #[test]
    fn those_that_are_gone_do_not_pile_up() {
        let mut all = Watchers::default();
        let (stays, _kept) = watcher(1);
        all.add(FlowId(1), stays);
        for n in 0..10_000 {
            all.add(FlowId(n % 7), watcher(1).0);
            assert!(all.watchers <= 2 * FEW, "{}", all.watchers);
            let there: usize = all.flows.values().map(|flow| flow.watchers.len()).sum();
            assert_eq!(there, all.watchers);
        }
        assert!(all.flows[&FlowId(1)].watchers.iter().any(|watcher| !watcher.events.is_closed()));
    }
}
