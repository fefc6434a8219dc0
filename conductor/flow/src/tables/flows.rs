//! The living flows, by number. Every event looks up its flow some dozens of times, so a look-up
//! costs the same however many flows live.
//!
//! Flow numbers are given one after the other, so the flows lie in pages: each has room for
//! [`PAGE`] successive numbers, most of which are mostly taken. A page in which no flow lives is
//! dropped, so a flow that lives long, among millions that have ended, costs one page.

use std::collections::{BTreeSet, VecDeque};

use orchestra_model::{FlowId, JobId, JobState, Timestamp, record::Record, status::Event};

use crate::tables::{
    few::Few,
    flow::Flow,
    job::{FollowUps, Job},
};

/// The living flows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flows {
    /// In the order of their numbers. In each page at least one flow lives.
    pages: Vec<Page>,
    len: usize,
    /// Jobs to evaluate: they may be doomed or over, or stuck or no longer stuck.
    changed: Few<JobId>,
    /// Jobs that have a turn, in which their next tasks may start. Each job is in it once.
    runnable: VecDeque<JobId>,
    /// Jobs whose parked tasks start as soon as their players let them. A job whose window has
    /// closed since may still be among them.
    open: Few<JobId>,
    /// Jobs that have a tree and have begun.
    trees: BTreeSet<JobId>,
}

/// The living flows of successive numbers.
#[derive(Clone, Debug)]
struct Page {
    number: u64,
    living: usize,
    flows: Box<[Option<Box<Flow>>; PAGE as usize]>,
}

/// How many successive flow numbers a page has room for. One flow keeps its page, so a page is
/// small.
const PAGE: u64 = 64;

impl Flows {
    #[inline]
    pub(crate) fn get(&self, id: FlowId) -> Option<&Flow> {
        let page = self.find(id).ok()?;
        self.pages[page].flows[place(id)].as_deref()
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, id: FlowId) -> Option<&mut Flow> {
        let page = self.find(id).ok()?;
        self.pages[page].flows[place(id)].as_deref_mut()
    }

    #[inline]
    pub(crate) fn job(&self, id: JobId) -> Option<&Job> {
        self.get(id.flow)?.job(id)
    }

    pub(crate) fn contains(&self, id: FlowId) -> bool {
        self.get(id).is_some()
    }

    // ---- changes of jobs, and what follows from them ----

    /// Changes a job, if it is alive. The change says what follows: the job gets a turn if more of
    /// it may start, and is evaluated if it may be doomed, over, stuck, or no longer stuck. Any
    /// change of a stuck job has it evaluated.
    #[inline]
    pub(crate) fn change<R>(&mut self, id: JobId, change: impl FnOnce(&mut Job) -> R) -> Option<R> {
        self.change_if(id, |_| true, change)
    }

    /// Changes a job as [`Flows::change`] does, if it is alive and `is_meant` holds for it.
    /// Otherwise nothing follows.
    #[inline]
    pub(crate) fn change_if<R>(
        &mut self,
        id: JobId,
        is_such: impl FnOnce(&Job) -> bool,
        change: impl FnOnce(&mut Job) -> R,
    ) -> Option<R> {
        let page = self.find(id.flow).ok()?;
        let flow = self.pages[page].flows[place(id.flow)].as_deref_mut()?;
        let job = flow.job_mut(id)?;
        if !is_such(job) {
            return None;
        }
        let result = change(job);
        let FollowUps { turn, evaluation, window, servers: _ } = job.take_follow_ups();
        if evaluation || job.is_stuck() {
            self.changed.insert(id);
        }
        if window && !job.window_is_open() {
            self.open.remove(id);
        }
        if turn {
            if !job.set_queued(true) {
                self.runnable.push_back(id);
            }
            self.open.insert(id);
            // Whether it is stuck is looked at again after its turn; until then its flow is not
            // stalled.
            if job.is_stuck() {
                flow.set_stuck(id, false);
            }
        }
        Some(result)
    }

    /// Moves a job to another state. Parked tasks of a running job may start, those of one that has
    /// ended may not. Returns what is to be persisted and published.
    pub(crate) fn shift_job(
        &mut self,
        id: JobId,
        to: JobState,
        now: Timestamp,
    ) -> Option<(Record, Event)> {
        let shifted = self.get_mut(id.flow)?.shift_job(id, to, now)?;
        if to == JobState::Running {
            self.queue(id);
            self.changed.insert(id);
        } else if to.is_final() {
            self.open.remove(id);
            self.trees.remove(&id);
        }
        Some(shifted)
    }

    /// Jobs that have a tree and have begun.
    pub(crate) fn trees(&self) -> &BTreeSet<JobId> {
        &self.trees
    }

    /// Notes that a job that has a tree has begun.
    pub(crate) fn note_tree(&mut self, id: JobId) {
        self.trees.insert(id);
    }

    /// Notes whether a job is stuck. Returns whether that is news.
    pub(crate) fn set_stuck(&mut self, id: JobId, stuck: bool) -> bool {
        self.get_mut(id.flow).is_some_and(|flow| flow.set_stuck(id, stuck))
    }

    /// Gives a job a turn, if it does not wait for one already.
    pub(crate) fn queue(&mut self, id: JobId) {
        self.change(id, Job::ask_for_turn);
    }

    /// Takes out the next job that has a turn. That job may have ended meanwhile.
    pub(crate) fn pop_runnable(&mut self) -> Option<JobId> {
        let id = self.runnable.pop_front()?;
        if let Some(job) = self.get_mut(id.flow).and_then(|flow| flow.job_mut(id)) {
            job.set_queued(false);
        }
        Some(id)
    }

    pub(crate) fn has_runnable(&self) -> bool {
        !self.runnable.is_empty()
    }

    pub(crate) fn runnable(&self) -> &VecDeque<JobId> {
        &self.runnable
    }

    /// Jobs whose parked tasks start as soon as their players let them. A job whose window has
    /// closed since may still be among them.
    pub(crate) fn open(&self) -> &Few<JobId> {
        &self.open
    }

    /// Lets no parked task of a job start, whatever their players let: its window is full, or
    /// something else holds the job back.
    pub(crate) fn close_window(&mut self, id: JobId) {
        self.open.remove(id);
    }

    /// Notes that a job is to be evaluated.
    pub(crate) fn note_changed(&mut self, id: JobId) {
        self.changed.insert(id);
    }

    /// Notes that each job for which `is_meant` holds is to be evaluated.
    pub(crate) fn note_all_changed(&mut self, is_meant: impl Fn(&Flow, &Job) -> bool) {
        let mut changed = std::mem::take(&mut self.changed);
        for flow in self.iter() {
            changed.extend(flow.jobs().filter(|job| is_meant(flow, job)).map(Job::id));
        }
        self.changed = changed;
    }

    /// Takes out a job that is to be evaluated.
    pub(crate) fn pop_changed(&mut self) -> Option<JobId> {
        self.changed.pop_first()
    }

    pub(crate) fn changed(&self) -> &Few<JobId> {
        &self.changed
    }

    // ---- flows ----

    /// Adds a flow. Its number must not be in the table yet.
    pub(crate) fn insert(&mut self, flow: Flow) {
        let id = flow.id();
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

    /// All living flows, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Flow> {
        let places = self.pages.iter().flat_map(|page| page.flows.iter());
        places.filter_map(Option::as_deref)
    }

    /// The numbers of all living flows, lowest first.
    pub(crate) fn ids(&self) -> impl Iterator<Item = FlowId> {
        self.iter().map(Flow::id)
    }

    /// The index of the page that a flow belongs to; `Err` with the index at which that page is
    /// missing.
    #[inline]
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

/// The index of a flow within its page.
fn place(id: FlowId) -> usize {
    (id.0 % PAGE) as usize
}

#[cfg(test)]
mod tests {
    use orchestra_model::{
        Asker, FlowState, Timestamp, delivery::RequestId, record::FlowRecord, start::Start,
    };

    use super::*;

    fn flow(id: u64) -> Flow {
        let record = FlowRecord {
            id: FlowId(id),
            request: RequestId([0; 16]),
            audience: Asker::from_word("alice").unwrap(),
            by_keeper: false,
            name: None,
            state: FlowState::Running,
            submitted_at: Timestamp(0),
            ended_at: None,
            cancelled_by: None,
            cancel_reason: None,
            paused_by: None,
            retry_of: None,
            predecessor: None,
            request_mac: None,
        };
        Flow::new(record, Start::default(), Vec::new(), 0)
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
            assert_eq!(flows.get(FlowId(id)).map(|flow| flow.id().0), Some(id));
            assert_eq!(flows.get_mut(FlowId(id)).map(|flow| flow.id().0), Some(id));
        }
        for id in [0, 4, 128, 999_999, 2_000_000, u64::MAX] {
            assert!(!flows.contains(FlowId(id)) && flows.remove(FlowId(id)).is_none());
        }
        assert_eq!((flows.len(), flows.iter().count()), (6, 6));
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
