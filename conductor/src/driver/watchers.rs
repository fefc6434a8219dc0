//! Watchers of flows. A watcher that is behind, or gone, is dropped; it asks for the whole status
//! again.

use std::collections::HashMap;

use orchestra_model::{FlowId, status::Event};
use tokio::sync::mpsc::Sender;

/// Below so many watchers the gone ones are not looked for.
const FEW: usize = 64;

/// The watchers of all living flows.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    flows: HashMap<FlowId, Vec<Sender<Event>>>,
    watchers: usize,
    /// At so many watchers the gone ones are removed.
    tidy_at: usize,
}

impl Watchers {
    /// Adds a watcher. Gone ones are removed at the latest when there are twice as many.
    pub(super) fn add(&mut self, flow: FlowId, watcher: Sender<Event>) {
        if self.watchers >= self.tidy_at.max(FEW) {
            self.flows.retain(|_, watchers| {
                watchers.retain(|watcher| !watcher.is_closed());
                !watchers.is_empty()
            });
            self.watchers = self.flows.values().map(Vec::len).sum();
            self.tidy_at = 2 * self.watchers;
        }
        self.flows.entry(flow).or_default().push(watcher);
        self.watchers += 1;
    }

    /// Tells the watchers of a flow an event.
    pub(super) fn tell(&mut self, event: &Event) {
        let flow = event.flow();
        let Some(watchers) = self.flows.get_mut(&flow) else { return };
        let before = watchers.len();
        watchers.retain(|watcher| watcher.try_send(event.clone()).is_ok());
        self.watchers -= before - watchers.len();
        if watchers.is_empty() {
            self.flows.remove(&flow);
        }
    }

    /// Drops the watchers of a flow that ended, because they were told everything.
    pub(super) fn end(&mut self, flow: FlowId) {
        self.watchers -= self.flows.remove(&flow).map_or(0, |watchers| watchers.len());
    }
}

#[cfg(test)]
mod tests {
    use orchestra_model::FlowState;
    use tokio::sync::mpsc;

    use super::*;

    fn event(flow: u64) -> Event {
        Event::Flow { flow: FlowId(flow), state: FlowState::Running }
    }

    #[test]
    fn each_flow_has_its_own() {
        let mut all = Watchers::default();
        let (one, mut first) = mpsc::channel(8);
        let (two, mut second) = mpsc::channel(8);
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
        let (slow, mut behind) = mpsc::channel(1);
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
        let (stays, _kept) = mpsc::channel(1);
        all.add(FlowId(1), stays);
        for n in 0..10_000 {
            all.add(FlowId(n % 7), mpsc::channel(1).0);
            assert!(all.watchers <= 2 * FEW, "{}", all.watchers);
            let there: usize = all.flows.values().map(Vec::len).sum();
            assert_eq!(there, all.watchers);
        }
        assert!(all.flows[&FlowId(1)].iter().any(|watcher| !watcher.is_closed()));
    }
}
