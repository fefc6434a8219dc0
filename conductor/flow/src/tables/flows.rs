//! The living flows, by number. Every event looks some dozens of times for its flow, so that this
//! must cost the same however many live.
//!
//! Numbers are given one after the other, so the flows lie in pages of so many successive numbers,
//! of which most often none is missing. A page in which no flow lives is dropped: one that goes on
//! for ever, among millions that have ended, keeps one page.

use orchestra_model::{FlowId, JobId};

use crate::tables::{flow::Flow, job::Job};

/// The living flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flows {
    /// In order; in each of them a flow lives.
    pages: Vec<Page>,
    len: usize,
}

/// The living flows of successive numbers.
#[derive(Clone, Debug)]
struct Page {
    number: u64,
    living: usize,
    flows: Box<[Option<Box<Flow>>; PAGE as usize]>,
}

/// Flow numbers of a page.
const PAGE: u64 = 64;

impl Flows {
    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        let page = self.find(id).ok()?;
        self.pages[page].flows[place(id)].as_deref()
    }

    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let page = self.find(id).ok()?;
        self.pages[page].flows[place(id)].as_deref_mut()
    }

    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        self.get(id.flow)?.job(id)
    }

    pub(crate) fn job_mut(&mut self, id: JobId) -> Option<&mut Job> {
        self.get_mut(id.flow)?.job_mut(id)
    }

    pub(crate) fn contains(&self, id: FlowId) -> bool {
        self.get(id).is_some()
    }

    /// Takes a flow in. Its number is not there yet.
    pub(crate) fn insert(&mut self, flow: Flow) {
        let id = flow.id;
        let at = self.find(id).unwrap_or_else(|at| {
            let flows = Box::new([const { None }; PAGE as usize]);
            self.pages.insert(at, Page { number: id.0 / PAGE, living: 0, flows });
            at
        });
        let page = &mut self.pages[at];
        let before = page.flows[place(id)].replace(Box::new(flow));
        debug_assert!(before.is_none(), "flow {id} is there already");
        page.living += 1;
        self.len += 1;
    }

    pub(crate) fn remove(&mut self, id: FlowId) -> Option<Flow> {
        let at = self.find(id).ok()?;
        let page = &mut self.pages[at];
        let flow = page.flows[place(id)].take()?;
        page.living -= 1;
        if page.living == 0 {
            self.pages.remove(at);
        }
        self.len -= 1;
        Some(*flow)
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All of them, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow> {
        let places = self.pages.iter().flat_map(|page| page.flows.iter());
        places.filter_map(Option::as_deref)
    }

    /// The same, to be changed.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Flow> {
        let places = self.pages.iter_mut().flat_map(|page| page.flows.iter_mut());
        places.filter_map(Option::as_deref_mut)
    }

    /// Their numbers, which rise.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FlowId> {
        self.iter().map(|flow| flow.id)
    }

    /// The page that a flow would be in; where there is none, its place among the others.
    fn find(&self, id: FlowId) -> Result<usize, usize> {
        let number = id.0 / PAGE;
        let first = self.pages.first().map_or(0, |page| page.number);
        let if_none_is_missing = usize::try_from(number.wrapping_sub(first)).unwrap_or(usize::MAX);
        match self.pages.get(if_none_is_missing) {
            Some(page) if page.number == number => Ok(if_none_is_missing),
            _ => self.pages.binary_search_by_key(&number, |page| page.number),
        }
    }
}

/// The place of a flow in its page.
fn place(id: FlowId) -> usize {
    (id.0 % PAGE) as usize
}

#[cfg(test)]
mod tests {
    use orchestra_model::{AudienceName, FlowState, Timestamp, delivery::RequestId};

    use super::*;
    use crate::tables::{flow::Tally, sequence::Sequence};

    fn flow(id: u64) -> Flow {
        Flow {
            id: FlowId(id),
            request: RequestId([0; 16]),
            audience: AudienceName::new("alice").unwrap(),
            name: None,
            state: FlowState::Running,
            submitted_at: Timestamp(0),
            ended_at: None,
            cancelled_by: None,
            paused_by: None,
            retry_of: None,
            request_mac: None,
            slots: Vec::new(),
            slot: 0,
            tally: Tally::default(),
            changes: 0,
            sequence: Sequence::default(),
        }
    }

    fn ids(flows: &Flows) -> Vec<u64> {
        flows.ids().map(|id| id.0).collect()
    }

    #[test]
    fn flows_are_found_by_their_numbers_and_listed_in_order() {
        let mut flows = Flows::default();
        for id in [1_000_000, 3, 130, 64, 63, FlowId::MAX.0] {
            flows.insert(flow(id));
        }
        assert_eq!(ids(&flows), [3, 63, 64, 130, 1_000_000, FlowId::MAX.0]);
        for id in [3, 63, 64, 130, 1_000_000, FlowId::MAX.0] {
            assert_eq!(flows.get(FlowId(id)).map(|flow| flow.id.0), Some(id));
            assert_eq!(flows.get_mut(FlowId(id)).map(|flow| flow.id.0), Some(id));
        }
        for id in [0, 4, 128, 999_999, 2_000_000, u64::MAX] {
            assert!(!flows.contains(FlowId(id)) && flows.remove(FlowId(id)).is_none());
        }
        assert_eq!((flows.len(), flows.iter_mut().count()), (6, 6));
    }

    #[test]
    fn an_old_flow_keeps_no_room_for_those_that_have_ended() {
        let mut flows = Flows::default();
        for id in 1..10_000 {
            flows.insert(flow(id));
            assert!(id < 3 || flows.remove(FlowId(id - 1)).is_some());
        }
        assert_eq!((ids(&flows), flows.pages.len()), (vec![1, 9_999], 2));
        assert!(flows.remove(FlowId(1)).is_some() && flows.remove(FlowId(9_999)).is_some());
        assert_eq!((flows.len(), flows.pages.len()), (0, 0));
    }
}
