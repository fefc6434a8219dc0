//! When a flow begins that waits for a moment or for the end of another flow.
//!
//! ```text
//! stored ─→ waits for the end of a flow ─→ waits for a moment ─→ its first slot begins
//!              │                               ├─────────────────→ is cancelled
//!              │                               └─ denied by then ─→ is cancelled by the conductor
//!              ├─ that flow ended otherwise than it has to ──────→ all of it is skipped: failed
//!              └─────────────────────────────────────────────────→ is cancelled
//! ```
//!
//! How that flow ended is written before anything follows from it, because the store may forget the
//! flow while this one waits on for its moment. A flow can only wait for one that was submitted
//! before it, so that no two wait for each other.

use std::{collections::BTreeMap, sync::Arc};

use orchestra_model::{
    Asker, FlowId, FlowState, Timestamp, limits,
    start::{After, StartStatus},
    time::Millis,
};

use crate::{
    Engine,
    answer::Rejection,
    rules::inconsistency::gone,
    tables::{deadlines::Deadline, flow::Flow},
};

impl Engine {
    /// Whether a submitted flow can wait for what it is to wait for.
    pub(crate) fn check_start(
        &self,
        start: &orchestra_model::start::Start,
    ) -> Result<(), Rejection> {
        if let Some(After { flow, .. }) = start.after
            && self.state_of(flow).is_none()
        {
            return Err(Rejection::NothingToComeAfter(flow));
        }
        let latest = self.now.after(Millis(limits::DURATION_MS));
        match start.at {
            Some(at) if at > latest => Err(Rejection::BeginsTooLate),
            _ => Ok(()),
        }
    }

    /// Where a flow is that the store knows.
    pub(crate) fn state_of(&self, id: FlowId) -> Option<FlowState> {
        let ended = || self.ended.get(&id).map(|ended| ended.state);
        self.flows.get(id).map(Flow::state).or_else(ended)
    }

    /// Begins a flow that waits, if what it waits for has come; else sees to it that the flow is
    /// looked at again when it comes.
    pub(crate) fn look_at_start(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id).filter(|flow| flow.waits_to_begin()) else {
            return gone();
        };
        let StartStatus { start, ended } = flow.awaited();
        if flow.cancelled_by().is_some() {
            return self.end_before_it_begins(id);
        }
        let ended = match (start.after, ended) {
            (None, ended) | (Some(_), ended @ Some(_)) => ended,
            (Some(after), None) => match self.state_of(after.flow) {
                Some(state) if state.is_final() => {
                    self.note_predecessor(id, state);
                    Some(state)
                }
                Some(_) => return self.starts.await_end(id, after.flow),
                None => return self.inconsistent(id, "it comes after a flow that is not known"),
            },
        };
        let is_met = start.after.zip(ended).is_none_or(|(after, ended)| after.end.is_met_by(ended));
        match start.at.filter(|at| *at > self.now) {
            _ if !is_met => self.end_before_it_begins(id),
            Some(at) => self.deadlines.insert(at, Deadline::Begin(id)),
            None => match self.denied_starts.remove(&id) {
                Some(why) => self.cancel_at_start(id, why),
                None => {
                    self.begin(id);
                    self.begin_slot(id);
                }
            },
        }
    }

    /// Says which of the flows that wait are cancelled instead of begun when their time comes, and why:
    /// whoever submitted them may not have that done any more. All others begin. It is to be said again
    /// whenever that may have changed, and before [`Engine::resume`].
    pub fn deny_starts(&mut self, denied: BTreeMap<FlowId, Arc<str>>) {
        self.denied_starts = denied;
    }

    /// Cancels a flow whose time has come.
    fn cancel_at_start(&mut self, id: FlowId, why: Arc<str>) {
        let Some(flow) = self.flows.get_mut(id) else { return gone() };
        flow.cancel(Asker::Keeper, Some(why));
        // Before what follows from it, as whenever a flow is cancelled.
        self.update_flow(id);
        self.close_all(id);
        self.end_before_it_begins(id);
    }

    /// Writes how the flow ended that a flow comes after.
    fn note_predecessor(&mut self, id: FlowId, state: FlowState) {
        let record = self.flows.get_mut(id).map(|flow| {
            flow.note_predecessor(state);
            flow.record()
        });
        record.into_iter().for_each(|record| self.put(record));
    }

    /// Ends a flow of which nothing has begun: nothing of it ever will.
    pub(crate) fn end_before_it_begins(&mut self, id: FlowId) {
        let Some(flow) = self.flows.get(id) else { return gone() };
        let StartStatus { start, .. } = flow.awaited();
        self.denied_starts.remove(&id);
        if let Some(after) = start.after {
            self.starts.forget(id, after.flow);
        }
        if let Some(at) = start.at {
            self.deadlines.remove(at, Deadline::Begin(id));
        }
        self.begin(id);
        self.end_flow(id);
    }

    fn begin(&mut self, id: FlowId) {
        if let Some(flow) = self.flows.get_mut(id) {
            flow.begin();
        }
    }

    /// Looks at the flows that waited for one that has ended.
    pub(crate) fn look_at_starts(&mut self) {
        while let Some(id) = self.starts.pop_due() {
            self.look_at_start(id);
            self.evaluate_changed();
        }
    }

    /// When a flow that has not begun does so by itself, if that is known.
    pub(crate) fn begins_at(&self, flow: &Flow) -> Option<Timestamp> {
        let StartStatus { start, ended } = flow.awaited();
        start.at.filter(|_| start.after.is_none() || ended.is_some())
    }
}
