//! When flows begin that wait for a moment, or for the end of another flow.

use orchestra_model::{
    FlowId, FlowState, JobState,
    record::FlowRecord,
    start::{After, Start},
};

use super::{Flow, Reference};

impl Flow {
    /// Whether nothing of it has begun, because it waits.
    pub(crate) fn waits_to_begin(&self) -> bool {
        let mut first = self.slots[0].iter();
        !self.start.is_now() && first.all(|job| job.state == JobState::Pending)
    }

    /// Whether the flow that it comes after has ended otherwise than it had to.
    pub(super) fn never_begins(&self) -> bool {
        let ended = self.start.after.zip(self.predecessor);
        ended.is_some_and(|(after, ended)| !after.end.is_met_by(ended))
    }
}

impl Reference {
    /// Whether everything has come that a flow waits for before it begins.
    pub(super) fn may_begin(&self, flow: &Flow) -> bool {
        let Start { at, after } = flow.start;
        let is_over = |after: After| {
            let ended = flow.predecessor.or_else(|| self.flows.get(&after.flow).map(|f| f.state));
            ended.is_some_and(|ended| after.end.is_met_by(ended))
        };
        after.is_none_or(is_over) && at.is_none_or(|at| at <= self.now)
    }

    /// How the flow ended that another one comes after stays what is on record of it.
    pub(super) fn check_predecessor(&self, record: &FlowRecord) {
        let (id, Some(flow)) = (record.id, self.flows.get(&record.id)) else { return };
        match (flow.predecessor, record.predecessor) {
            (before, now) if before == now => {}
            (None, Some(ended)) => {
                let other = flow.start.after.map(|after| after.flow);
                let other = other.unwrap_or_else(|| panic!("flow {id} comes after none"));
                let is = self.flows.get(&other).map(|other| other.state);
                let is_end = is == Some(ended) && ended.is_final();
                assert!(is_end, "flow {id} comes after {other}, which is {is:?} and not {ended}");
            }
            (before, now) => panic!("flow {id} came after {before:?}, and now after {now:?}"),
        }
    }

    /// A flow that has not begun waits for something that is still to come. Returns how it is told.
    pub(super) fn check_waiting(&self, id: FlowId, flow: &Flow) -> FlowState {
        assert!(!flow.cancelled, "flow {id} is cancelled and waits to begin");
        assert!(!self.may_begin(flow), "flow {id} could begin");
        assert!(!flow.never_begins(), "flow {id} waits in vain");
        if let Some(after) = flow.start.after {
            let is = self.flows.get(&after.flow).map(|other| other.state);
            let ended = is.filter(|state| state.is_final());
            let told = flow.predecessor;
            assert!(ended.is_none() || told == ended, "flow {id} does not know that {ended:?}");
        }
        if flow.paused { FlowState::Paused } else { FlowState::Pending }
    }
}
