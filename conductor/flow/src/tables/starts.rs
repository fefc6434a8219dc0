//! Flows that have not begun, by the flow whose end they wait for.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use orchestra_model::FlowId;

/// Who waits for whose end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Starts {
    /// The flows that wait for the end of each living flow.
    after: BTreeMap<FlowId, BTreeSet<FlowId>>,
    /// Flows whose wait for another one is over, to be looked at.
    due: VecDeque<FlowId>,
}

impl Starts {
    /// Notes that `flow` waits for the end of `other`.
    pub(crate) fn await_end(&mut self, flow: FlowId, other: FlowId) {
        self.after.entry(other).or_default().insert(flow);
    }

    /// Notes that `flow` waits for the end of `other` no more.
    pub(crate) fn forget(&mut self, flow: FlowId, other: FlowId) {
        if let Some(waiting) = self.after.get_mut(&other) {
            waiting.remove(&flow);
            if waiting.is_empty() {
                self.after.remove(&other);
            }
        }
    }

    /// Notes that a flow has ended: those that wait for it are to be looked at.
    pub(crate) fn note_end(&mut self, flow: FlowId) {
        self.due.extend(self.after.remove(&flow).unwrap_or_default());
    }

    /// Takes out a flow whose wait for another one is over.
    pub(crate) fn pop_due(&mut self) -> Option<FlowId> {
        self.due.pop_front()
    }

    pub(crate) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }

    /// Whether `flow` waits for the end of `other`.
    pub(crate) fn awaits(&self, flow: FlowId, other: FlowId) -> bool {
        self.after.get(&other).is_some_and(|waiting| waiting.contains(&flow))
    }

    /// How many flows wait for the end of another one.
    pub(crate) fn len(&self) -> usize {
        self.after.values().map(BTreeSet::len).sum()
    }
}
